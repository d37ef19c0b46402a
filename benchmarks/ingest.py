"""Whole ingest."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator

import pydo
import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from benchmarks.figures import Curve, Figure, processor_seconds
from pytest_indexjob import Simulator, VirtualClock
from pytest_indexjob.exchange import Request

LIBRARIES = ("pydo", "requests")
NOTES = (
    "create a knowledge base, add 3 data sources, wait for its database, index, delete, through"
    " pydo. The limit answers with the same bodies from a bare transport of requests."
)
SOURCES = 10
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


def one_round() -> tuple[float, float]:
    """Seconds of an ingest on the simulator, and on the bare transport."""
    answers = []
    service = Simulator(VirtualClock(), requests_per_minute=None)

    def recorded(request):
        answers.append(service.handle(request))
        return answers[-1]

    ingest(client_of(recorded), service.clock.advance)
    fresh = Simulator(VirtualClock(), requests_per_minute=None)
    simulated = processor_seconds(lambda: ingest(client_of(fresh.handle), fresh.clock.advance))
    replayed = iter(answers)
    bare = processor_seconds(lambda: ingest(client_of(lambda _: next(replayed)), lambda _: None))
    return simulated, bare


def client_of(answer):
    session = requests.Session()
    session.mount("https://", Answering(answer))
    return pydo.Client("any", transport=RequestsTransport(session=session, session_owner=False))


def many(bases: int) -> tuple[list[float], float]:
    """Milliseconds for a page of twenty, several times, and the megabytes of all of them."""
    tracemalloc.start()
    service = Simulator(VirtualClock(), requests_per_minute=None, requests_per_hour=None)
    for at in range(bases):
        base = service.add_knowledge_base(f"manuals-{at}").uuid
        for _ in range(SOURCES):
            service.add_data_source(base, **SPACES)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    page = Request("GET", f"{API}/v2/gen-ai/knowledge_bases?page={max(1, bases // 40)}", TOKEN)
    answer = service.handle(page)
    assert len(json.loads(answer.body)["knowledge_bases"]) == 20
    return [1000 * processor_seconds(lambda: service.handle(page)) for _ in range(10)], megabytes


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    rounds, sizes = (1, (40, 80)) if quick else (15, (100, 1_000, 10_000))
    ours, limit = zip(*(one_round() for _ in range(rounds)), strict=True)
    yield Figure("a whole ingest", "s", ours, "the same over a bare transport", limit, 1.3)
    points = []
    for size in sizes:
        milliseconds, megabytes = many(size)
        points.append((float(size), min(milliseconds)))
    what = f"{size:,} knowledge bases with {SOURCES} data sources each"
    yield Figure(f"a page of 20 of {what}", "ms", milliseconds, aim=5)
    yield Figure(f"memory of {what}", "MB", [megabytes], aim=200)
    yield Curve("A page of many knowledge bases", "knowledge bases", "ms a page", {"": points})
