"""Remakes the shipped recordings: ``python cassettes/record.py [FOLDER]``.

Each is recorded over HTTP from the simulator behind a loopback server, which follows the published
contract and what was seen of the live service; none was recorded from the live service. The same
script gives the same bytes everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import requests

from pytest_indexjob.api.calls import API_URL, Call, named
from pytest_indexjob.api.client import IndexingJobClient
from pytest_indexjob.api.errors import ApiError, DecodeError
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import dump
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.simulation.documented import DocumentedExample, example_job
from pytest_indexjob.simulation.server import LoopbackServer
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.virtual_time.clock import VirtualClock

PROVENANCE = {
    "recorded_by": "cassettes/record.py",
    "recorded_from": "the simulator behind a loopback server, not the live service",
}
LIVES = ("completed-with-skips", "no-changes", "partial", "failed", "error", "cancelled")
# Short lives make short recordings; the simulator's own durations are the live service's.
SHORT = 65.0


class Asker(NamedTuple):
    """Asks a service: by this project's client for jobs, by its session for all else."""

    client: IndexingJobClient
    session: requests.Session
    url: str
    clock: VirtualClock

    def call(self, name: str, *arguments: str, query: str = "", body: Any = None) -> Any:
        """Make a call by its name; gives the JSON of the answer."""
        call: Call = named(name)
        url = f"{self.url}{call.path_with(*arguments)}{query}"
        headers = {"Accept": "application/json", "Authorization": "Bearer any"}
        return self.session.request(call.method, url, json=body, headers=headers, timeout=10).json()

    def poll_database(self, uuid: str) -> Any:
        """Ask for a knowledge base every 15 s until its database is online; gives the last one."""
        while True:
            answer = self.call("knowledge_bases.get", uuid)
            if answer["database_status"] == "ONLINE":
                return answer["knowledge_base"]
            self.clock.sleep(15)


class Story(NamedTuple):
    """Which service is asked, and what is asked of it."""

    name: str
    simulator: Simulator
    ask: Callable[[Asker], object]


def simulator(**settings: Any) -> Simulator:
    """A service at the beginning of its time."""
    return Simulator(VirtualClock(), **settings)


def fetched(name: str, scenario: str, after: float, **overrides: Any) -> Story:
    """One poll of a job, some seconds after its start."""
    service = simulator()
    job = service.start(scenario, **overrides)
    service.clock.sleep(after)
    return Story(name, service, lambda asker: asker.client.get(job.uuid))


def lives() -> Iterator[Story]:
    """A job polled every 5 s to each of its ends."""
    for scenario in LIVES:
        service = simulator()
        job = service.start(scenario, duration=SHORT, files=3)
        # A user looks for the usual end by the usual word.
        name = "completed" if scenario == "completed-with-skips" else scenario
        service.clock.sleep(5)
        yield Story(name, service, lambda asker, uuid=job.uuid: asker.client.wait(uuid))  # type: ignore[misc]


def single_answers() -> Iterator[Story]:
    """One poll that shows something."""
    yield fetched("in-progress", "completed", 40, duration=SHORT)
    yield fetched("pending", "pending", 5)
    yield fetched("future-status", "future-status", SHORT, duration=SHORT)
    yield fetched("missing-job", "missing-job", SHORT, duration=SHORT)
    yield fetched("missing-phase", "missing-phase", SHORT, duration=SHORT)


def errors() -> Iterator[Story]:
    """Errors that stay, and errors that pass."""
    strict = simulator(token="another")  # noqa: S106  # none that opens anything
    job = strict.start()
    yield Story("unauthorized", strict, lambda asker: asker.client.get(job.uuid))
    yield Story("not-found", simulator(), lambda asker: asker.client.get(job.uuid))
    for name, fault in (("rate-limited", "rate-limit"), ("server-error", "server-error")):
        service = simulator()
        service.start("completed-with-skips", duration=SHORT)
        service.clock.sleep(SHORT)
        service.inject(fault)
        yield Story(name, service, lambda asker: asker.client.get(job.uuid))


def other_calls() -> Iterator[Story]:
    """Lists, data sources, the report, starting and cancelling."""
    service = simulator()
    for _ in range(5):
        service.start("completed-with-skips", duration=SHORT)
    service.clock.sleep(SHORT)
    job = service.jobs[0]
    yield Story("list-three-pages", service, lambda asker: list(asker.client.iterate(per_page=2)))
    base = job.knowledge_base_uuid
    yield Story(
        "knowledge-base-jobs", service, lambda asker: asker.client.list_for_knowledge_base(base)
    )
    yield Story("data-sources", service, lambda asker: asker.client.data_sources(job.uuid))
    yield Story("report-url", service, lambda asker: asker.client.details_signed_url(job.uuid))
    yield Story("create", simulator(), lambda asker: asker.client.create(base))
    yield Story(
        "create-conflict",
        simulator(),
        lambda asker: (asker.client.create(base), asker.client.create(base)),
    )
    running = simulator()
    running.start("completed", duration=SHORT)
    running.clock.sleep(40)
    yield Story(
        "cancel",
        running,
        lambda asker: (asker.client.cancel(job.uuid), asker.client.wait(job.uuid)),
    )


SOURCE = {"spaces_data_source": {"bucket_name": "documents", "region": "nyc3"}}


def ingest(asker: Asker) -> None:
    """A knowledge base from its making to its end: its job starts when its database is online."""
    body = {"name": "documents", "region": "tor1", "datasources": [SOURCE]}
    uuid = asker.call("knowledge_bases.create", body=body)["knowledge_base"]["uuid"]
    job = asker.poll_database(uuid)["last_indexing_job"]
    asker.call("data_sources.list", uuid)
    asker.client.wait(job["uuid"])
    asker.call("knowledge_bases.get", uuid)
    asker.call("knowledge_bases.delete", uuid)


def provisioning(asker: Asker) -> None:
    """A knowledge base without data sources, whose database takes its time."""
    made = asker.call("knowledge_bases.create", body={"name": "documents", "region": "tor1"})
    uuid = made["knowledge_base"]["uuid"]
    asker.call("jobs.create", body={"knowledge_base_uuid": uuid})  # refused: it is too early
    asker.poll_database(uuid)


def two_pages(asker: Asker) -> None:
    """A list of knowledge bases, two on a page."""
    for page in (1, 2):
        asker.call("knowledge_bases.list", query=f"?page={page}&per_page=2")


def knowledge_bases() -> Iterator[Story]:
    """What code does with the knowledge base around a job."""
    service = simulator(database_delay=SHORT)
    service.plan("completed-with-skips", duration=SHORT)
    yield Story("knowledge-base-ingest", service, ingest)
    yield Story("database-provisioning", simulator(database_delay=SHORT), provisioning)
    service = simulator()
    for name in ("manuals", "letters", "invoices"):
        service.add_knowledge_base(name)
    yield Story("knowledge-bases-two-pages", service, two_pages)


def record(service: Any, clock: VirtualClock, ask: Callable[[Asker], object]) -> str:
    """The text of the cassette of one story."""
    interactions: list[Interaction] = []
    redaction = Redaction()

    def keep(response: requests.Response, **_: object) -> None:
        body = response.request.body or b""
        request = Request(
            str(response.request.method),
            str(response.request.url).replace(server.url, API_URL, 1),
            tuple(response.request.headers.items()),
            body.encode() if isinstance(body, str) else bytes(body),
        )
        content = response.content.replace(server.url.encode(), API_URL.encode())
        answer = Response(
            response.status_code, tuple(response.headers.items()), content, response.reason
        )
        interactions.append(redaction.redact(Interaction(request, answer)))

    server = LoopbackServer(service.handle, clock=clock).start()
    with requests.Session() as session:
        session.trust_env = False
        session.hooks["response"].append(keep)
        client = IndexingJobClient(
            "any", base_url=server.url, session=session, clock=clock, retries=1
        )
        with suppress(ApiError, DecodeError):  # errors are stories too
            ask(Asker(client, session, server.url, clock))
    server.stop()
    return dump(interactions, PROVENANCE)


def main(folder: Path) -> None:
    """Write every recording to a folder."""
    texts = {
        story.name: record(story.simulator, story.simulator.clock, story.ask)  # type: ignore[arg-type]
        for stories in (lives(), single_answers(), errors(), other_calls(), knowledge_bases())
        for story in stories
    }
    uuid = example_job()["uuid"]
    texts["documented-example"] = record(
        DocumentedExample(), VirtualClock(), lambda asker: asker.client.get(uuid)
    )
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8", newline="\n")
        print(folder / f"{name}.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
