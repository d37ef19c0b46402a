"""Whoever kept one of ``time``'s functions before the test is on the clock, wherever it is kept."""

from __future__ import annotations

import functools
import sched
import time

import pytest

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches


@pytest.fixture
def clock():
    patches = TimePatches(VirtualClock())
    patches.start()
    yield patches.clock
    patches.stop()


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
