"""Virtual time: a clock that moves only when it is told to, or slept on, and its place in the code under test."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from pytest_indexjob.replacements import Replacements, behind, original

# 2025-10-31T01:08:33Z, the start of a job that was seen live. Any fixed moment would do: answers
# must not depend on the day a test runs.
START = 1761872913.0


class VirtualClock:
    """Time that passes only by ``sleep`` and ``advance``. All times and durations are seconds.

    ``sleeps`` holds each sleep as it was asked for. The functions in ``on_advance`` are called
    after time has passed, those in ``on_sleep`` before a sleep, by whoever sleeps.
    """

    def __init__(self, start: float = START) -> None:
        self.start = start
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self.slept_at: list[float] = []
        self.on_advance: list[Callable[[], object]] = []
        self.on_sleep: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<VirtualClock {self.elapsed:g} s after its start>"

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.elapsed

    def monotonic(self) -> float:
        """Seconds since this clock began."""
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ``ValueError`` for a time that would go backwards."""
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"time can only go forwards: advance({seconds!r})")
        with self._lock:
            self.elapsed += seconds
        for listener in self.on_advance:
            listener()

    def advance_to(self, elapsed: float) -> None:
        """Let time pass until a moment, unless it has passed."""
        with self._lock:
            self.elapsed = max(self.elapsed, elapsed)
        for listener in self.on_advance:
            listener()

    def sleep(self, seconds: float, /) -> None:
        """Let time pass as ``time.sleep`` would, in no time, and keep the duration in ``sleeps``."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.keep_sleep(seconds)
        self.advance(seconds)

    async def sleep_async(self, seconds: float, /) -> None:
        """Let time pass for a task."""
        self.sleep(seconds)

    def keep_sleep(self, seconds: float) -> None:
        """Keep a sleep in ``sleeps``."""
        for listener in self.on_sleep:
            listener()
        with self._lock:
            self.sleeps.append(seconds)
            self.slept_at.append(self.elapsed)


# Modules that measure or wait on behalf of the test run itself: they keep real time.
_KEEP_REAL = (
    "_pytest",
    "pytest_timeout",
    "xdist",
    "execnet",
    "hypothesis",
    "pluggy",
    "coverage",
    "_pydev",
    "pydevd",
)
# How long a wait with a time-out lets other threads of the test work, in real seconds, before time
# passes for it.
_LONGEST_REAL_WAIT = 1.0
_SLICE = 0.002
_PLACES = [
    *(
        (time, name)
        for name in ("sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
    ),
    (asyncio, "sleep"),
]
_NAMES = frozenset(name for _, name in _PLACES)
# The module and the name that the real ones give for themselves: another's patch may stand in their
# places.
_REAL = [("asyncio.tasks" if owner is asyncio else "time", name) for owner, name in _PLACES]


class TimePatches:
    """Puts a virtual clock in the place of the real one for the code under test.

    For the thread that starts it and for those made afterwards: ``time.sleep``, ``monotonic``,
    ``perf_counter`` (and their ``_ns``), ``asyncio.sleep``, and waits with a time-out on
    ``threading.Condition`` (hence ``Event``, ``queue``, futures), also where a module had imported
    the function by name. For all threads, by time-machine: the wall clock (``time.time``,
    ``datetime.now``). Time-outs of asyncio (``asyncio.timeout``, ``wait_for``, ``call_later``) pass
    with virtual time as well as with real time. Sleeps of several threads add up; those of
    asyncio's tasks overlap. Not covered: ``Lock.acquire`` and ``Thread.join`` with a time-out,
    ``select``, sockets' time-outs, trio.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._strangers: frozenset[int] = frozenset()
        self._replacements = Replacements()
        self._active = False
        self._wall: Any = None
        self._sleepers = _Sleepers(clock)

    def start(self) -> None:
        """Put it in place."""
        import time_machine

        self._strangers = frozenset(sys._current_frames()) - {threading.get_ident()}
        try:
            for owner, name, replacement in self._patches():
                self._replacements.put(owner, name, replacement)
            travel = time_machine.travel(self.clock.time(), tick=False)
            self._wall = travel, travel.start()
            self.clock.on_advance.append(self._move_wall)
            self._active = True
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Take it away: everything is as it was before ``start``."""
        self._active = False
        if self._wall:
            self.clock.on_advance.remove(self._move_wall)
            self._wall[0].stop()
            self._wall = None
        self._replacements.put_back()

    def _move_wall(self) -> None:
        self._wall[1].move_to(self.clock.time(), tick=False)

    def _patches(self) -> list[tuple[Any, str, Any]]:
        sleep, monotonic, monotonic_ns, counter, counter_ns, asyncio_sleep = originals = [
            original(owner, name) for owner, name in _PLACES
        ]
        condition_wait = original(threading.Condition, "wait")
        clock = self.clock
        # From where the real clocks stand, so that a moment kept from before the test stays one of
        # the past.
        began, counted = monotonic() - clock.elapsed, counter() - clock.elapsed
        virtual = [
            self._for_test(sleep, self._sleep),
            self._for_test(monotonic, lambda: began + clock.elapsed),
            self._for_test(monotonic_ns, lambda: round((began + clock.elapsed) * 1e9)),
            self._for_test(counter, lambda: counted + clock.elapsed),
            self._for_test(counter_ns, lambda: round((counted + clock.elapsed) * 1e9)),
            self._for_test(asyncio_sleep, self._sleepers.sleep),
        ]
        for (_, name), function in zip(_PLACES, virtual, strict=True):
            function.__name__ = (
                name  # by which it is found in a module that imports it while it stands
            )

        def loop_time(_loop: asyncio.AbstractEventLoop) -> float:
            # Virtual time on top of real time: what waits on real sockets still waits, time-outs
            # see both.
            virtual = self._active and threading.get_ident() not in self._strangers
            return float(monotonic()) + (clock.elapsed if virtual else 0.0)

        def wait(condition: threading.Condition, timeout: float | None = None) -> bool:
            if timeout is None or timeout <= 0 or self._is_real():
                return bool(condition_wait(condition, timeout))
            return self._wait(lambda real: condition_wait(condition, real), timeout)

        found = [_identity(value) for value in originals]
        functions = dict(zip([*_REAL, *found], virtual * 2, strict=True))
        return [
            *((module, name, functions[real]) for module, name, real in _references(functions)),
            (asyncio.base_events.BaseEventLoop, "time", loop_time),
            (threading.Condition, "wait", wait),
        ]

    def _for_test(
        self, real: Callable[..., Any], virtual: Callable[..., Any]
    ) -> Callable[..., Any]:
        def choose(*args: Any, **kwargs: Any) -> Any:
            return (real if self._is_real() else virtual)(*args, **kwargs)

        return choose

    def _is_real(self) -> bool:
        return not self._active or threading.get_ident() in self._strangers or _by_the_run()

    def _sleep(self, seconds: float, /) -> None:
        self.clock.sleep(float(seconds))

    def _wait(self, wait: Callable[[float], bool], timeout: float) -> bool:
        """A wait with a time-out: others get to work, then time passes."""
        deadline = self.clock.elapsed + timeout
        patience = min(_LONGEST_REAL_WAIT, timeout) if self._has_company() else 0.0
        while patience > 0 and self.clock.elapsed < deadline:
            if wait(_SLICE):
                return True
            patience -= _SLICE
        if wait(0):
            return True
        if self.clock.elapsed < deadline:
            self.clock.keep_sleep(deadline - self.clock.elapsed)
            self.clock.advance_to(deadline)
        return False

    def _has_company(self) -> bool:
        return len(frozenset(sys._current_frames()) - self._strangers) > 1


def _by_the_run() -> bool:
    """Whether it is the test run itself that asks for the time (through one of the functions above)."""
    name = sys._getframe(3).f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] in _KEEP_REAL


_seen: dict[str, tuple[int, tuple[str, ...]]] = {}


def _references(functions: dict[Any, Any]) -> list[tuple[Any, str, Any]]:
    """Every module's name for one of these functions.

    A module is looked through again only when it has grown.
    """
    found = []
    for module_name, module in [*sys.modules.items()]:
        names = getattr(module, "__dict__", None)
        if (
            not isinstance(names, dict)
            or module_name.partition(".")[0] in _KEEP_REAL
            or module_name == __name__
        ):
            continue
        known = _seen.get(module_name)
        if known is None or known[0] != len(names):
            candidates = tuple(
                name for name, value in [*names.items()] if name in _NAMES or _is_named(value)
            )
            _seen[module_name] = known = (len(names), candidates)
        found += [
            (module, name, real)
            for name in known[1]
            if (real := _identity(names.get(name))) in functions
        ]
    return found


def _is_named(value: Any) -> bool:
    # Only of functions, since anything may stand in a module, and may do anything when it is asked
    # for its name.
    return type(value) in (BuiltinFunctionType, FunctionType) and value.__name__ in _NAMES


def _identity(value: Any) -> Any:
    value = behind(value)
    real = (value.__module__, value.__name__) if _is_named(value) else ()
    return real if real in _REAL else id(value)


class _Sleepers:
    """The tasks that sleep, by the moment at which they wake: time passes when no other task has work to do."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._heaps: dict[
            asyncio.AbstractEventLoop, list[tuple[float, int, asyncio.Future[None]]]
        ] = {}

    async def sleep(self, delay: float, result: Any = None) -> Any:
        if delay <= 0:
            return await _REAL_SLEEP(0, result)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._clock.keep_sleep(delay)
        if loop not in self._heaps:
            self._heaps[loop] = []
            loop.call_soon(self._tick, loop, 0)
        heapq.heappush(
            self._heaps[loop], (self._clock.elapsed + delay, next(self._numbers), future)
        )
        await future
        return result

    def _tick(self, loop: asyncio.AbstractEventLoop, quiet: int) -> None:
        """Wake the next sleeper once the loop had nothing else to do in two rounds."""
        heap = self._heaps[loop]
        while heap and heap[0][2].done():
            heapq.heappop(heap)
        if not heap:
            del self._heaps[loop]
            return
        # Not there in loops of other makes, which then go by rounds alone.
        quiet = 0 if getattr(loop, "_ready", ()) else quiet + 1
        if quiet > 1:
            at, _, future = heapq.heappop(heap)
            self._clock.advance_to(at)
            future.set_result(None)
            quiet = 0
        loop.call_soon(self._tick, loop, quiet)


_REAL_SLEEP = asyncio.tasks.sleep
