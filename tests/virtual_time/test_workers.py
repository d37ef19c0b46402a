"""An idle worker that an earlier test left behind does the work of a later test on its timeline."""

from __future__ import annotations

import gc
import itertools
import sys
import types

import pytest

from pytest_indexjob.virtual_time.references import references

MODULE = """
import asyncio, concurrent.futures, threading, time
import anyio, anyio.from_thread, anyio.to_thread, pytest, trio
from asgiref.sync import sync_to_async

pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(int).result()
threads = set()

def work():
    threads.add(threading.current_thread())
    time.sleep(30)
    return 1

@pytest.fixture(scope="module", autouse=True)
def end():
    yield
    pool.shutdown()
    assert len(threads) == 1

@pytest.mark.parametrize("number", [1, 2])
"""

TESTS = {
    "pool": """
        def test_it(indexjob_clock, number):
            assert pool.submit(work).result(60) == 1
            with pytest.raises(TimeoutError):
                pool.submit(work).result(10)
            assert pool.submit(work).result(60) == 1
            assert indexjob_clock.elapsed == 90
    """,
    "trio": """
        def test_it(indexjob_clock, number):
            async def main():
                with trio.fail_after(60):
                    await trio.to_thread.run_sync(work)
                with trio.fail_after(60):
                    await trio.to_thread.run_sync(work)
            trio.run(main)
            assert indexjob_clock.elapsed == 60
    """,
    "asgiref": """
        def test_it(indexjob_clock, number):
            async def main():
                async with asyncio.timeout(60):
                    await sync_to_async(work)()
            asyncio.run(main())
            assert indexjob_clock.elapsed == 30
    """,
    "anyio": """
        def test_it(indexjob_clock, number, portal):
            async def main():
                with anyio.fail_after(60):
                    await anyio.to_thread.run_sync(work)
            indexjob_clock.adopt(portal.call(threading.current_thread))
            portal.call(main)
            portal.call(main)
            assert indexjob_clock.elapsed == 60

        @pytest.fixture(scope="module")
        def portal():
            with anyio.from_thread.start_blocking_portal() as portal:
                yield portal
    """,
    "loop": """
        loop = asyncio.new_event_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        loop.run_until_complete(loop.run_in_executor(None, int))

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(indexjob_clock, number):
            async def main():
                async with asyncio.timeout(60):
                    await loop.run_in_executor(None, work)
            loop.run_until_complete(main())
            assert indexjob_clock.elapsed == 30

        def test_end():
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    """,
}


@pytest.mark.parametrize("kind", TESTS)
def test_an_idle_worker_of_an_earlier_test_is_on_the_timeline(pytester, kind):
    text = "\n".join(line[8:] for line in TESTS[kind].splitlines())
    module = MODULE
    if kind == "loop":
        module = module.rpartition("@pytest")[0]
    pytester.makeini("[pytest]\nindexjob_stuck_after = 3\n")
    pytester.makepyfile(module + text.lstrip("\n"))
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3 if kind == "loop" else 2)


PORTAL = """
import asyncio, concurrent.futures, threading, pytest

@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="portal")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
"""


def test_a_wait_for_a_portal_from_before_the_clock_is_given_a_hint(pytester):
    pytester.makeini("[pytest]\nindexjob_stuck_after = 0.5\nfilterwarnings = ignore\n")
    pytester.makepyfile(
        f"""{PORTAL}
def test_it(loop, indexjob_clock):
    asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), loop).result()
"""
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*thread portal: on real time*", "hint: *indexjob_clock.adopt(thread)*"]
    )


LIMITS = ["future.result(3600)", "*futures.wait(*, timeout=3600)*"]


def test_a_limit_that_came_beside_a_thread_on_real_time_is_given_a_hint(pytester):
    pytester.makepyfile(
        f"""{PORTAL}
@pytest.fixture
def future(loop):
    future = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), loop)
    yield future
    future.cancel()

def test_result(future, indexjob_clock):
    future.result(3600)

def test_wait(future, indexjob_clock):
    assert concurrent.futures.wait([future], timeout=3600).done

def test_adopted(loop, indexjob_clock):
    portal, = [each for each in threading.enumerate() if each.name == "portal"]
    indexjob_clock.adopt(portal)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(100), loop).result(10)

def test_without_a_limit(loop, indexjob_clock):
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
"""
    )
    # Alone, without threads of the tests before.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=3)
    hint = (
        "hint: a limit of 1 h came (at *: *future*3600*). These threads were made before the clock"
        " and are on real time: portal. *indexjob_clock.adopt(thread)"
    )
    result.stdout.fnmatch_lines([hint.replace("future*3600", each) for each in LIMITS])
    assert str(result.stdout).count("hint: a limit") == 2


IDLE_WORKERS = """
import concurrent.futures, threading
import anyio.from_thread, anyio.to_thread, pytest, trio

def name_thread(name):
    threading.current_thread().name = name

@pytest.fixture(scope="module", autouse=True)
def workers():
    go_on, begun = threading.Event(), threading.Event()

    def keep_busy():
        name_thread("busy")
        begun.set()
        go_on.wait()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(keep_busy)
        begun.wait()
        trio.run(trio.to_thread.run_sync, name_thread, "idle-of-trio")
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(name_thread, "portal")
            portal.call(anyio.to_thread.run_sync, name_thread, "idle-of-anyio")
            pool.submit(name_thread, "idle-of-pool").result()
            yield
            go_on.set()

def test_limit(indexjob_clock):
    concurrent.futures.Future().result(60)

def test_without_a_limit(indexjob_clock):
    concurrent.futures.Future().result()
"""


def test_a_hint_names_the_threads_that_adopting_helps_and_no_idle_worker(pytester):
    pytester.makeini("[pytest]\nindexjob_stuck_after = 0.5\n")
    pytester.makepyfile(IDLE_WORKERS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "hint: a limit of 1 min came*are on real time: busy, portal. If the wait was*",
            "hint: a wait for a thread that was made before the clock *adopt(thread)",
        ]
    )


def test_idle_workers_alone_are_no_reason_to_adopt_a_thread(pytester):
    pytester.makeini("[pytest]\nindexjob_stuck_after = 0.5\n")
    pytester.makepyfile(
        """
        import concurrent.futures

        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.submit(int).result()

        def test_limit(indexjob_clock):
            concurrent.futures.Future().result(60)

        def test_without_a_limit(indexjob_clock):
            concurrent.futures.Future().result()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(failed=2)
    assert "indexjob_clock.adopt" not in str(result.stdout)
    result.stdout.fnmatch_lines(["hint: look for a wait that no code ends, *"])


def test_names_are_looked_up_while_another_thread_imports(monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    names = itertools.count()

    def import_one(*_):
        sys.modules[f"imported_{next(names)}"] = types.ModuleType("imported")

    before = gc.get_threshold()
    gc.callbacks.append(import_one)
    gc.set_threshold(1)
    try:
        references({})
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(import_one)


def test_a_worker_is_left_alone_when_it_has_done_the_work(pytester):
    pytester.makepyfile(
        """
        import concurrent.futures, time
        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.submit(int).result()

        def test_it(indexjob_clock):
            began = time.clock_gettime(time.CLOCK_MONOTONIC)
            for _ in range(100):
                pool.submit(time.sleep, 5).result(10)
                time.sleep(5)
            assert indexjob_clock.elapsed == 1000
            # Not a real second for each time that the worker is idle again.
            assert time.clock_gettime(time.CLOCK_MONOTONIC) - began < 50
            pool.shutdown()
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
