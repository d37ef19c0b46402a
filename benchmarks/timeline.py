"""Timeline."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import threading
import time
from collections.abc import Iterator
from unittest import mock

import gradient
import httpx
import pydo
from azure.core.pipeline.transport import RequestsTransport

from benchmarks.bare import bare_session, bare_transport
from benchmarks.figures import Curve, Figure, paired
from pytest_indexjob import Simulator, VirtualClock
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.exchange import Journal, Request
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.time_patches import TimePatches

REAL = time.perf_counter
PROCESSOR = time.process_time
LIBRARIES = ("gradient", "pydo", "httpx", "requests")
NOTES = (
    "sleeps on a virtual clock; and a job that an SDK polls every 5 s for 2 hours (1,441 polls), in"
    " processor time, against the same over a transport that only hands out answers and a sleep"
    " that does nothing. The bare transport of `pydo` stands above urllib3, whose work it saves."
)
UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
duration = 2 * 3600.0


def polls_needed():
    return int(duration / 5) + 1


def on_a_clock(work):
    """Real seconds of the work on a clock of its own."""
    patches = TimePatches(VirtualClock())
    began = REAL()
    patches.start()
    try:
        work()
    finally:
        patches.stop()
    return REAL() - began


def threads_that_sleep(sleeps):
    def work():
        for _ in range(sleeps):
            time.sleep(1)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tasks_that_sleep(sleeps):
    async def work():
        for _ in range(sleeps):
            await asyncio.sleep(1)

    async def main():
        await asyncio.gather(*[work() for _ in range(100)])

    asyncio.run(main())


def heartbeat(hours):
    stop = threading.Event()

    def beat():
        while not stop.wait(1):
            pass

    thread = threading.Thread(target=beat)
    thread.start()
    time.sleep(hours * 3600)
    stop.set()
    thread.join()


def heartbeat_of_a_task(hours):
    async def main():
        async def beat():
            while True:
                await asyncio.sleep(1)

        task = asyncio.create_task(beat())
        await asyncio.sleep(hours * 3600)
        task.cancel()

    asyncio.run(main())


def answers_of_a_server(count):
    """A server in a thread of the test answers each request after a minute of the clock."""

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(60)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for _ in range(count):
            connection = http.client.HTTPConnection(*server.server_address, timeout=100)
            connection.request("GET", "/")
            connection.getresponse().close()
            connection.close()
        server.shutdown()
        thread.join()


def nothing():
    """Milliseconds of a clock that nobody waits on."""
    patches = TimePatches(VirtualClock())
    began = REAL()
    patches.start()
    patches.stop()
    return 1000 * (REAL() - began)


def bodies():
    """The bodies of the same life, computed before the time is taken."""
    simulator = Simulator(clock := VirtualClock(), requests_per_hour=None)
    job = simulator.start("completed", duration=duration)
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", (("Authorization", "Bearer any"),))
    found = []
    for _ in range(polls_needed()):
        found.append(simulator.handle(ask).body)
        clock.sleep(5)
    return iter(found).__next__


def simulated(poll):
    """Processor seconds of the polls, answered by the simulator on its clock."""
    clock = VirtualClock()
    interception = Interception(Journal(), clock)
    simulator = Simulator(clock, journal=interception.journal)
    simulator.start("completed", duration=duration)
    interception.simulate(simulator)
    interception.start()
    patches = TimePatches(clock)
    patches.start()
    try:
        began = PROCESSOR()
        assert poll(None) == polls_needed()
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
        assert poll(give) == polls_needed()
        return PROCESSOR() - began


def transport(give):
    return None if give is None else bare_transport(give)


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


def pydo_sync(give):
    options = {}
    if give is not None:
        session = bare_session(give)
        options["transport"] = RequestsTransport(session=session, session_owner=False)
    client = pydo.Client(token="any", **options)
    polls = 1
    while not client.genai.get_indexing_job(UUID)["job"].get("finished_at"):
        time.sleep(5)
        polls += 1
    return polls


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    global duration
    duration, rounds = (300.0, 1) if quick else (2 * 3600.0, 5)
    sleeps, hours = (20, 0.02) if quick else (1_000, 8)
    for what, work, aim in (
        (f"10 threads of {sleeps:,} sleeps", lambda: threads_that_sleep(sleeps), 2),
        (f"100 tasks of {sleeps:,} sleeps", lambda: tasks_that_sleep(sleeps), 2),
        (f"a thread's heartbeat of 1 s through {hours} hours", lambda: heartbeat(hours), 3),
        (f"a task's heartbeat of 1 s through {hours} hours", lambda: heartbeat_of_a_task(hours), 3),
        (
            f"{sleeps:,} answers of a server of the test, each after a minute",
            lambda: answers_of_a_server(sleeps),
            None,
        ),
    ):
        (times,) = paired(min(rounds, 3), lambda work=work: on_a_clock(work))
        yield Figure(what, "s", times, aim=aim)
    what = "a test that asks for the clock and never sleeps"
    yield Figure(what, "ms", [nothing() for _ in range(10 * rounds)], aim=1)
    sizes = (10, 20) if quick else (10, 100, 1_000)
    lines = {
        name: [(size, on_a_clock(lambda size=size, work=work: work(size))) for size in sizes]
        for name, work in (("10 threads", threads_that_sleep), ("100 tasks", tasks_that_sleep))
    }
    yield Curve("Sleeps on the virtual clock", "sleeps each", "real seconds", lines)
    for what, poll in (
        ("`gradient`", gradient_sync),
        ("`gradient`, async", gradient_async),
        ("`pydo`", pydo_sync),
    ):
        ours, limit = paired(
            rounds, lambda poll=poll: simulated(poll), lambda poll=poll: bare(poll)
        )
        yield Figure(what, "s", ours, "the same over a bare transport", limit, 1.3)
