"""What a whole ingest costs, and what ten thousand knowledge bases do.

The peer is the same answers from a bare transport: a dict of recorded bodies behind pydo. Run:
``python benchmarks/ingest.py``.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import tracemalloc

import pydo
import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from pytest_indexjob import Simulator, VirtualClock
from pytest_indexjob.exchange import Request

ROUNDS = 15
BASES, SOURCES = 10_000, 10
API = "https://api.digitalocean.com"
TOKEN = (("Authorization", "Bearer any"),)
SPACES = {"spaces_data_source": {"bucket_name": "manuals", "region": "nyc3"}}


class Answering(BaseAdapter):
    """An adapter of requests, answered by a function: as bare as a transport of pydo's can be."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def close(self):
        pass

    def send(self, request, **_):
        body = request.body or b""
        sent = body.encode() if isinstance(body, str) else body
        answered = self.answer(Request(request.method, request.url, TOKEN, sent))
        made = requests.Response()
        made.status_code = answered.status
        made.headers.update(dict(answered.headers))
        made.raw = HTTPResponse(io.BytesIO(answered.body), preload_content=False)
        made.request, made.url = request, request.url
        return made


def ingest(client, advance):
    """Create, add three data sources, wait, index, delete."""
    genai = client.genai
    uuid = genai.create_knowledge_base({"name": "manuals"})["knowledge_base"]["uuid"]
    for _ in range(3):
        genai.create_knowledge_base_data_source(uuid, dict(SPACES))
    while genai.get_knowledge_base(uuid)["database_status"] != "ONLINE":
        advance(10)
    genai.create_indexing_job({"knowledge_base_uuid": uuid})
    while (
        "finished_at" not in genai.get_knowledge_base(uuid)["knowledge_base"]["last_indexing_job"]
    ):
        advance(10)
    genai.delete_knowledge_base(uuid)


def whole_ingest():
    """The ratio of the simulator to the bare transport, from paired rounds."""
    return statistics.median(_round() for _ in range(ROUNDS))


def _round():
    answers = []
    service = Simulator(VirtualClock(), requests_per_minute=None)

    def recorded(request):
        answers.append(service.handle(request))
        return answers[-1]

    ingest(client_of(recorded), service.clock.advance)
    fresh = Simulator(VirtualClock(), requests_per_minute=None)
    simulated = seconds(lambda: ingest(client_of(fresh.handle), fresh.clock.advance))
    replayed = iter(answers)
    bare = seconds(lambda: ingest(client_of(lambda _: next(replayed)), lambda _: None))
    return simulated / bare


def client_of(answer):
    session = requests.Session()
    session.mount("https://", Answering(answer))
    return pydo.Client("any", transport=RequestsTransport(session=session, session_owner=False))


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def many():
    """Milliseconds for a page of twenty, and megabytes, of many knowledge bases."""
    tracemalloc.start()
    service = Simulator(VirtualClock(), requests_per_minute=None, requests_per_hour=None)
    for at in range(BASES):
        base = service.add_knowledge_base(f"manuals-{at}").uuid
        for _ in range(SOURCES):
            service.add_data_source(base, **SPACES)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    page = Request("GET", f"{API}/v2/gen-ai/knowledge_bases?page=250", TOKEN)
    answer = service.handle(page)
    assert len(json.loads(answer.body)["knowledge_bases"]) == 20
    return 1000 * min(seconds(lambda: service.handle(page)) for _ in range(20)), megabytes


if __name__ == "__main__":
    print(f"a whole ingest through pydo: {whole_ingest():.2f} x a bare transport")
    milliseconds, megabytes = many()
    print(f"{BASES} knowledge bases with {SOURCES} data sources each: {milliseconds:.1f} ms a page")
    print(f"{megabytes:.0f} MB")
