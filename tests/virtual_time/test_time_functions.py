"""Whoever kept one of ``time``'s functions before the test is on the clock, wherever it is kept."""

from __future__ import annotations

import functools
import sched
import time

import pytest

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches


def by_default(sleep=time.sleep):
    sleep(100)


class OfClass:
    sleep = time.sleep
    monotonic = staticmethod(time.monotonic)


class Cache:
    def __init__(self, timer=time.monotonic):
        self.timer = timer


def enclosed():
    sleep = time.sleep

    def nap():
        sleep(100)

    return nap


SCHEDULER = sched.scheduler()


def by_scheduler():
    SCHEDULER.enter(100, 1, lambda: None)
    SCHEDULER.run()


@pytest.mark.parametrize(
    "nap",
    [
        by_default,
        functools.partial(time.sleep, 100),
        lambda: OfClass.sleep(100),
        lambda: OfClass().sleep(100),
        enclosed(),
        by_scheduler,
        lambda nap={"nap": time.sleep}: nap["nap"](100),
    ],
)
def test_a_sleep_that_was_kept_before_the_test_is_virtual(nap, clock):
    began = time.monotonic()
    nap()
    assert (clock.elapsed, clock.sleeps) == (100, [100])
    assert time.monotonic() - began == 100


READINGS = {
    name: functools.partial(getattr(time, name))
    for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}
CACHE = Cache()


def test_a_reading_that_was_kept_before_the_test_is_virtual(clock):
    before = {name: read() for name, read in READINGS.items()}
    cached = CACHE.timer(), OfClass.monotonic()
    time.sleep(7)
    for name, read in READINGS.items():
        assert read() - before[name] == (7e9 if name.endswith("_ns") else 7)
    assert (CACHE.timer() - cached[0], OfClass.monotonic() - cached[1]) == (7, 7)


def test_what_was_kept_is_real_again_afterwards():
    before = repr(time.sleep), time.sleep.__self__, time.sleep.__name__, time.sleep.__doc__
    for _ in range(100):
        patches = TimePatches(VirtualClock())
        patches.start()
        patches.stop()
    assert (
        repr(time.sleep),
        time.sleep.__self__,
        time.sleep.__name__,
        time.sleep.__doc__,
    ) == before
    real = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert real <= READINGS["monotonic"]() <= time.clock_gettime(time.CLOCK_MONOTONIC)
    with pytest.raises(TypeError):
        time.sleep("2")


def test_a_clock_within_a_clock(clock):
    inner = TimePatches(VirtualClock())
    inner.start()
    by_default()
    inner.stop()
    assert (inner.clock.elapsed, clock.elapsed) == (100, 0)
    by_default()
    assert clock.elapsed == 100


# What reads the time and never waits.

SPINS = """
import asyncio, datetime, time, threading

def test_wall_clock(indexjob_clock):
    end = time.time() + 60
    while time.time() < end:
        pass

def test_datetime(indexjob_clock):
    while datetime.datetime.now() < datetime.datetime(2040, 1, 1):
        pass

def test_sleep_0(indexjob_clock):
    async def main():
        while True:
            await asyncio.sleep(0)
    asyncio.run(main())
"""


def test_a_loop_that_spins_on_the_wall_clock_is_told_as_endless(pytester):
    pytester.makeini("[pytest]\nindexjob_stuck_after = 0.3\n")
    pytester.makepyfile(SPINS)
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*does not stop: it has read the clock*(at *while time.time() < end*"
            "Let the loop sleep*",
            "*does not stop: it has read the clock*(at *while datetime.datetime.now()*",
            "*does not stop: it has read the clock*(at *asyncio.sleep(0)*",
        ]
    )


# Others that move the time.


def test_freezegun_and_time_machine_within_the_clock(pytester):
    pytester.makepyfile(
        """
        import datetime, time
        import freezegun, pytest, time_machine
        year = lambda: datetime.datetime.now().year

        @freezegun.freeze_time("2030-01-01")
        def test_freezegun(indexjob_clock):
            time.sleep(5)
            assert (year(), indexjob_clock.elapsed) == (2030, 5)

        @time_machine.travel("2030-01-01", tick=False)
        def test_time_machine(indexjob_clock):
            time.sleep(5)
            assert (year(), indexjob_clock.elapsed) == (2030, 5)

        def test_of_the_test_itself(indexjob_clock):
            for frozen in freezegun.freeze_time("2030-01-01"), time_machine.travel("2030-01-01"):
                with frozen:
                    time.sleep(5)
                    assert year() == 2030
                assert year() == 2025
            assert indexjob_clock.elapsed == 10

        @pytest.fixture
        def frozen():
            with freezegun.freeze_time("2030-01-01"):
                yield

        def test_refused(frozen, indexjob_clock):
            pass

        @pytest.fixture
        def travelled():
            with time_machine.travel("2030-01-01", tick=False):
                yield

        def test_the_clock_lies_over_a_travel_from_before(travelled, indexjob_clock):
            time.sleep(5)
            assert (year(), indexjob_clock.elapsed) == (2025, 5)

        def test_afterwards():
            assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 60
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(
        ["*freezegun is active*: freeze inside the test, after the clock has begun*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
