// Every call of jobs, knowledge bases, data sources, uploads and schedules through
// @digitalocean/dots. Prints what its models read.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, base] = process.argv.slice(2);
const found = createRequire(pathToFileURL(`${folder}/`));
const dots = await import(pathToFileURL(found.resolve("@digitalocean/dots")));
const { FetchRequestAdapter } = await import(
  pathToFileURL(found.resolve("@microsoft/kiota-http-fetchlibrary"))
);
const adapter = new FetchRequestAdapter(new dots.DigitalOceanApiKeyAuthenticationProvider("any"));
adapter.baseUrl = base;
const calls = dots.createDigitalOceanClient(adapter).v2.genAi;

const source = { spacesDataSource: { bucketName: "manuals", region: "nyc3" } };
const made = await calls.knowledge_bases.post({ name: "manuals", datasources: [source] });
const uuid = made.knowledgeBase.uuid;
const mine = calls.knowledge_bases.byKnowledge_base_uuId(uuid);
let read = await mine.get();
let polls = 0;
while (read.databaseStatus !== "ONLINE") {
  read = await mine.get();
  polls += 1;
}
await mine.data_sources.post({
  knowledgeBaseUuid: uuid,
  webCrawlerDataSource: { baseUrl: "https://docs.example.com" },
});
const sources = (await mine.data_sources.get()).knowledgeBaseDataSources;
const files = { files: [{ fileName: "a.txt", fileSize: "3" }] };
const presigned = calls.knowledge_bases.data_sources.file_upload_presigned_urls;
const [upload] = (await presigned.post(files)).uploads;
const jobs = calls.indexing_jobs;
let job;
do {
  job = (await mine.get()).knowledgeBase.lastIndexingJob;
} while (job.status !== "INDEX_JOB_STATUS_COMPLETED");
const again = (await jobs.post({ knowledgeBaseUuid: uuid })).job;
const cancelled = (await jobs.byIndexing_job_uuId(again.uuid).cancel.put({ uuid: again.uuid })).job;
const parts = (await jobs.byIndexing_job_uuId(job.uuid).data_sources.get()).indexedDataSources;
const report = (await jobs.byIndexing_job_uuId(job.uuid).details_signed_url.get()).signedUrl;
const one = (await jobs.byIndexing_job_uuId(job.uuid).get()).job;
const listed = await jobs.get();
const body = { knowledgeBaseUuid: uuid, days: [1], time: "03:30" };
const schedule = (await calls.scheduledIndexing.post(body)).indexingInfo;
const gone = (await calls.scheduledIndexing.byUuid(schedule.uuid).delete()).indexingInfo;
const renamed = (await mine.put({ name: "books", uuid })).knowledgeBase;
const bases = await calls.knowledge_bases.get();
do {
  job = (await jobs.byIndexing_job_uuId(again.uuid).get()).job;
} while (job.status !== "INDEX_JOB_STATUS_CANCELLED");
const deleted = await mine.delete();
console.log(
  JSON.stringify({
    polls: polls > 0,
    sources: sources.length,
    upload: upload.presignedUrl.startsWith(base),
    createdAt: one.createdAt instanceof Date,
    total: one.totalDatasources,
    indexed: parts[0].indexedFileCount,
    report: report.startsWith(base),
    again: again.status,
    cancelled: cancelled.uuid === again.uuid,
    listed: [listed.jobs.length, listed.meta.total],
    days: schedule.days,
    gone: gone.deletedAt instanceof Date,
    renamed: renamed.name,
    bases: bases.knowledgeBases.length,
    deleted: deleted.uuid === uuid,
  }),
);
