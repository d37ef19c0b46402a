"""Virtual time for the code under test, and the end of endless loops."""

from __future__ import annotations

import asyncio
import datetime as dt
import queue
import threading
import time

import pytest

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.clock import START
from pytest_indexjob.virtual_time.time_patches import TimePatches


def patched():
    return [
        # What a built-in function hands on tells what stands in its place.
        *(
            getattr(time, name).__self__
            for name in ("sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
        ),
        asyncio.sleep,
        asyncio.base_events.BaseEventLoop.time,
        threading.Condition.wait,
        threading.Lock,
        queue.SimpleQueue,
    ]


def test_every_clock_shows_the_same_virtual_time(clock):
    readings = [time.time, time.monotonic, time.perf_counter, lambda: dt.datetime.now().timestamp()]
    before = [read() for read in readings]
    assert before[0] == before[3] == START
    time.sleep(3600)
    clock.advance(1.5)
    assert [read() - was for read, was in zip(readings, before, strict=True)] == pytest.approx(
        [3601.5] * 4
    )
    assert dt.datetime.now(dt.UTC).year == 2025
    assert (time.monotonic_ns() / 1e9, time.perf_counter_ns() / 1e9) == pytest.approx(
        (time.monotonic(), time.perf_counter())
    )
    assert (clock.elapsed, clock.sleeps) == (3601.5, [3600])
    with pytest.raises(ValueError, match="non-negative"):
        time.sleep(-1)


def test_all_is_as_it_was_afterwards():
    before = patched()
    patches = TimePatches(VirtualClock())
    patches.start()
    assert not [here for here, there in zip(before, patched(), strict=True) if here is there]
    patches.stop()
    assert patched() == before
    assert abs(time.time() - START) > 1e6


def test_all_is_as_it_was_if_it_could_not_start(monkeypatch):
    before = patched()
    import time_machine

    monkeypatch.setattr(time_machine, "travel", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TimePatches(VirtualClock()).start()
    assert patched() == before


def test_a_name_imported_before_is_virtual_too(pytester):
    pytester.makepyfile(
        app="""
        from time import sleep, monotonic
        from asyncio import sleep as nap

        def wait():
            began = monotonic()
            sleep(500)
            return monotonic() - began
        """,
        test_it="""
        import asyncio
        import app
        def test_it(indexjob_clock):
            assert abs(app.wait() - 500) < 0.01
            asyncio.run(app.nap(100))
            assert indexjob_clock.elapsed == 600
        def test_without_it():
            assert app.sleep is __import__("time").sleep
        """,
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "--durations=0", "-vv")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*600.*s call*")


def test_sleeping_tasks_overlap(clock):
    order = []

    async def nap(name, seconds):
        await asyncio.sleep(seconds)
        order.append((name, clock.elapsed))
        return name

    async def main():
        return await asyncio.gather(nap("long", 5), nap("short", 3), nap("none", 0))

    assert asyncio.run(main()) == ["long", "short", "none"]
    assert order == [("none", 0), ("short", 3), ("long", 5)]


def test_time_outs_of_asyncio_pass_virtually(clock):
    async def forever():
        while True:
            await asyncio.sleep(5)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await forever()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 100)

    asyncio.run(main())
    assert 3600 <= clock.elapsed - 100 <= 3611


def test_a_cancelled_sleep_is_no_sleep(clock):
    async def main():
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)

    asyncio.run(main())
    assert clock.elapsed == 2


def test_a_wait_that_nobody_ends_passes_at_once(clock):
    assert not threading.Event().wait(3600)
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=100)
    condition = threading.Condition()
    with condition:
        assert not condition.wait_for(lambda: False, timeout=10)
    assert clock.elapsed == pytest.approx(3710)
    event = threading.Event()
    event.set()
    assert event.wait(5)


def test_a_wait_that_another_thread_ends_is_ended_by_it(clock):
    event, go = threading.Event(), threading.Event()

    def work():
        go.wait()
        event.set()

    worker = threading.Thread(target=work)
    worker.start()
    go.set()
    assert event.wait(3600)
    worker.join()
    assert clock.elapsed == 0


def test_threads_from_before_the_test_keep_real_time():
    asked, answers = queue.SimpleQueue(), queue.SimpleQueue()

    def stranger():
        for call in iter(asked.get, None):
            answers.put(call())

    thread = threading.Thread(target=stranger)
    thread.start()
    patches = TimePatches(VirtualClock())
    patches.start()
    try:
        time.sleep(10_000)
        inside = time.monotonic()
        asked.put(time.monotonic)
        assert inside - answers.get() > 9_000
    finally:
        patches.stop()
        asked.put(None)
        thread.join()


def test_a_thread_from_before_the_test_holds_no_time_while_it_works():
    is_over = threading.Event()

    def work():
        while not is_over.is_set():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    patches = TimePatches(VirtualClock(), stuck_after=1.0)
    patches.start()
    try:
        time.sleep(3600)
        assert patches.clock.elapsed == 3600
    finally:
        patches.stop()
        is_over.set()
        thread.join()


def test_of_two_that_are_due_at_once_the_second_wakes_while_the_first_still_works(clock):
    woken, met = set(), []

    def work(name, other):
        time.sleep(5)
        woken.add(name)
        for _ in range(3 * 10**7):
            if other in woken:
                met.append(name)
                return

    threads = [threading.Thread(target=work, args=names) for names in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == ["a", "b"]
    assert clock.elapsed == 5


def test_time_goes_forwards_only(clock):
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="only go forwards"):
            clock.advance(wrong)


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ('"sys.implementation.name", "pypy"', "*, and pypy has other*"),
        ('"select.poll"', "*, and linux has no select.poll*"),
    ],
)
def test_a_platform_without_virtual_time_is_refused_in_a_sentence(pytester, patch, expected):
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.fixture
        def elsewhere(monkeypatch):
            monkeypatch.{"setattr" if "," in patch else "delattr"}({patch})
            monkeypatch.setattr("sys.platform", "linux")
        def test_refused(elsewhere, indexjob_clock):
            pass
        def test_without_it(elsewhere, indexjob_simulator):
            indexjob_simulator.start()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"indexjob_clock needs CPython on Linux or macOS{expected}"])
    result.stdout.no_fnmatch_line("*Traceback*")


# Endless loops.

LOOP = """
import time, requests, pytest
URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"
def poll(uuid):
    return requests.get(URL + uuid, headers={"Authorization": "Bearer any"}).json()
"""


@pytest.fixture
def suite(pytester):
    def run(text, ini="indexjob_max_polls = 100"):
        pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(LOOP + text)
        return pytester.runpytest("-p", "no:cacheprovider")

    return run


@pytest.mark.parametrize(
    "swallowed", ["Exception", pytest.param("BaseException", marks=pytest.mark.slow)]
)
def test_a_loop_without_end_fails_whatever_it_swallows(suite, swallowed):
    result = suite(f"""
def test_it(indexjob_simulator, indexjob_clock):
    uuid = indexjob_simulator.start("partial").uuid
    for _ in range(500):
        try:
            if poll(uuid)["job"]["status"] == "INDEX_JOB_STATUS_COMPLETED":
                break
        except {swallowed}:
            pass
        time.sleep(5)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*does not stop: 100 requests in one test (ini key indexjob_max_polls)*",
            "*68 x GET *: status IN_PROGRESS, phase RUNNING",
            "*32 x GET *: status PARTIAL, phase SUCCEEDED",
            "*hint: the job ended as PARTIAL and was polled 31 more times*",
        ]
    )
    assert str(result.stdout).count("does not stop: 100 requests in one test (ini key") == 1


def test_a_loop_of_many_hours_fails(suite):
    result = suite(
        """
def test_it(indexjob_simulator, indexjob_clock):
    uuid = indexjob_simulator.start("stuck").uuid
    while True:
        poll(uuid)
        time.sleep(3600)
""",
        ini="indexjob_max_hours = 10",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*11 hours of the test's clock*indexjob_max_hours*", "*no time-out of its own*"]
    )


def test_a_loop_that_does_not_sleep_is_told_of_the_clock(suite):
    result = suite("""
def test_it(indexjob_simulator):
    uuid = indexjob_simulator.start().uuid
    while True:
        poll(uuid)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*hint: the code under test never slept on the test's clock: ask for indexjob_clock*"]
    )


def test_a_loop_in_another_thread_is_stopped_too(suite):
    result = suite("""
import threading
def test_it(indexjob_simulator, indexjob_clock):
    uuid = indexjob_simulator.start("stuck").uuid
    def work():
        try:
            while True:
                poll(uuid)
        except BaseException:
            pass
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*does not stop*"])


@pytest.mark.slow
def test_many_jobs_in_one_test_are_no_endless_loop(suite):
    result = suite(
        """
@pytest.mark.parametrize("limit", ["indexjob_max_polls", "indexjob_max_hours"])
def test_it(limit, indexjob_simulator, indexjob_clock):
    for _ in range(5):
        uuid = indexjob_simulator.start("partial").uuid
        for _ in range(80):
            poll(uuid)
            time.sleep(300)
def test_the_last_of_many(indexjob_simulator, indexjob_clock):
    for _ in range(5):
        uuid = indexjob_simulator.start("partial").uuid
        poll(uuid)
    while True:
        poll(uuid)
        time.sleep(1)
""",
        ini="indexjob_max_polls = 100\nindexjob_max_hours = 10",
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*does not stop: 100 requests in one test*"])


def test_many_hours_without_a_request_fail_and_say_so(suite):
    result = suite(
        """
def test_a_weekly_timer(indexjob_clock):
    for _ in range(7):
        time.sleep(86400)
def test_by_hand(indexjob_simulator, indexjob_clock):
    indexjob_simulator.start()
    indexjob_clock.advance(3 * 86400)
    time.sleep(1)
""",
        ini="",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*does not stop: 72 hours of the test's clock have passed*indexjob_max_hours*",
            "hint: no request was made in this time*",
        ]
    )
