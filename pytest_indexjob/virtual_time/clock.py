"""The clock of a test: virtual time that passes only when everybody waits, or by hand."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_indexjob.durations import duration_text

# Loaded early, before anything stands in the place of the real functions.
from pytest_indexjob.virtual_time import originals  # noqa: F401

if TYPE_CHECKING:
    from pytest_indexjob.virtual_time.timeline import Timeline

# 2025-10-31T01:08:33Z, the start of a job that was seen live. Any fixed moment would do: answers
# must not depend on the day a test runs.
START = 1761872913.0


class VirtualClock:
    """Time that passes only by ``sleep`` and ``advance``. All times and durations are seconds.

    ``sleeps`` holds each sleep as it was asked for. The functions in ``on_advance`` are called
    after time has passed, those in ``on_sleep`` whenever somebody sleeps or has waited.
    ``by_hand`` is how much of ``elapsed`` passed by ``advance``. In a test that asks for
    ``indexjob_clock``, ``sleep`` stands on the test's timeline.
    """

    def __init__(self, start: float = START) -> None:
        self.start = start
        self.by_hand = 0.0
        self.sleeps: list[float] = []
        self.slept_at: list[float] = []
        self.on_advance: list[Callable[[], object]] = []
        self.on_sleep: list[Callable[[], object]] = []
        self.timeline: Timeline | None = None
        # The ports of the servers that answer by this clock.
        self.served: set[int] = set()
        self._elapsed = 0.0
        self._real_since: float | None = None
        self._real_sleep: Callable[[float], object] = self.sleep
        self._real_monotonic: Callable[[], float] = self.monotonic
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<VirtualClock {duration_text(self.elapsed)} after its start>"

    @property
    def elapsed(self) -> float:
        """Seconds since this clock began."""
        if self._real_since is not None:
            return self._real_monotonic() - self._real_since
        return self._elapsed

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.elapsed

    def monotonic(self) -> float:
        """Seconds since this clock began."""
        return self.elapsed

    def run_on_real_time(
        self, sleep: Callable[[float], object], monotonic: Callable[[], float]
    ) -> None:
        """Let real time pass from now on by such functions, since the real service answers."""
        self.start = time.time()
        self._real_sleep, self._real_monotonic = sleep, monotonic
        self._real_since = self._real_monotonic()

    def advance(self, seconds: float) -> None:
        """Let time pass by hand: whoever is due in between wakes in order.

        Raises ``ValueError`` for a time that would go backwards, ``TypeError`` for what is no
        number. Skips a test whose clock runs on
        real time.
        """
        if not isinstance(seconds, int | float):
            raise TypeError(f"advance takes a number of seconds, not {seconds!r}")
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"time can only go forwards: advance({seconds!r})")
        if self._real_since is not None:
            pytest.skip(
                "the real service answers this test, so its clock is the real clock, which can't be"
                f" advanced by {duration_text(seconds)}"
            )
        with self._lock:
            self.by_hand += seconds
        if self.timeline is not None:
            self.timeline.advance(seconds)
        else:
            self.move_to(self._elapsed + seconds)

    @contextlib.contextmanager
    def serving(
        self, connection: socket.socket, is_stopping: Callable[[], bool]
    ) -> Iterator[Callable[[float], None]]:
        """Answer a request on the timeline, if a client of this process sent it.

        Yields what lets the delay of the answer pass. The delay is a wait as any other: time moves
        when everybody waits, and the limit of the client may come first. A client in another
        process has a clock of its own, so its delays move this clock by hand.
        """
        timeline = self.timeline
        if timeline is None or not timeline.sockets.is_from_here(connection):
            yield self.advance
            return

        def wait(seconds: float) -> None:
            if seconds:
                # A test that is stuck is told in its own threads.
                with contextlib.suppress(pytest.fail.Exception):
                    timeline.stand(timeline.wait_for(seconds, "answers slowly", is_stopping))

        timeline.join()
        try:
            timeline.sockets.arrived(connection)
            yield wait
        finally:
            timeline.leave()

    def move_to(self, elapsed: float) -> None:
        """Set the moment, unless it has passed, and tell those who listen."""
        with self._lock:
            self._elapsed = max(self._elapsed, elapsed)
        for listener in self.on_advance:
            listener()

    def sleep(self, seconds: float, /) -> None:
        """Let time pass as ``time.sleep`` would, and keep the duration in ``sleeps``."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.keep_sleep(seconds)
        if self._real_since is not None:
            self._real_sleep(seconds)
        elif self.timeline is not None and self.timeline.participates():
            self.timeline.sleep(seconds)
        elif self.timeline is not None:
            self.timeline.advance(seconds)
        else:
            self.move_to(self._elapsed + seconds)
        self.check()

    async def sleep_async(self, seconds: float, /) -> None:
        """Let time pass for the task that awaits it, while others run."""
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:  # another library's loop
            await self._sleep_in_trio(seconds)
            return
        if self._real_since is None and (self.timeline is None or not self.timeline.participates()):
            self.sleep(seconds)
        else:
            # What stands there under the clock keeps the sleep.
            await asyncio.sleep(seconds)

    async def _sleep_in_trio(self, seconds: float) -> None:
        import sys

        trio = sys.modules.get("trio")
        if trio is None or self.timeline is None or not self.timeline.participates():
            self.sleep(seconds)
        else:
            await trio.sleep(seconds)

    def keep_sleep(self, seconds: float) -> None:
        """Keep a sleep in ``sleeps``."""
        self.check()
        with self._lock:
            self.sleeps.append(seconds)
            self.slept_at.append(self.elapsed)

    def keep_wait(self, seconds: float) -> None:
        """Keep a wait whose limit came, as the sleep that it was."""
        with self._lock:
            self.sleeps.append(seconds)
            self.slept_at.append(max(0.0, self.elapsed - seconds))
        self.check()

    def check(self) -> None:
        """Let those who listen look at how much time has passed."""
        for listener in self.on_sleep:
            listener()

    def adopt(self, thread: threading.Thread) -> None:
        """Put a thread that was made before the clock on its timeline.

        Raises ``RuntimeError`` where the test did not ask for ``indexjob_clock``, ``TypeError`` for
        what is no thread.
        """
        if not isinstance(thread, threading.Thread):
            raise TypeError(f"adopt takes a threading.Thread, not {thread!r}")
        if self._real_since is not None:
            return
        if self.timeline is None:
            raise RuntimeError("only a test that asks for indexjob_clock can adopt a thread")
        self.timeline.adopt(thread)
