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

from pytest_indexjob.api.calls import API_URL
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


class Story(NamedTuple):
    """Which service is asked, and what is asked of it."""

    name: str
    simulator: Simulator
    ask: Callable[[IndexingJobClient], object]


def simulator(**settings: Any) -> Simulator:
    """A service at the beginning of its time."""
    return Simulator(VirtualClock(), **settings)


def fetched(name: str, scenario: str, after: float, **overrides: Any) -> Story:
    """One poll of a job, some seconds after its start."""
    service = simulator()
    job = service.start(scenario, **overrides)
    service.clock.sleep(after)
    return Story(name, service, lambda client: client.get(job.uuid))


def lives() -> Iterator[Story]:
    """A job polled every 5 s to each of its ends."""
    for scenario in LIVES:
        service = simulator()
        job = service.start(scenario, duration=SHORT, files=3)
        # A user looks for the usual end by the usual word.
        name = "completed" if scenario == "completed-with-skips" else scenario
        service.clock.sleep(5)
        yield Story(name, service, lambda client, uuid=job.uuid: client.wait(uuid))  # type: ignore[misc]


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
    yield Story("unauthorized", strict, lambda client: client.get(job.uuid))
    yield Story("not-found", simulator(), lambda client: client.get(job.uuid))
    for name, fault in (("rate-limited", "rate-limit"), ("server-error", "server-error")):
        service = simulator()
        service.start("completed-with-skips", duration=SHORT)
        service.clock.sleep(SHORT)
        service.inject(fault)
        yield Story(name, service, lambda client: client.get(job.uuid))


def other_calls() -> Iterator[Story]:
    """Lists, data sources, the report, starting and cancelling."""
    service = simulator()
    for _ in range(5):
        service.start("completed-with-skips", duration=SHORT)
    service.clock.sleep(SHORT)
    job = service.jobs[0]
    yield Story("list-three-pages", service, lambda client: list(client.iterate(per_page=2)))
    base = job.knowledge_base_uuid
    yield Story("knowledge-base-jobs", service, lambda client: client.list_for_knowledge_base(base))
    yield Story("data-sources", service, lambda client: client.data_sources(job.uuid))
    yield Story("report-url", service, lambda client: client.details_signed_url(job.uuid))
    yield Story("create", simulator(), lambda client: client.create(base))
    yield Story(
        "create-conflict", simulator(), lambda client: (client.create(base), client.create(base))
    )
    running = simulator()
    running.start("completed", duration=SHORT)
    running.clock.sleep(40)
    yield Story("cancel", running, lambda client: (client.cancel(job.uuid), client.wait(job.uuid)))


def record(service: Any, clock: VirtualClock, ask: Callable[[IndexingJobClient], object]) -> str:
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
            ask(client)
    server.stop()
    return dump(interactions, PROVENANCE)


def main(folder: Path) -> None:
    """Write every recording to a folder."""
    texts = {
        story.name: record(story.simulator, story.simulator.clock, story.ask)  # type: ignore[arg-type]
        for stories in (lives(), single_answers(), errors(), other_calls())
        for story in stories
    }
    uuid = example_job()["uuid"]
    texts["documented-example"] = record(
        DocumentedExample(), VirtualClock(), lambda client: client.get(uuid)
    )
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8", newline="\n")
        print(folder / f"{name}.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
