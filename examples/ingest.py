"""The code under test: it fills a knowledge base, through five clients."""

import asyncio
import time

import gradient
import httpx
import pydo
import pydo.aio
import requests

API = "https://api.digitalocean.com/v2/gen-ai"
ENDS = {"COMPLETED", "NO_CHANGES", "PARTIAL", "FAILED", "CANCELLED"}
SOURCES = [
    {"spaces_data_source": {"bucket_name": "manuals", "region": "nyc3"}},
    {"web_crawler_data_source": {"base_url": "https://docs.example.com"}},
]


class Pydo:
    """The calls of an ingest through pydo."""

    def __init__(self, token):
        self.genai = pydo.Client(token).genai

    def create(self, name):
        return self.genai.create_knowledge_base({"name": name})["knowledge_base"]["uuid"]

    def knowledge_base(self, uuid):
        return self.genai.get_knowledge_base(uuid)

    def add(self, uuid, source):
        self.genai.create_knowledge_base_data_source(uuid, source)

    def index(self, uuid):
        self.genai.create_indexing_job({"knowledge_base_uuid": uuid})

    def data_sources(self, uuid):
        return self.genai.list_knowledge_base_data_sources(uuid)["knowledge_base_data_sources"]

    def delete(self, uuid):
        self.genai.delete_knowledge_base(uuid)


class Requests:
    """The calls of an ingest through requests."""

    def __init__(self, token):
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def _call(self, method, path, body=None):
        answer = self.session.request(method, API + path, json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def create(self, name):
        return self._call("POST", "/knowledge_bases", {"name": name})["knowledge_base"]["uuid"]

    def knowledge_base(self, uuid):
        return self._call("GET", f"/knowledge_bases/{uuid}")

    def add(self, uuid, source):
        self._call("POST", f"/knowledge_bases/{uuid}/data_sources", source)

    def index(self, uuid):
        self._call("POST", "/indexing_jobs", {"knowledge_base_uuid": uuid})

    def data_sources(self, uuid):
        path = f"/knowledge_bases/{uuid}/data_sources"
        return self._call("GET", path)["knowledge_base_data_sources"]

    def delete(self, uuid):
        self._call("DELETE", f"/knowledge_bases/{uuid}")


class Gradient:
    """The calls of an ingest through gradient."""

    def __init__(self, token):
        self.bases = gradient.Gradient(access_token=token).knowledge_bases

    def create(self, name):
        return self.bases.create(name=name).knowledge_base.uuid

    def knowledge_base(self, uuid):
        return self.bases.retrieve(uuid).to_dict()

    def add(self, uuid, source):
        self.bases.data_sources.create(uuid, **source)

    def index(self, uuid):
        self.bases.indexing_jobs.create(knowledge_base_uuid=uuid)

    def data_sources(self, uuid):
        return self.bases.data_sources.list(uuid).to_dict()["knowledge_base_data_sources"]

    def delete(self, uuid):
        self.bases.delete(uuid)


def ingest(client, name, sources=SOURCES):
    """Make a knowledge base with its data sources and index them; gives uuid and status."""
    uuid = client.create(name)
    wait_for_database(client, uuid)
    for source in sources:
        client.add(uuid, source)
    return uuid, reindex(client, uuid)


def wait_for_database(client, uuid):
    """Wait until the database of a knowledge base is online."""
    while (status := client.knowledge_base(uuid)["database_status"]) != "ONLINE":
        if status != "CREATING":
            raise RuntimeError(f"the database of {uuid} is {status}")
        time.sleep(10)


def reindex(client, uuid):
    """Index what a knowledge base has; gives the status at the end."""
    client.index(uuid)
    while (ended := last_status(client.knowledge_base(uuid))) not in ENDS:
        time.sleep(5)
    return ended


def failed_sources(client, uuid):
    """The data sources that the last job could not read."""
    return [
        source["uuid"]
        for source in client.data_sources(uuid)
        if source["last_datasource_indexing_job"]["status"] == "DATA_SOURCE_STATUS_FAILED"
    ]


async def ingest_by_pydo(token, name):
    """The same through pydo's async client, with a re-index; gives the ends and the sources."""
    async with pydo.aio.Client(token) as client:
        calls = client.genai
        uuid = (await calls.create_knowledge_base({"name": name}))["knowledge_base"]["uuid"]
        while (await calls.get_knowledge_base(uuid))["database_status"] != "ONLINE":
            await asyncio.sleep(10)
        for source in SOURCES:
            await calls.create_knowledge_base_data_source(uuid, source)
        ends = []
        for _ in range(2):
            await calls.create_indexing_job({"knowledge_base_uuid": uuid})
            while (ended := last_status(await calls.get_knowledge_base(uuid))) not in ENDS:
                await asyncio.sleep(5)
            ends.append(ended)
        listed = await calls.list_knowledge_base_data_sources(uuid)
        await calls.delete_knowledge_base(uuid)
        return ends, listed["knowledge_base_data_sources"]


async def ingest_by_httpx(token, name, sleep):
    """The same through httpx, async."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, base_url=f"{API}/") as client:

        async def call(method, path, body=None):
            answer = await client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json()

        created = await call("POST", "knowledge_bases", {"name": name})
        path = f"knowledge_bases/{created['knowledge_base']['uuid']}"
        while (await call("GET", path))["database_status"] != "ONLINE":
            await sleep(10)
        for source in SOURCES:
            await call("POST", f"{path}/data_sources", source)
        ends = []
        for _ in range(2):  # the second is a re-index
            uuid = created["knowledge_base"]["uuid"]
            await call("POST", "indexing_jobs", {"knowledge_base_uuid": uuid})
            while (ended := last_status(await call("GET", path))) not in ENDS:
                await sleep(5)
            ends.append(ended)
        return ends, (await call("GET", f"{path}/data_sources"))["knowledge_base_data_sources"]


def last_status(answer):
    """The status of a knowledge base's last job, without its prefix."""
    job = answer["knowledge_base"].get("last_indexing_job") or {}
    return job.get("status", "INDEX_JOB_STATUS_UNKNOWN").removeprefix("INDEX_JOB_STATUS_")
