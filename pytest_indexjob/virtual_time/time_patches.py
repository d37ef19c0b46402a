"""Puts a virtual clock in the place of the real one for the code under test."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import math
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pytest_indexjob.replacements import Replacements, StandIn, behind, original
from pytest_indexjob.virtual_time import (
    children,
    event_loops,
    files,
    signals,
    threads,
    workers,
)
from pytest_indexjob.virtual_time.clock import VirtualClock
from pytest_indexjob.virtual_time.originals import TIME_FUNCTIONS
from pytest_indexjob.virtual_time.references import NAMES_OF_REAL, PLACES, identity, references
from pytest_indexjob.virtual_time.time_functions import REAL, TimeFunctions
from pytest_indexjob.virtual_time.timeline import STUCK_AFTER, Timeline, is_of_the_run
from pytest_indexjob.virtual_time.watchdog import Watchdog

_FREEZEGUN = (
    "indexjob_clock can't start while freezegun is active: freeze inside the test, after the clock"
    " has begun, or let the ini key indexjob_clock_start choose the moment"
)
_active: weakref.WeakSet[TimePatches] = weakref.WeakSet()


class TimePatches:
    """A virtual clock for the thread that starts it and for those made afterwards.

    All their waits with a limit stand on one timeline: sleeps, ``threading``, ``queue``, futures,
    asyncio's loops, trio's. The wall clock (``time.time``, ``datetime.now``) is virtual for all
    threads, by time-machine. With ``real`` nothing is virtual and sleeps are only kept.
    ``hint(text)`` is called when the first limit came that a thread on real time may explain.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        stuck_after: float = STUCK_AFTER,
        real: bool = False,
        hint: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.clock = clock
        self.timeline = Timeline(clock.elapsed, clock.move_to, stuck_after=stuck_after)
        self._watchdog = Watchdog(self.timeline)
        self.timeline.sockets.on_real_wait = self._watchdog.start
        self.timeline.sockets.served = clock.served
        self._real = real
        self._hint: Callable[[str], object] | None = hint
        self._replacements = Replacements()
        self._time_functions = TimeFunctions()
        self._locks: contextlib.ExitStack = contextlib.ExitStack()
        self._travel: Any = None

    def start(self) -> None:
        """Put it in place."""
        import time_machine

        try:
            if self._real:
                self.clock.run_on_real_time(REAL["sleep"], REAL["monotonic"])
                functions: dict[str, Any] = {"sleep": self._recorded_sleep}
                patches = self._recording_patches()
            else:
                functions = self._functions()
                patches = self._patches()
            for name, function in functions.items():
                self._time_functions.put(name, function)
                if original(time, name) is not TIME_FUNCTIONS[name]:
                    self._replacements.put(time, name, function)
            for owner, name, replacement in patches:
                self._replacements.put(owner, name, replacement)
            if self._real:
                return
            self._start_ns = round(self.clock.start * 1e9)
            if dt.datetime.__module__.startswith("freezegun"):
                # time-machine refuses it too, from 3.2 on.
                pytest.fail(_FREEZEGUN, pytrace=False)
            travel = time_machine.travel(self.clock.time(), tick=False)
            wall: Any = travel.start()
            self._travel = travel
            # Asked whenever somebody reads the wall clock, so that nobody has to tell of each move.
            wall.time_ns = self._wall_time_ns
            self.clock.timeline = self.timeline
            self._locks.enter_context(threads.TestLocks(self.timeline))
            self.timeline.start()
            self._watchdog.expect_spins()
            _active.add(self)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Take it away: everything is as it was before ``start``."""
        _active.discard(self)
        self._watchdog.stop()
        self.clock.timeline = None
        self._locks.close()
        if self._travel:
            self._travel.stop()
            self._travel = None
        self._replacements.put_back()
        self._time_functions.put_back()
        self.timeline.stop()

    def _wall_time_ns(self) -> int:
        # A float of a moment since the epoch is too coarse for nanoseconds.
        return self._start_ns + round(self.timeline.read() * 1e9)

    def _functions(self) -> dict[str, Callable[..., Any]]:
        timeline = self.timeline
        read = timeline.read
        # From where the real clocks stand, so that a moment kept from before the test stays one of
        # the past; whole seconds, so that sums of floats stay exact.
        began = self._began = math.ceil(REAL["monotonic"]()) - timeline.now
        counted = math.ceil(REAL["perf_counter"]()) - timeline.now
        virtual: dict[str, Callable[..., Any]] = {
            "sleep": self._sleep,
            "monotonic": lambda: began + read(),
            "monotonic_ns": lambda: round((began + read()) * 1e9),
            "perf_counter": lambda: counted + read(),
            "perf_counter_ns": lambda: round((counted + read()) * 1e9),
        }
        return {name: self._for_test(REAL[name], function) for name, function in virtual.items()}

    def _patches(self) -> list[tuple[Any, str, Any]]:
        originals = {name: original(owner, name) for owner, name in PLACES}
        timeline, began, monotonic = self.timeline, self._began, REAL["monotonic"]
        moved = self.clock.check
        of_system: dict[str, Any] = {
            "select": functools.partial(files.virtual_select, moved=moved),
            "poll": functools.partial(files.virtual_poll, moved=moved),
            "sigtimedwait": signals.virtual_sigtimedwait,
            "sigwait": signals.virtual_sigwait,
            "sigwaitinfo": signals.virtual_sigwaitinfo,
        }
        virtual: dict[str, Any] = {
            "Lock": threads.VirtualLock,
            "RLock": threads.VirtualRLock,
            **signals.Alarm(timeline).patches(originals),
            **{
                name: make(timeline, originals[name])
                for name, make in of_system.items()
                if name in originals
            },
        }
        stand_in_for: dict[str, Any] = {
            name: self._for_test(originals[name], function) for name, function in virtual.items()
        }
        stand_in_for["sleep"] = event_loops.virtual_sleep(
            timeline, originals["sleep"], self._keep_sleep
        )
        stand_in_for["SimpleQueue"] = self._class_for_test(
            originals["SimpleQueue"], threads.VirtualSimpleQueue
        )
        if "epoll" in originals:
            stand_in_for["epoll"] = self._epoll(originals["epoll"])
        stand_ins = []
        for owner, name in PLACES:
            stand_in = stand_in_for[name]
            # By these it is found in a module that imports it while it stands, and pickled.
            stand_in.__name__ = stand_in.__qualname__ = name
            stand_in.__module__ = owner.__name__
            stand_ins.append(stand_in)

        def loop_time(_loop: asyncio.AbstractEventLoop) -> float:
            if not timeline.participates():
                return float(monotonic())
            by_loop = sys._getframe(1).f_globals.get("__name__", "").startswith("asyncio.")
            return float(began + (timeline.now if by_loop else timeline.read()))

        found = [identity(value) for value in originals.values()]
        functions = dict(zip([*NAMES_OF_REAL, *found], stand_ins * 2, strict=True))
        return [
            *((module, name, functions[real]) for module, name, real in references(functions)),
            (asyncio.base_events.BaseEventLoop, "time", loop_time),
            *threads.patches(timeline, self._time_out),
            *event_loops.patches(timeline, moved, self.clock.keep_sleep),
            *children.patches(timeline),
            *workers.patches(timeline),
            *signals.patches(timeline),
            *self._watchdog.patches(),
        ]

    def _recording_patches(self) -> list[tuple[Any, str, Any]]:
        real_asyncio_sleep = original(asyncio, "sleep")

        async def asyncio_sleep(delay: float, result: Any = None) -> Any:
            if delay > 0:
                self.clock.keep_sleep(delay)
            return await real_asyncio_sleep(delay, result)

        asyncio_sleep.__name__ = "sleep"
        keys = [NAMES_OF_REAL[0], identity(real_asyncio_sleep)]
        functions: dict[Any, Any] = dict.fromkeys(keys, asyncio_sleep)
        return [(module, name, functions[real]) for module, name, real in references(functions)]

    def _for_test(
        self, real: Callable[..., Any], virtual: Callable[..., Any], depth: int = 2
    ) -> Callable[..., Any]:
        """What calls ``virtual`` for the test, whose code is so many frames away, else ``real``."""
        participates = self.timeline.participates

        def choose(*args: Any, **kwargs: Any) -> Any:
            chosen = virtual if participates() and not _by_the_run(depth) else real
            return chosen(*args, **kwargs)

        return choose

    def _class_for_test(
        self, real: Any, virtual: Any, make: Callable[..., Any] | None = None, **names: Any
    ) -> StandIn:
        """A class that stands for ``real``: ``make`` makes its objects for the test."""
        made = self._for_test(real, virtual if make is None else make, depth=3)
        return StandIn(
            real.__name__,
            (virtual,),
            {"_make": staticmethod(made), "_kinds": (behind(real), virtual), **names},
        )

    def _epoll(self, real: Any) -> StandIn:
        """A class that stands for ``select.epoll``."""

        def on_timeline(made_by: Callable[..., Any]) -> Callable[..., Any]:
            def make(*args: Any, **kwargs: Any) -> Any:
                return files.VirtualEpoll(self.timeline, made_by(*args, **kwargs), self.clock.check)

            return make

        fromfd = self._for_test(real.fromfd, on_timeline(real.fromfd))
        return self._class_for_test(
            real,
            files.VirtualEpoll,
            on_timeline(real),
            fromfd=staticmethod(fromfd),
            close=lambda polled: polled._real.close(),
            closed=property(lambda polled: polled._real.closed),
        )

    def _recorded_sleep(self, seconds: Any, /) -> None:
        if not _by_the_run(2):
            self.clock.keep_sleep(threads.checked_sleep(seconds))
        REAL["sleep"](seconds)

    def _sleep(self, seconds: Any, /) -> None:
        length = threads.checked_sleep(seconds)
        if length:
            self.clock.sleep(length)
        else:
            self.timeline.read()

    def _time_out(self, seconds: float) -> None:
        """Keep a wait whose limit came. A thread on real time may be the reason: tell it once."""
        self.clock.keep_wait(seconds)
        if self._hint is not None and (text := self.timeline.hint_at_strangers(seconds)):
            self._hint(text)
            self._hint = None

    def _keep_sleep(self, seconds: float) -> None:
        if self.timeline.participates():
            self.clock.keep_sleep(seconds)


def _by_the_run(depth: int) -> bool:
    """Whether it is the test run itself that calls."""
    return is_of_the_run(sys._getframe(depth).f_globals.get("__name__"))


def _leave_to_child() -> None:
    # A forked child process has none of the test's other threads, and lives in real time.
    for patches in [*_active]:
        patches.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_child)
