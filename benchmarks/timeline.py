"""What the timeline costs: `python benchmarks/timeline.py`."""

from __future__ import annotations

import asyncio
import io
import statistics
import threading
import time
from unittest import mock

import gradient
import httpx
import pydo
import requests
from azure.core.pipeline.transport import RequestsTransport

from pytest_indexjob import Simulator, VirtualClock
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.exchange import Journal, Request
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.time_patches import TimePatches

REAL = time.perf_counter
PROCESSOR = time.process_time
ROUNDS = 3
EIGHT_HOURS = 8 * 3600.0
POLLS = 5761  # one every 5 s, and the last
UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
JSON = {"Content-Type": "application/json"}


def taken(work):
    """Real and processor seconds of the work on a clock of its own, the best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        patches = TimePatches(VirtualClock())
        began, used = REAL(), PROCESSOR()
        patches.start()
        try:
            work()
        finally:
            patches.stop()
        rounds.append((REAL() - began, PROCESSOR() - used))
    return [min(each) for each in zip(*rounds, strict=True)]


def threads_that_sleep():
    def work():
        for _ in range(1000):
            time.sleep(1)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tasks_that_sleep():
    async def work():
        for _ in range(1000):
            await asyncio.sleep(1)

    async def main():
        await asyncio.gather(*[work() for _ in range(100)])

    asyncio.run(main())


def heartbeat():
    stop = threading.Event()

    def beat():
        while not stop.wait(1):
            pass

    thread = threading.Thread(target=beat)
    thread.start()
    time.sleep(8 * 3600)
    stop.set()
    thread.join()


def heartbeat_of_a_task():
    async def main():
        async def beat():
            while True:
                await asyncio.sleep(1)

        task = asyncio.create_task(beat())
        await asyncio.sleep(8 * 3600)
        task.cancel()

    asyncio.run(main())


def nothing():
    rounds = []
    for _ in range(200):
        patches = TimePatches(VirtualClock())
        began = REAL()
        patches.start()
        patches.stop()
        rounds.append(REAL() - began)
    return statistics.median(rounds)


# The eight-hour job polled every 5 s by an SDK, against the same over a transport that only hands
# out bodies and a sleep that does nothing.


def bodies():
    """The bodies of the same life, computed before the time is taken."""
    simulator = Simulator(clock := VirtualClock(), requests_per_hour=None)
    job = simulator.start("completed", duration=EIGHT_HOURS)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", (("Authorization", "Bearer any"),))
    found = []
    for _ in range(POLLS):
        found.append(simulator.handle(ask).body)
        clock.sleep(5)
    return iter(found).__next__


def simulated(poll):
    """Processor seconds of the polls, answered by the simulator on its clock."""
    clock = VirtualClock()
    interception = Interception(Journal(), clock)
    simulator = Simulator(clock, journal=interception.journal)
    simulator.start("completed", duration=EIGHT_HOURS)
    interception.simulate(simulator)
    interception.start()
    patches = TimePatches(clock)
    patches.start()
    try:
        began = PROCESSOR()
        assert poll(None) == POLLS
        return PROCESSOR() - began
    finally:
        patches.stop()
        interception.stop()


def bare(poll):
    """Processor seconds of the polls over the bare transport."""

    async def no_sleep(_):
        pass

    give = bodies()
    with mock.patch("time.sleep"), mock.patch("asyncio.sleep", no_sleep):
        began = PROCESSOR()
        assert poll(give) == POLLS
        return PROCESSOR() - began


def transport(give):
    if give is None:
        return None
    return httpx.MockTransport(lambda _: httpx.Response(200, content=give(), headers=JSON))


def gradient_sync(give):
    http = httpx.Client(transport=transport(give))
    client = gradient.Gradient(access_token="any", http_client=http)
    polls = 1
    while client.knowledge_bases.indexing_jobs.retrieve(UUID).job.finished_at is None:
        time.sleep(5)
        polls += 1
    return polls


def gradient_async(give):
    async def main():
        http = httpx.AsyncClient(transport=transport(give))
        async with gradient.AsyncGradient(access_token="any", http_client=http) as client:
            polls = 1
            jobs = client.knowledge_bases.indexing_jobs
            while (await jobs.retrieve(UUID)).job.finished_at is None:
                await asyncio.sleep(5)
                polls += 1
            return polls

    return asyncio.run(main())


class Bodies(requests.adapters.BaseAdapter):
    """A transport of requests that only hands out bodies."""

    def __init__(self, give):
        super().__init__()
        self.give = give

    def send(self, request, **_):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response.raw = io.BytesIO(self.give())
        response.headers.update(JSON)
        return response

    def close(self):
        pass


def pydo_sync(give):
    options = {}
    if give is not None:
        session = requests.Session()
        session.mount("https://", Bodies(give))
        options["transport"] = RequestsTransport(session=session, session_owner=False)
    client = pydo.Client(token="any", **options)
    polls = 1
    while not client.genai.get_indexing_job(UUID)["job"].get("finished_at"):
        time.sleep(5)
        polls += 1
    return polls


if __name__ == "__main__":
    for work in (threads_that_sleep, tasks_that_sleep, heartbeat, heartbeat_of_a_task):
        real, processor = taken(work)
        print(f"{work.__name__}: {real:.2f} s, {processor:.2f} s of a processor")
    print(f"a test that asks for the clock and never sleeps: {nothing() * 1000:.2f} ms")
    for poll in (gradient_sync, gradient_async, pydo_sync):
        rounds = [(simulated(poll), bare(poll)) for _ in range(ROUNDS)]
        ours, limit = (min(each) for each in zip(*rounds, strict=True))
        ratio = statistics.median(one / other for one, other in rounds)
        print(f"{poll.__name__}: {ours:.2f} s against {limit:.2f} s, median ratio {ratio:.2f}")
