"""What the timeline costs: `python benchmarks/timeline.py`."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches

REAL = time.perf_counter
ROUNDS = 3


def taken(work):
    """Real seconds that the work takes on a clock of its own, the best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        patches = TimePatches(VirtualClock())
        began = REAL()
        patches.start()
        try:
            work()
        finally:
            patches.stop()
        rounds.append(REAL() - began)
    return min(rounds)


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


if __name__ == "__main__":
    for work in (threads_that_sleep, tasks_that_sleep, heartbeat, heartbeat_of_a_task):
        print(f"{work.__name__}: {taken(work):.2f} s")
    print(f"a test that asks for the clock and never sleeps: {nothing() * 1000:.2f} ms")
