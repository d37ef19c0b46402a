"""Whatever waits with a limit stands on one timeline: threads, tasks, libraries, processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import queue
import sched
import socket
import socketserver
import subprocess
import sys
import threading
import time
import weakref

import anyio
import pytest
import tenacity
import trio
import uvloop

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock


def in_threads(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# asyncio.


async def a_timeout(limit):
    async with asyncio.timeout(limit):
        await asyncio.sleep(1000)


async def a_timeout_at(limit):
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + limit):
        await asyncio.Event().wait()


async def a_wait_for(limit):
    await asyncio.wait_for(asyncio.Queue().get(), limit)


async def an_as_completed(limit):
    for each in asyncio.as_completed([asyncio.sleep(1000)], timeout=limit):
        await each


async def a_wait(limit):
    task = asyncio.create_task(asyncio.sleep(1000))
    done, _ = await asyncio.wait([task], timeout=limit)
    task.cancel()
    if not done:
        raise TimeoutError


async def an_anyio_limit(limit):
    with anyio.fail_after(limit):
        await anyio.sleep(1000)


async def a_condition(limit):
    condition = asyncio.Condition()
    async with condition:
        await asyncio.wait_for(condition.wait(), limit)


async def a_stream(limit):
    here, there = socket.socketpair()
    with there:
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            await asyncio.wait_for(reader.read(1), limit)
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    "limited",
    [
        a_timeout,
        a_timeout_at,
        a_wait_for,
        an_as_completed,
        a_wait,
        an_anyio_limit,
        a_condition,
        a_stream,
    ],
)
def test_a_limit_of_asyncio_strikes_at_its_moment(limited, clock):
    with pytest.raises(TimeoutError):
        asyncio.run(limited(10))
    assert clock.elapsed == 10


def test_timers_and_sleeps_of_a_loop_go_off_in_order(clock):
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_later(3, lambda: seen.append(("timer", clock.elapsed)))
        loop.call_at(began + 7, lambda: seen.append(("at", clock.elapsed)))
        with anyio.move_on_after(5):
            await asyncio.sleep(100)
        seen.append(("limit", clock.elapsed))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(4))
            group.create_task(asyncio.sleep(2))
        seen.append(("group", clock.elapsed, loop.time() - began))

    asyncio.run(main())
    assert seen == [("timer", 3), ("limit", 5), ("at", 7), ("group", 9, 9)]


def test_loops_in_several_threads_share_the_timeline(clock):
    seen = []

    def loop(name, seconds):
        async def main():
            for _ in range(3):
                await asyncio.sleep(seconds)
                seen.append((clock.elapsed, name))

        return lambda: asyncio.run(main())

    in_threads(loop("a", 2), loop("b", 3))
    assert seen[0] == (2, "a")
    assert sorted(seen) == [(2, "a"), (3, "b"), (4, "a"), (6, "a"), (6, "b"), (9, "b")]
    assert [moment for moment, _ in seen] == sorted(moment for moment, _ in seen)


def test_work_in_a_thread_holds_the_time_of_a_ticking_task(clock):
    def work():
        return sum(range(2_000_000))

    async def main():
        async def tick():
            while True:
                await asyncio.sleep(1)

        task = asyncio.create_task(tick())
        for _ in range(5):
            await asyncio.wait_for(asyncio.to_thread(work), 1)
        task.cancel()

    asyncio.run(main())
    assert clock.elapsed == 0


def test_an_answer_of_a_service_on_this_machine_holds_time(clock):
    class Slow(socketserver.BaseRequestHandler):
        def handle(self):
            while line := self.request.recv(100):
                sum(range(1_000_000))
                self.request.sendall(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()

        async def main():
            async def tick():
                while True:
                    await asyncio.sleep(1)

            task = asyncio.create_task(tick())
            reader, writer = await asyncio.open_connection(*server.server_address)
            for _ in range(5):
                writer.write(b"hello\n")
                assert await asyncio.wait_for(reader.readline(), 60) == b"hello\n"
            task.cancel()
            writer.close()

        try:
            asyncio.run(main())
        finally:
            server.shutdown()
    assert clock.elapsed <= 10


def test_debug_mode_logs_no_slow_callback_of_ours(clock, caplog):
    async def main():
        await asyncio.sleep(3600)

    asyncio.run(main(), debug=True)
    assert "took" not in caplog.text


# Threads.


def test_sleeping_threads_overlap(clock):
    in_threads(*[lambda: time.sleep(5)] * 3)
    assert clock.elapsed == 5


@contextlib.contextmanager
def a_thread_that_sleeps(seconds):
    thread = threading.Thread(target=time.sleep, args=(seconds,))
    thread.start()
    yield thread
    thread.join()


def taken_lock(kind):
    lock = kind()
    go, taken = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    return lock, go, thread


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_a_lock_that_is_taken(kind, clock):
    # Through the module, since the parameters are the real ones.
    lock, go, thread = taken_lock(getattr(threading, kind.__name__, None) or threading.Lock)
    assert not lock.acquire(timeout=30)
    assert clock.elapsed == 30
    go.set()
    assert lock.acquire(timeout=30)
    thread.join()
    assert clock.elapsed == 30


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (lambda: threading.Event().wait(10), False),
        (lambda: threading.Semaphore(0).acquire(timeout=10), False),
        (lambda: threading.Condition().wait_for(bool, 10), RuntimeError),
        (lambda: threading.Barrier(2).wait(10), threading.BrokenBarrierError),
        (lambda: queue.Queue().get(timeout=10), queue.Empty),
        (lambda: queue.SimpleQueue().get(timeout=10), queue.Empty),
        (lambda: concurrent.futures.Future().result(10), TimeoutError),
        (lambda: concurrent.futures.wait([concurrent.futures.Future()], 10).done, set()),
        (
            lambda: list(concurrent.futures.as_completed([concurrent.futures.Future()], 10)),
            TimeoutError,
        ),
    ],
)
def test_a_limit_of_a_thread_strikes_at_its_moment(wait, expected, clock):
    if isinstance(expected, type):
        with pytest.raises(expected):
            wait()
    else:
        assert wait() == expected
    assert clock.elapsed == (0 if expected is RuntimeError else 10)


def test_a_join_with_a_limit(clock):
    with a_thread_that_sleeps(100) as thread:
        thread.join(10)
        assert thread.is_alive()
        assert clock.elapsed == 10
    assert clock.elapsed == 100


def test_a_poller_beside_a_thread_that_works(clock):
    stop = threading.Event()
    beats = []

    def beat():
        while not stop.wait(1):
            beats.append(clock.elapsed)

    thread = threading.Thread(target=beat)
    thread.start()
    for _ in range(20):
        time.sleep(5)
    stop.set()
    thread.join()
    # Both are due at 100, in either order.
    assert beats[:99] == list(range(1, 100))
    assert clock.elapsed == 100


def test_a_timer_and_a_scheduler(clock):
    seen = []
    timer = threading.Timer(600, lambda: seen.append(("timer", clock.elapsed)))
    timer.start()
    scheduler = sched.scheduler(time.monotonic, time.sleep)
    scheduler.enter(900, 1, lambda: seen.append(("scheduler", clock.elapsed)))
    scheduler.run()
    assert seen == [("timer", 600), ("scheduler", 900)]


def test_an_eight_hour_job_in_a_pool(clock):
    def job():
        for _ in range(5760):
            time.sleep(5)
        return "done"

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert pool.submit(job).result(timeout=9 * 3600) == "done"
        assert clock.elapsed == 8 * 3600
        with pytest.raises(TimeoutError):
            pool.submit(job).result(timeout=7 * 3600)
        assert clock.elapsed == 15 * 3600


def test_tenacity_waits_and_stops(clock):
    retry = tenacity.Retrying(
        wait=tenacity.wait_fixed(30), stop=tenacity.stop_after_delay(100), reraise=True
    )
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 / 0)
    assert clock.elapsed == 120


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("2", TypeError),
        (None, TypeError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), OverflowError),
    ],
)
def test_a_sleep_is_as_strict_as_the_real(wrong, error, clock):
    with pytest.raises(error):
        time.sleep(wrong)


def test_what_a_thread_had_in_its_hands_is_free_as_soon_as_it_has_ended(clock):
    class Held:
        pass

    held = []

    def hold():
        mine = Held()
        held.append(weakref.ref(mine))
        for _ in range(5):
            sum(range(100_000))
            time.sleep(1)

    gc.collect()
    gc.disable()
    try:
        in_threads(hold, hold, lambda: time.sleep(3))
        assert [each() for each in held] == [None, None]
    finally:
        gc.enable()


# By hand.


def test_advance_moves_through_the_moments_in_between(clock):
    seen = []

    def nap(*moments):
        def work():
            for seconds in moments:
                time.sleep(seconds)
                seen.append(clock.elapsed)

        return threading.Thread(target=work, daemon=True)

    threads = [nap(10, 10, 10), nap(15, 100)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    clock.advance(49)
    assert (seen, clock.elapsed) == ([10, 15, 20, 30], 50)
    threads[1].join()
    assert (seen[-1], clock.elapsed) == (115, 115)


# Child processes.

CHILD = [sys.executable, "-c", "import time; time.sleep(0.3)"]


def test_child_processes_hold_time(clock):
    async def main():
        async def tick():
            while True:
                await asyncio.sleep(10)

        task = asyncio.create_task(tick())
        process = await asyncio.create_subprocess_exec(*CHILD)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        task.cancel()

    assert subprocess.run(CHILD, check=False, timeout=60, capture_output=True).returncode == 0
    asyncio.run(main())
    assert clock.elapsed < 60


def test_a_child_that_lives_longer_than_its_limit(clock):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)
        child.kill()
    assert clock.elapsed == 0.2


# Other loops.


def test_trio_is_on_the_timeline(clock):
    async def main():
        with trio.move_on_after(10):
            await trio.sleep(1000)
        assert clock.elapsed == 10
        with trio.move_on_after(60):
            await trio.to_thread.run_sync(time.sleep, 30)
        assert clock.elapsed == 40
        with trio.move_on_after(5):
            await trio.sleep_forever()

    trio.run(main)
    assert clock.elapsed == 45


def test_uvloop_is_on_the_timeline(clock):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await asyncio.sleep(1000)

    uvloop.run(main())
    assert clock.elapsed == 100


# Whole tests.


def run(pytester, text, *, ini="", alone=False):
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makepyfile(text)
    # Alone, without threads of the tests before.
    pytest_of = pytester.runpytest_subprocess if alone else pytester.runpytest
    return pytest_of("-p", "no:cacheprovider")


@pytest.mark.slow
def test_a_test_in_which_nobody_can_move_is_told_who_waits_for_what(pytester):
    result = run(
        pytester,
        """
        import threading
        def test_it(indexjob_clock):
            never = threading.Event()
            threading.Thread(target=never.wait, name="helper", daemon=True).start()
            wait_for_ever(never)
        def wait_for_ever(event):
            event.wait()  # the innermost line
        def test_loop(indexjob_clock):
            import asyncio
            async def main():
                await asyncio.Event().wait()
            asyncio.run(main())
        """,
        ini="indexjob_stuck_after = 0.5\nfilterwarnings = ignore",
        alone=True,
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*nobody in this test could move for 0.5 real seconds*",
            "*thread MainThread: waits to be notified, at *event.wait()  # the innermost line",
            "*thread helper: waits to be notified*",
            "hint: look for a wait that no code ends, *",
            "*thread MainThread: waits in its event loop*",
            "*task Task-* waits, at *asyncio.Event().wait()*",
        ]
    )


def test_a_loop_that_spins_on_the_clock_is_told_as_endless(pytester):
    result = run(
        pytester,
        """
        import time
        def test_it(indexjob_clock):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                pass
        def test_naps(indexjob_clock):
            while True:
                time.sleep(0)
        """,
        ini="indexjob_stuck_after = 0.3",
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*does not stop: it has read the clock*Let the loop sleep*"])


def test_the_start_can_be_chosen(pytester):
    result = run(
        pytester,
        """
        import datetime
        def test_it(indexjob_clock, indexjob_simulator):
            indexjob_simulator.start()
            assert datetime.datetime.now(datetime.UTC).isoformat() == "2030-01-02T03:04:05+00:00"
        """,
        ini="indexjob_clock_start = 2030-01-02T03:04:05Z",
    )
    result.assert_outcomes(passed=1)
    wrong = run(pytester, "def test_it(indexjob_clock): pass", ini="indexjob_clock_start = soon")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*indexjob_clock_start must be an RFC 3339 time*not 'soon'*"])


def test_a_live_run_is_on_real_time(pytester):
    pytester.makepyfile(
        """
        import asyncio, time
        def test_it(indexjob_clock):
            began = time.monotonic()
            time.sleep(0.05)
            asyncio.run(asyncio.sleep(0.05))
            assert time.monotonic() - began >= 0.1
            assert indexjob_clock.elapsed >= 0.1
            assert indexjob_clock.sleeps == [0.05, 0.05]
        def test_by_hand(indexjob_clock):
            indexjob_clock.advance(5)
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "--indexjob-live", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*its clock is the real clock*"])


def test_a_portal_from_before_the_clock_can_be_adopted(pytester):
    result = run(
        pytester,
        """
        import asyncio, threading, pytest
        @pytest.fixture(scope="module")
        def loop():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield loop, thread
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        async def limited():
            async with asyncio.timeout(100):
                await asyncio.sleep(1000)
        @pytest.mark.parametrize("again", [1, 2])
        def test_it(loop, indexjob_clock, again):
            indexjob_clock.adopt(loop[1])
            with pytest.raises(TimeoutError):
                asyncio.run_coroutine_threadsafe(limited(), loop[0]).result(500)
            assert indexjob_clock.elapsed == 100
        """,
    )
    result.assert_outcomes(passed=2)


def test_fastapis_test_client(pytester):
    result = run(
        pytester,
        """
        import asyncio, fastapi, fastapi.testclient
        app = fastapi.FastAPI()
        @app.get("/")
        async def slow():
            try:
                async with asyncio.timeout(20):
                    await asyncio.sleep(1000)
            except TimeoutError:
                return "late"
        def test_it(indexjob_clock):
            with fastapi.testclient.TestClient(app) as client:
                assert client.get("/").json() == "late"
            assert indexjob_clock.elapsed == 20
        """,
        ini="filterwarnings = ignore",
    )
    result.assert_outcomes(passed=1)


def test_the_start_is_an_argument_of_the_clock(pytester):
    result = run(
        pytester,
        """
        import datetime, pytest
        UTC = datetime.UTC
        SAME_START = datetime.datetime(2030, 1, 2, 3, 4, 5, 0, UTC)
        STARTS = ["2030-01-02T03:04:05Z", 1893553445, SAME_START]

        @pytest.mark.parametrize("indexjob_clock", STARTS, indirect=True)
        def test_it(indexjob_clock, indexjob_simulator):
            job = indexjob_simulator.start()
            assert datetime.datetime.now(UTC) == STARTS[2]
            assert job.created_at == STARTS[2]

        @pytest.mark.parametrize("indexjob_clock", ["soon"], indirect=True)
        def test_wrong(indexjob_clock):
            pass
        """,
    )
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["the argument of indexjob_clock must be an RFC 3339*not 'soon'*"])


SLOW = """
    import asyncio, httpx, pytest
    JOBS = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"

    async def ask(uuid):
        headers = {"Authorization": "Bearer any"}
        async with httpx.AsyncClient(headers=headers, timeout=None) as client:
            return await client.get(f"{JOBS}/{uuid}")
"""


def test_a_slow_answer_is_a_wait_like_any_other(pytester):
    result = run(
        pytester,
        f"""{SLOW}
    def test_limit(indexjob_simulator, indexjob_clock):
        uuid = indexjob_simulator.start().uuid
        indexjob_simulator.inject("slow-answer")
        beats = []
        async def beat():
            while True:
                await asyncio.sleep(0.5)
                beats.append(indexjob_clock.elapsed)
        async def main():
            task = asyncio.create_task(beat())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await ask(uuid)
            task.cancel()
        asyncio.run(main())
        assert indexjob_clock.elapsed == 2
        assert beats[:3] == [0.5, 1, 1.5]

    def test_five_at_once(indexjob_simulator, indexjob_clock):
        uuid = indexjob_simulator.start().uuid
        indexjob_simulator.inject("slow-answer", times=5)
        async def main():
            return await asyncio.gather(*[ask(uuid) for _ in range(5)])
        assert all(answer.is_success for answer in asyncio.run(main()))
        assert indexjob_clock.elapsed == indexjob_clock.sleeps[0]
        """,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.slow
def test_uvloop_imported_after_the_clock_began_is_refused(pytester):
    pytester.makepyfile(
        """
        import asyncio
        def test_it(indexjob_clock):
            import uvloop
            uvloop.run(asyncio.sleep(1000))
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the loop uvloop.Loop waits on real time*import the loop's*"])


def test_a_clock_is_on_real_time_while_it_is_recorded(pytester):
    simulator = Simulator(VirtualClock(), requests_per_minute=None)
    server = LoopbackServer(simulator.handle, clock=simulator.clock, step_per_poll=100.0)
    text = f"""
        import pytest, requests, time
        from pytest_indexjob import IndexJobSettings
        URL = "{{}}/v2/gen-ai/indexing_jobs/{simulator.start("partial").uuid}"
        HEADERS = {{{{"Authorization": "Bearer any"}}}}

        @pytest.fixture(scope="session")
        def indexjob_settings():
            return IndexJobSettings(base_url={{!r}}, token="any")

        @pytest.mark.indexjob_cassette("mine")
        def test_it(indexjob_clock):
            began, asked = time.clock_gettime(time.CLOCK_MONOTONIC), 0
            while "finished_at" not in requests.get(URL, headers=HEADERS).json()["job"]:
                time.sleep(0.05)
                asked += 1
            passed = time.clock_gettime(time.CLOCK_MONOTONIC) - began
            assert indexjob_clock.sleeps == [0.05] * asked
            assert asked > 1 and passed >= 0.05 * asked
            assert indexjob_clock.elapsed >= 0.05 * asked
    """
    server.start()
    try:
        pytester.makepyfile(text.format(server.url, server.url))
        result = pytester.runpytest("-p", "no:cacheprovider", "--indexjob-record=once")
        result.assert_outcomes(passed=1)
    finally:
        server.stop()
