"""Processes of ``multiprocessing`` are on real time, and so is whoever waits for one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import time

import pytest
import trio
from conftest import ticking_thread

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches


@pytest.fixture
def clock():
    patches = TimePatches(VirtualClock(), stuck_after=120)
    patches.start()
    yield patches.clock
    patches.stop()


@pytest.fixture(params=["fork", "spawn"])
def context(request):
    return multiprocessing.get_context(request.param)


def work(seconds):
    time.sleep(seconds)
    return seconds


def put(results):
    time.sleep(0.3)
    results.put("done")


def test_a_process_holds_time(clock, context):
    process = context.Process(target=time.sleep, args=(0.3,))
    process.start()
    process.join(600)
    assert process.exitcode == 0
    assert clock.elapsed < 600


def test_a_process_that_lives_longer_than_its_limit(clock, context):
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    process.join(0.2)
    assert process.is_alive()
    assert clock.elapsed == 0.2
    process.kill()
    process.join()


@pytest.mark.slow
def test_pools_of_processes_hold_time(clock, context):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(work, 0.3).result(600) == 0.3
    with context.Pool(1) as pool:
        assert pool.apply_async(work, (0.3,)).get(600) == 0.3
        assert pool.map(work, [0, 0]) == [0, 0]
    assert clock.elapsed < 600


def test_a_limit_shorter_than_the_work_of_a_pool(clock, context):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(work, 0).result(600) == 0
        pid = executor.submit(os.getpid).result(600)
        future = executor.submit(work, 5)
        before = clock.elapsed
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.2)
        assert clock.elapsed - before == pytest.approx(0.2)
        os.kill(pid, signal.SIGKILL)


def test_a_pool_beside_a_ticking_task(clock):
    async def main():
        async def tick():
            while True:
                await asyncio.sleep(1)

        task = asyncio.create_task(tick())
        with concurrent.futures.ProcessPoolExecutor(1) as executor:
            call = asyncio.get_running_loop().run_in_executor(executor, work, 0.3)
            assert await asyncio.wait_for(call, 600) == 0.3
        task.cancel()

    asyncio.run(main())


@pytest.mark.slow
def test_a_queue_between_processes(clock, context):
    results = context.Queue()
    process = context.Process(target=put, args=(results,))
    process.start()
    assert results.get(timeout=600) == "done"
    process.join()
    with pytest.raises(queue.Empty):
        results.get(timeout=600)
    assert clock.elapsed == pytest.approx(600)


def test_a_function_that_is_sent_to_a_process_is_the_real_one(clock):
    assert pickle.loads(pickle.dumps(time.sleep)) is time.sleep
    assert b"indexjob" not in pickle.dumps([time.sleep, time.monotonic])


CHILD = [sys.executable, "-c", "import time; time.sleep(0.3); print(1)"]


def wait_by_looks():
    with subprocess.Popen(CHILD, stdout=subprocess.DEVNULL) as child:
        while child.poll() is None:
            time.sleep(0.1)


def wait_by_waitpid():
    child = subprocess.Popen(CHILD, stdout=subprocess.DEVNULL)
    _, child.returncode = os.waitpid(child.pid, 0)


def limit_of_trio():
    async def main():
        with trio.fail_after(60):
            await trio.run_process(CHILD, capture_stdout=True)

    trio.run(main)


def limit_around_a_pipe():
    async def main():
        for _ in range(2):
            child = await asyncio.create_subprocess_exec(*CHILD, stdout=asyncio.subprocess.PIPE)
            assert await asyncio.wait_for(child.stdout.readline(), 60) == b"1\n"
            await child.wait()

    asyncio.run(main())


@pytest.mark.parametrize(
    "work", [wait_by_looks, wait_by_waitpid, limit_of_trio, limit_around_a_pipe]
)
def test_whoever_waits_for_a_child_holds_time(work, clock):
    with ticking_thread(60):
        work()
    assert clock.elapsed < 60


def test_a_child_that_somebody_looks_at_holds_time_for_a_while_only():
    patches = TimePatches(VirtualClock(), stuck_after=0.4)
    patches.start()
    service = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        for _ in range(100):
            assert service.poll() is None
            time.sleep(60)
        assert patches.clock.elapsed == 6000
    finally:
        patches.stop()
        service.kill()
        service.wait()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["pass", "thread.start(); thread.join(); os.read(PIPE, 1)"])
def test_a_fork_warns_of_no_thread_of_the_clock(pytester, before):
    pytester.makepyfile(
        f"""
        import os, threading, time, warnings

        PIPE, END = os.pipe()
        os.write(END, b"12")

        def test_it(indexjob_clock):
            thread = threading.Thread(target=time.sleep, args=[5])
            {before}
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                child = os.fork()
                if not child:
                    os._exit(0)
                os.waitpid(child, 0)
            assert warned == []
        """
    )
    # A process of its own, which has no other threads either.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=1)
