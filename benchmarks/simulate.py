"""Simulator."""

from __future__ import annotations

import http.client
import json
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import gradient
import httpx
import respx
from pytest_httpserver import HTTPServer

from benchmarks.bare import HEADERS, bare_session, bare_transport
from benchmarks.figures import PROCESSOR, Curve, Figure, paired, processor_seconds, seconds
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.api.client import IndexingJobClient
from pytest_indexjob.exchange import Journal, Request
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.simulation.server import LoopbackServer
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.virtual_time.time_patches import TimePatches, VirtualClock

LIBRARIES = ("gradient", "httpx", "requests", "respx", "pytest-httpserver")
NOTES = (
    "a job that is polled every 5 s through 8 hours (5,761 polls), and how a poll's cost grows. All"
    " sides hand out the same answers; those of the limits, the same clients over a transport"
    " that does nothing else, are computed before the time is taken. Times are the"
    " processor's, but for the servers."
)
SENT = {"Authorization": "Bearer any"}
UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
# The fewest seconds for which the job is polled every 5 s.
duration = 8 * 3600.0


def polls() -> int:
    return int(duration / 5) + 1


def answers() -> Callable[[], bytes]:
    """The bodies of the same life, for a trivial transport, computed before the time is taken."""
    simulator = Simulator(clock := VirtualClock(), requests_per_hour=None)
    job = simulator.start("completed", duration=duration)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", tuple(SENT.items()))
    bodies = []
    for _ in range(polls()):
        bodies.append(simulator.handle(ask).body)
        clock.sleep(5)
    return iter(bodies).__next__


def wait(client: gradient.Gradient) -> None:
    done = client.knowledge_bases.indexing_jobs.wait_for_completion(
        UUID, poll_interval=5, timeout=None
    )
    assert done.job is not None
    assert done.job.status == "INDEX_JOB_STATUS_COMPLETED"


def gradient_simulated() -> float:
    clock = VirtualClock()
    interception = Interception(Journal(), clock)
    simulator = Simulator(clock, journal=interception.journal)
    simulator.start("completed", duration=duration)
    interception.simulate(simulator)
    client = gradient.Gradient(access_token="any")
    interception.start()
    patches = TimePatches(clock)
    patches.start()
    try:
        began = PROCESSOR()
        wait(client)
        return PROCESSOR() - began
    finally:
        patches.stop()
        interception.stop()
        assert len(interception.journal) == polls()


@contextmanager
def no_sleep():
    with mock.patch("time.sleep"):
        yield


def gradient_respx() -> float:
    give = answers()
    with respx.mock, no_sleep():
        respx.get(f"{API_URL}{JOBS_PATH}/{UUID}").mock(
            side_effect=lambda _: httpx.Response(200, content=give(), headers=HEADERS)
        )
        client = gradient.Gradient(access_token="any")
        return processor_seconds(lambda: wait(client))


def gradient_bare() -> float:
    http = httpx.Client(transport=bare_transport(answers()))
    client = gradient.Gradient(access_token="any", http_client=http)
    with no_sleep():
        return processor_seconds(lambda: wait(client))


def own_client() -> float:
    clock = VirtualClock()
    interception = Interception(Journal(), clock).start()
    simulator = Simulator(clock, journal=interception.journal)
    simulator.start("completed", duration=duration)
    interception.simulate(simulator)
    try:
        client = IndexingJobClient("any", session=interception.session(), clock=clock)
        return processor_seconds(lambda: client.wait(UUID, timeout=10 * 3600))
    finally:
        interception.stop()


def own_client_bare() -> float:
    session = bare_session(answers())
    session.trust_env = False
    client = IndexingJobClient("any", session=session, clock=VirtualClock())
    return processor_seconds(lambda: client.wait(UUID, timeout=10 * 3600))


def poll_among(jobs: int) -> float:
    """Microseconds of one poll."""
    simulator = Simulator(VirtualClock(), requests_per_hour=None, requests_per_minute=None)
    for _ in range(jobs - 1):
        simulator.start("completed")
    ask = Request(
        "GET", f"{API_URL}{JOBS_PATH}/{simulator.start('completed').uuid}", tuple(SENT.items())
    )

    def ask_often() -> None:
        for _ in range(5000):
            simulator.handle(ask)

    return processor_seconds(ask_often) / 5000 * 1e6


def memory_of(jobs: int) -> float:
    """Megabytes."""
    tracemalloc.start()
    simulator = Simulator(VirtualClock())
    for _ in range(jobs):
        simulator.start("completed")
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(simulator.job(UUID).uuid) == len(UUID)
    return size / 1e6


def many_sources(data_sources: int) -> float:
    """Milliseconds in which a job is answered and its body parsed."""
    simulator = Simulator(VirtualClock())
    job = simulator.start("many-data-sources", data_sources=data_sources, files=50_000)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", tuple(SENT.items()))
    simulator.clock.advance(400)  # type: ignore[attr-defined]
    return 1000 * processor_seconds(lambda: json.loads(simulator.handle(ask).body))


def requests_a_second(port: int, path: str, count: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask() -> None:
        for _ in range(count):
            connection.request("GET", path, headers=SENT)
            connection.getresponse().read()

    rate = count / seconds(ask)
    connection.close()
    return rate


def servers(rounds: int, count: int) -> list[list[float]]:
    """Requests a second on one connection: of the loopback server and of pytest-httpserver."""
    simulator = Simulator(VirtualClock(), requests_per_hour=None, requests_per_minute=None)
    path = f"{JOBS_PATH}/{simulator.start('stuck').uuid}"
    server = LoopbackServer(simulator.handle).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request would slow it
    try:
        with HTTPServer() as peer:
            body = answers()()
            peer.expect_request(path).respond_with_data(body, content_type="application/json")
            return paired(
                rounds,
                lambda: requests_a_second(server.port, path, count),
                lambda: requests_a_second(peer.port, path, count),
            )
    finally:
        server.stop()


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    global duration
    duration, rounds, count = (600.0, 1, 100) if quick else (8 * 3600.0, 3, 2000)
    ours, peer, limit = paired(rounds, gradient_simulated, gradient_respx, gradient_bare)
    what = "`gradient`, by interception"
    yield Figure(what, "s", ours, "the same under respx", peer, 1)
    yield Figure(what, "s", ours, "the same over a bare transport", limit, 1.3)
    ours, limit = paired(rounds, own_client, own_client_bare)
    yield Figure("own client", "s", ours, "the same over a bare transport", limit, 1.3)
    sizes = (10, 100) if quick else (10, 100, 1_000, 10_000, 100_000)
    grown = paired(rounds, *(lambda size=size: poll_among(size) for size in sizes))
    jobs = f"{sizes[-1]:,} jobs"
    yield Figure(f"a poll among {jobs}", "µs", grown[-1], "among 10", grown[0], 1.2)
    yield Figure(f"memory of {jobs}", "MB", [memory_of(sizes[-1])], aim=200)
    points = list(zip(sizes, map(min, grown), strict=True))
    yield Curve("A poll among many jobs", "jobs", "µs a poll", {"a poll": points})
    sizes = (10, 100) if quick else (10, 100, 1_000, 10_000)
    grown = paired(rounds, *(lambda size=size: many_sources(size) for size in sizes))
    what = f"a job of {sizes[-1]:,} data sources, answered and parsed"
    yield Figure(what, "ms", grown[-1], aim=50)
    points = list(zip(sizes, map(min, grown), strict=True))
    yield Curve("A job of many data sources", "data sources", "ms a poll", {"a poll": points})
    ours, peer = servers(rounds, count)
    what = "the loopback server, on one connection"
    yield Figure(what, "requests a second", ours, "pytest-httpserver", peer, 1, at_least=True)
