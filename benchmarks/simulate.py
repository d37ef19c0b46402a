"""The simulator beside the peers, and how its cost grows: ``python benchmarks/simulate.py``."""

from __future__ import annotations

import gc
import http.client
import json
import logging
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import version
from unittest import mock

import gradient
import httpx
import requests
import respx
from pytest_httpserver import HTTPServer

from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.api.client import IndexingJobClient
from pytest_indexjob.exchange import Journal, Request
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.simulation.server import LoopbackServer
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.virtual_time.time_functions import REAL
from pytest_indexjob.virtual_time.time_patches import TimePatches, VirtualClock

EIGHT_HOURS = 8 * 3600.0
POLLS = 5761  # one every 5 s, and the last
ROUNDS = 5
HEADERS = {"Authorization": "Bearer any"}
UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"


def best(*works: Callable[[], float]) -> list[float]:
    """The shortest seconds of each, of some rounds in which they take turns."""
    rounds = [[work() for work in works] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def answers() -> Callable[[], bytes]:
    """The bodies of the same life, for a trivial transport, computed before the time is taken."""
    simulator = Simulator(clock := VirtualClock(), requests_per_hour=None)
    job = simulator.start("completed", duration=EIGHT_HOURS)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", tuple(HEADERS.items()))
    bodies = []
    for _ in range(POLLS):
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
    simulator.start("completed", duration=EIGHT_HOURS)
    interception.simulate(simulator)
    client = gradient.Gradient(access_token="any")
    timer = REAL["perf_counter"]
    interception.start()
    patches = TimePatches(clock)
    patches.start()
    try:
        began = timer()
        wait(client)
        return timer() - began
    finally:
        patches.stop()
        interception.stop()
        assert len(interception.journal) == POLLS


@contextmanager
def no_sleep():
    with mock.patch("time.sleep"):
        yield


def gradient_respx() -> float:
    give = answers()
    with respx.mock, no_sleep():
        headers = {"Content-Type": "application/json"}
        respx.get(f"{API_URL}{JOBS_PATH}/{UUID}").mock(
            side_effect=lambda _: httpx.Response(200, content=give(), headers=headers)
        )
        client = gradient.Gradient(access_token="any")
        return seconds(lambda: wait(client))


def gradient_transport() -> float:
    give = answers()
    headers = {"Content-Type": "application/json"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=give(), headers=headers))
    client = gradient.Gradient(access_token="any", http_client=httpx.Client(transport=transport))
    with no_sleep():
        return seconds(lambda: wait(client))


def own_client() -> float:
    clock = VirtualClock()
    interception = Interception(Journal(), clock).start()
    simulator = Simulator(clock, journal=interception.journal)
    simulator.start("completed", duration=EIGHT_HOURS)
    interception.simulate(simulator)
    try:
        client = IndexingJobClient("any", session=interception.session(), clock=clock)
        return seconds(lambda: client.wait(UUID, timeout=10 * 3600))
    finally:
        interception.stop()


def trivial_adapter() -> float:
    """The same client over an adapter that does nothing but give the next body."""
    from requests.adapters import BaseAdapter

    give = answers()

    class Adapter(BaseAdapter):
        def send(self, request, **_):  # type: ignore[no-untyped-def,override]
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            response._content = give()
            response.headers["Content-Type"] = "application/json"
            return response

        def close(self) -> None:
            pass

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Adapter())
    client = IndexingJobClient("any", session=session, clock=VirtualClock())
    return seconds(lambda: client.wait(UUID, timeout=10 * 3600))


def poll_among(jobs: int) -> float:
    simulator = Simulator(VirtualClock(), requests_per_hour=None, requests_per_minute=None)
    for _ in range(jobs - 1):
        simulator.start("completed")
    ask = Request(
        "GET", f"{API_URL}{JOBS_PATH}/{simulator.start('completed').uuid}", tuple(HEADERS.items())
    )

    def polls() -> None:
        for _ in range(5000):
            simulator.handle(ask)

    return best(lambda: seconds(polls))[0] / 5000


def memory_of(jobs: int) -> float:
    tracemalloc.start()
    simulator = Simulator(VirtualClock())
    for _ in range(jobs):
        simulator.start("completed")
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(simulator.job(UUID).uuid) == len(UUID)
    return size / 1e6


def many_sources() -> float:
    simulator = Simulator(VirtualClock())
    job = simulator.start("many-data-sources", data_sources=10_000, files=50_000)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", tuple(HEADERS.items()))
    simulator.clock.advance(400)  # type: ignore[attr-defined]
    return seconds(lambda: json.loads(simulator.handle(ask).body))


def requests_a_second(port: int, path: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask() -> None:
        for _ in range(2000):
            connection.request("GET", path, headers=HEADERS)
            connection.getresponse().read()

    rate = 2000 / best(lambda: seconds(ask))[0]
    connection.close()
    return rate


def servers() -> tuple[float, float]:
    simulator = Simulator(VirtualClock(), requests_per_hour=None, requests_per_minute=None)
    job = simulator.start("stuck")
    path = f"{JOBS_PATH}/{job.uuid}"
    server = LoopbackServer(simulator.handle).start()
    ours = requests_a_second(server.port, path)
    server.stop()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request would slow it
    with HTTPServer() as peer:
        peer.expect_request(path).respond_with_data(answers()(), content_type="application/json")
        return ours, requests_a_second(peer.port, path)


def main() -> None:
    # What all these libraries hold is not to be looked through for garbage on behalf of one of
    # them.
    gc.collect()
    gc.freeze()
    names = ("pytest-indexjob", "gradient", "httpx", "requests", "respx", "pytest-httpserver")
    print(
        ", ".join(f"{name} {version(name)}" for name in names),
        f"on Python {sys.version.split()[0]}\n",
    )
    ours, peer, limit = best(gradient_simulated, gradient_respx, gradient_transport)
    print(
        f"gradient, {POLLS} polls: simulator {ours:.2f} s, respx {peer:.2f} s, MockTransport"
        f" {limit:.2f} s"
    )
    print(
        f"    against respx {ours / peer:.2f} (at most 1), against MockTransport {ours / limit:.2f}"
        " (at most 1.3)"
    )
    ours, limit = best(own_client, trivial_adapter)
    print(
        f"own client, {POLLS} polls: {ours:.2f} s, trivial adapter {limit:.2f} s:"
        f" {ours / limit:.2f} (at most 1.3)"
    )
    few, many = poll_among(10), poll_among(100_000)
    print(
        f"a poll among 10 jobs {few * 1e6:.1f} us, among 100,000 {many * 1e6:.1f} us:"
        f" {many / few:.2f}"
    )
    print(f"100,000 jobs: {memory_of(100_000):.0f} MB (under 200)")
    print(
        f"a job of 10,000 data sources: {best(many_sources)[0] * 1e3:.0f} ms with its parsing"
        " (under 50)"
    )
    ours, peer = servers()
    print(
        f"server: {ours:.0f} requests a second, pytest-httpserver {peer:.0f}: {ours / peer:.1f}"
        " times"
    )


if __name__ == "__main__":
    main()
