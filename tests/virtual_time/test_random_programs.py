"""Random programs of sleepers, limits and tickers, in threads and tasks, against a small model."""

from __future__ import annotations

import asyncio
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches

SECONDS = st.integers(1, 40)
# Each step is a plain sleep, or a wait of so many seconds under a limit of so many.
STEPS = st.lists(st.tuples(st.sampled_from(["sleep", "wait"]), SECONDS, SECONDS), max_size=5)
PROGRAMS = st.lists(st.tuples(st.sampled_from(["thread", "task", "timer"]), STEPS), max_size=5)


def model(steps):
    """The moments at which a program is done with its steps: no other has a say in them."""
    now, moments = 0, []
    for kind, seconds, limit in steps:
        now += seconds if kind == "sleep" else min(seconds, limit)
        moments.append(now)
    return moments


class Programs:
    def __init__(self, clock):
        self.clock = clock
        self.seen = []

    def keep(self, name):
        self.seen.append((self.clock.elapsed, name))

    def in_thread(self, name, steps):
        for kind, seconds, limit in steps:
            if kind == "sleep":
                time.sleep(seconds)
            else:
                event = threading.Event()
                timer = threading.Timer(seconds, event.set)
                timer.start()
                event.wait(limit)
                timer.cancel()
            self.keep(name)

    async def in_task(self, name, steps):
        for kind, seconds, limit in steps:
            try:
                async with asyncio.timeout(1000 if kind == "sleep" else limit):
                    await asyncio.sleep(seconds)
            except TimeoutError:
                pass
            self.keep(name)

    async def by_timers(self, name, steps):
        loop = asyncio.get_running_loop()
        for moment in model(steps):
            loop.call_later(moment, self.keep, name)
        if steps:
            await asyncio.sleep(model(steps)[-1] + 1)

    async def in_loop(self, programs):
        async with asyncio.TaskGroup() as group:
            for name, kind, steps in programs:
                run = self.in_task if kind == "task" else self.by_timers
                group.create_task(run(name, steps))

    def run(self, programs):
        named = [(name, *program) for name, program in enumerate(programs)]
        threads = [
            threading.Thread(target=self.in_thread, args=(name, steps))
            for name, kind, steps in named
            if kind == "thread"
        ]
        for thread in threads:
            thread.start()
        asyncio.run(self.in_loop([each for each in named if each[1] != "thread"]))
        for thread in threads:
            thread.join()


@given(PROGRAMS)
def test_moments_and_order_equal_the_models(programs):
    patches = TimePatches(VirtualClock())
    patches.start()
    try:
        ran = Programs(patches.clock)
        ran.run(programs)
    finally:
        patches.stop()
    moments = [moment for moment, _ in ran.seen]
    assert moments == sorted(moments)
    expected = [
        (moment, name) for name, (_, steps) in enumerate(programs) for moment in model(steps)
    ]
    assert sorted(ran.seen) == sorted(expected)
