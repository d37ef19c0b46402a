"""Whole programs in the style of public ones, each through another client."""

from __future__ import annotations

import asyncio
import logging
import time

import aiohttp
import gradient
import httpx
import pydo
import pydo.aio
import pytest
import requests
import tenacity
from azure.core.exceptions import HttpResponseError, ResourceExistsError

API = "https://api.digitalocean.com/v2/gen-ai"
HEADERS = {"Authorization": "Bearer any"}
SPACES = {"spaces_data_source": {"bucket_name": "manuals", "region": "tor1"}}
CRAWLER = {
    "web_crawler_data_source": {
        "base_url": "https://docs.example.com",
        "crawling_option": "DOMAIN",
        "embed_media": False,
    }
}
ENDS = {"COMPLETED", "NO_CHANGES", "PARTIAL", "FAILED", "CANCELLED"}


def short(status):
    return status.removeprefix("INDEX_JOB_STATUS_")


def test_sources_in_the_post_tenacity_and_pydo(indexjob_simulator, indexjob_clock):
    """Makes a knowledge base with its sources, and waits for the job that starts by itself."""
    calls = pydo.Client("any").genai
    body = {
        "name": "manuals",
        "embedding_model_uuid": "22653204-79ed-11ef-bf8f-4e013e2ddde4",
        "project_id": "37455431-84bd-4fa2-94cf-e8486f8f8c5e",
        "region": "tor1",
        "tags": ["production"],
        "datasources": [SPACES, CRAWLER],
    }
    uuid = calls.create_knowledge_base(body)["knowledge_base"]["uuid"]

    @tenacity.retry(
        wait=tenacity.wait_exponential(multiplier=5, max=60),
        stop=tenacity.stop_after_delay(1800),
        retry=tenacity.retry_if_result(lambda job: short(job.get("status", "")) not in ENDS),
    )
    def last_job():
        return calls.get_knowledge_base(uuid)["knowledge_base"].get("last_indexing_job") or {}

    job = last_job()
    assert short(job["status"]) == "COMPLETED"
    assert job["total_datasources"] == 2
    listed = calls.list_knowledge_base_data_sources(uuid)["knowledge_base_data_sources"]
    assert {source["last_datasource_indexing_job"]["status"] for source in listed} == {
        "DATA_SOURCE_STATUS_UPDATED"
    }
    assert indexjob_clock.elapsed > indexjob_simulator.database_delay


def retried(start):
    """Starts a job as soon as the service takes it."""
    for wait in (15, 30, 60, 120, 240, 240):
        answer = start()
        if answer.status_code == 200:
            return answer.json()["job"]
        if "failed to get db creds" not in answer.json()["message"]:
            answer.raise_for_status()
        time.sleep(wait)
    raise TimeoutError


def test_three_files_are_uploaded_by_httpx(indexjob_simulator, indexjob_clock, tmp_path):
    names = ("one.txt", "två.md", "3 (copy).pdf")
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 9)
    with httpx.Client(headers=HEADERS) as client:
        made = client.post(f"{API}/knowledge_bases", json={"name": "uploads"}).json()
        uuid = made["knowledge_base"]["uuid"]
        files = [
            {"file_name": path.name, "file_size": path.stat().st_size}
            for path in sorted(tmp_path.iterdir())
        ]
        url = f"{API}/knowledge_bases/data_sources/file_upload_presigned_urls"
        for upload in client.post(url, json={"files": files}).json()["uploads"]:
            content = (tmp_path / upload["original_file_name"]).read_bytes()
            httpx.put(upload["presigned_url"], content=content).raise_for_status()
            source = {
                "original_file_name": upload["original_file_name"],
                "size_in_bytes": len(content),
                "stored_object_key": upload["object_key"],
            }
            body = {"knowledge_base_uuid": uuid, "file_upload_data_source": source}
            path = f"{API}/knowledge_bases/{uuid}/data_sources"
            client.post(path, json=body).raise_for_status()
        body = {"knowledge_base_uuid": uuid}
        job = retried(lambda: client.post(f"{API}/indexing_jobs", json=body))
        while short(job["status"]) not in ENDS:
            time.sleep(5)
            job = client.get(f"{API}/indexing_jobs/{job['uuid']}").json()["job"]
    assert short(job["status"]) == "COMPLETED"
    assert len(job["data_source_jobs"]) == 3
    assert {upload.file_name: upload.body for upload in indexjob_simulator.uploads} == {
        name: name.encode() * 9 for name in names
    }


def test_upload_cancel_and_reindex_by_requests(indexjob_simulator, indexjob_clock, tmp_path):
    path = tmp_path / "manual.txt"
    path.write_text("words")
    session = requests.Session()
    session.headers.update(HEADERS)

    def call(method, path, body=None):
        answer = session.request(method, API + path, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    base = {"name": "manuals", "database_id": "mine"}
    uuid = call("POST", "/knowledge_bases", base)["knowledge_base"]["uuid"]
    body = {"files": [{"file_name": path.name, "file_size": str(path.stat().st_size)}]}
    url = "/knowledge_bases/data_sources/file_upload_presigned_urls"
    (upload,) = call("POST", url, body)["uploads"]
    with path.open("rb") as file:
        requests.put(upload["presigned_url"], data=file, timeout=30).raise_for_status()
    key = {"stored_object_key": upload["object_key"], "original_file_name": path.name}
    call("POST", f"/knowledge_bases/{uuid}/data_sources", {"file_upload_data_source": key})
    first = call("POST", "/indexing_jobs", {"knowledge_base_uuid": uuid})["job"]["uuid"]
    time.sleep(60)
    with pytest.raises(requests.HTTPError, match="409"):
        call("POST", "/indexing_jobs", {"knowledge_base_uuid": uuid})
    call("PUT", f"/indexing_jobs/{first}/cancel", {"uuid": first})

    def end_of(job):
        while short(call("GET", f"/indexing_jobs/{job}")["job"]["status"]) not in ENDS:
            time.sleep(5)
        last = call("GET", f"/knowledge_bases/{uuid}")["knowledge_base"]["last_indexing_job"]
        assert last["uuid"] == job
        return short(last["status"])

    assert end_of(first) == "CANCELLED"
    second = call("POST", "/indexing_jobs", {"knowledge_base_uuid": uuid})["job"]["uuid"]
    assert end_of(second) == "COMPLETED"
    listed = call("GET", f"/knowledge_bases/{uuid}/indexing_jobs")["jobs"]
    assert [short(job["status"]) for job in listed] == ["COMPLETED", "CANCELLED"]
    report = call("GET", f"/indexing_jobs/{second}/details_signed_url")["signed_url"]
    assert requests.get(report, timeout=30).text.startswith("data_source_uuid,status")


def test_attach_to_an_agent_and_delete_by_gradient(indexjob_simulator, indexjob_clock):
    client = gradient.Gradient(access_token="any")
    bases = client.knowledge_bases
    model = "95ea6652-75ed-11ef-bf8f-4e013e2ddde4"
    agent = client.agents.create(name="helper", instruction="Help.", model_uuid=model).agent.uuid
    uuid = bases.create(name="manuals", datasources=[SPACES]).knowledge_base.uuid
    bases.wait_for_database(uuid)
    job = bases.retrieve(uuid).knowledge_base.last_indexing_job
    bases.indexing_jobs.wait_for_completion(job.uuid, poll_interval=10)
    client.agents.knowledge_bases.attach_single(uuid, agent_uuid=agent)
    attached = client.agents.retrieve(agent).agent.knowledge_bases
    assert [base.last_indexing_job.status for base in attached] == ["INDEX_JOB_STATUS_COMPLETED"]
    with pytest.raises(gradient.ConflictError):
        bases.delete(uuid)
    client.agents.knowledge_bases.detach(uuid, agent_uuid=agent)
    for source in bases.data_sources.list(uuid).knowledge_base_data_sources:
        bases.data_sources.delete(source.uuid, knowledge_base_uuid=uuid)
    assert bases.delete(uuid).uuid == uuid
    with pytest.raises(gradient.NotFoundError):
        bases.retrieve(uuid)
    client.agents.delete(agent)
    assert indexjob_simulator.agents == ()


async def by_aiohttp(name, log):
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def call(method, path, **options):
            async with session.request(method, API + path, **options) as answer:
                return await answer.json()

        found = None
        page = 1
        while found is None:
            listed = await call("GET", "/knowledge_bases", params={"page": page, "per_page": 2})
            named = [base for base in listed["knowledge_bases"] if base["name"] == name]
            found = named[0] if named else None
            if "next" not in listed["links"]["pages"]:
                break
            page += 1
        uuid = found["uuid"]
        sources = await call("GET", f"/knowledge_bases/{uuid}/data_sources")
        await asyncio.gather(
            *(
                call("POST", f"/knowledge_bases/{uuid}/data_sources", json=source)
                for source in (SPACES, CRAWLER)
            )
        )
        started = await call("POST", "/indexing_jobs", json={"knowledge_base_uuid": uuid})
        job = started["job"]
        async with asyncio.timeout(3600):
            while short(job["status"]) not in ENDS:
                await asyncio.sleep(5)
                job = (await call("GET", f"/indexing_jobs/{job['uuid']}"))["job"]
                log.info("%s of %s", job.get("completed_datasources", 0), job["total_datasources"])
        for old in sources["knowledge_base_data_sources"]:
            await call("DELETE", f"/knowledge_bases/{uuid}/data_sources/{old['uuid']}")
        return job


def test_sources_are_replaced_by_aiohttp(indexjob_simulator, indexjob_clock):
    for at in range(5):
        base = indexjob_simulator.add_knowledge_base(f"manuals-{at}")
        indexjob_simulator.add_data_source(base.uuid)
    indexjob_simulator.plan("partial", ends={"https://docs.example.com": "FAILED"})
    job = asyncio.run(by_aiohttp("manuals-1", logging.getLogger("ingest")))
    assert short(job["status"]) == "PARTIAL"
    assert (job["completed_datasources"], job["total_datasources"]) == (2, 3)
    left = [source.kind for source in indexjob_simulator.data_sources]
    assert sorted(left) == ["spaces_data_source"] * 5 + ["web_crawler_data_source"]


async def nightly(name):
    async with pydo.aio.Client("any") as client:
        calls = client.genai
        base = (await calls.create_knowledge_base({"name": name, "datasources": [SPACES]}))[
            "knowledge_base"
        ]
        body = {"knowledge_base_uuid": base["uuid"], "days": [5, 6], "time": "02:00"}
        schedule = (await calls.create_scheduled_indexing(body))["indexing_info"]
        with pytest.raises(ResourceExistsError):
            await calls.create_scheduled_indexing(body)
        await asyncio.sleep(47 * 3600)  # 48 are the limit of a test: ini key indexjob_max_hours
        read = await calls.get_scheduled_indexing(base["uuid"])
        jobs = (await calls.list_indexing_jobs_by_knowledge_base(base["uuid"]))["jobs"]
        await calls.delete_scheduled_indexing(schedule["uuid"])
        await calls.delete_knowledge_base(base["uuid"])
        gone = await calls.get_knowledge_base(base["uuid"])
        return read["indexing_info"], jobs, gone


def test_a_schedule_by_pydo_async(indexjob_simulator, indexjob_clock):
    info, jobs, gone = asyncio.run(nightly("manuals"))
    assert info["last_ran_at"] < info["next_run_at"]
    assert len(jobs) == 1 + 2  # the first by itself, then one on Friday and one on Saturday
    assert {short(job["status"]) for job in jobs} == {"COMPLETED"}
    assert gone["id"] == "not_found"  # pydo raises nothing on a 404
    assert indexjob_simulator.schedules == ()


def test_a_database_that_fails_is_told_by_pydo(indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan_database("unhealthy", after=60)
    calls = pydo.Client("any").genai
    uuid = calls.create_knowledge_base({"name": "manuals"})["knowledge_base"]["uuid"]
    while (status := calls.get_knowledge_base(uuid)["database_status"]) == "CREATING":
        time.sleep(10)
    assert status == "UNHEALTHY"
    with pytest.raises(HttpResponseError, match="failed to get db creds"):
        calls.create_indexing_job({"knowledge_base_uuid": uuid})
