"""Signals that time sends: the alarm of the process on the timeline, waits for a signal."""

from __future__ import annotations

import _thread
import contextlib
import functools
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytest_indexjob.replacements import behind, original
from pytest_indexjob.virtual_time.timeline import BY_EVENT, Timeline, Wait


class _Ring(Wait):
    """A moment at which the alarm goes off. No thread stands at it."""

    __slots__ = ("_alarm",)

    def __init__(self, timeline: Timeline, until: float, alarm: Alarm) -> None:
        super().__init__(timeline, until, "the alarm of signal.setitimer")
        self._alarm = alarm

    def open(self) -> None:
        """Go off."""
        self._alarm.go_off(self)


class Alarm:
    """The timer ``ITIMER_REAL`` of the process, by which ``SIGALRM`` is sent at its moment."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._ring: _Ring | None = None
        self._interval = 0.0

    def patches(self, originals: dict[str, Any]) -> dict[str, Any]:
        """What stands for the functions of ``signal``."""
        real_set: Callable[..., tuple[float, float]] = originals["setitimer"]
        real_get: Callable[[int], tuple[float, float]] = originals["getitimer"]

        def set_timer(which: int, seconds: Any, interval: Any = 0.0, /) -> tuple[float, float]:
            wrong = not all(
                isinstance(each, (int, float)) and 0 <= each < math.inf
                for each in (seconds, interval)
            )
            if which != signal.ITIMER_REAL or wrong:
                return real_set(which, seconds, interval)
            return self._set(float(seconds), float(interval))

        def get_timer(which: int, /) -> tuple[float, float]:
            return self._left() if which == signal.ITIMER_REAL else real_get(which)

        def alarm(seconds: int, /) -> int:
            if not isinstance(seconds, int):
                raise TypeError(f"{type(seconds).__name__!r} object can't be read as an integer")
            return math.ceil(self._set(float(max(seconds, 0)), 0.0)[0])

        return {"setitimer": set_timer, "getitimer": get_timer, "alarm": alarm}

    def _left(self) -> tuple[float, float]:
        if self._ring is None or self._ring.until is None:
            return 0.0, 0.0
        return max(self._ring.until - self._timeline.now, 1e-6), self._interval

    def _set(self, seconds: float, interval: float) -> tuple[float, float]:
        with self._timeline.lock:
            before = self._left()
            if self._ring is not None:
                self._ring.ended_by = BY_EVENT
            self._interval = interval
            self._ring = self._next(seconds) if seconds else None
        return before

    def _next(self, seconds: float) -> _Ring:
        ring = _Ring(self._timeline, self._timeline.moment_in(seconds), self)
        self._timeline.schedule(ring)
        return ring

    def go_off(self, ring: _Ring) -> None:
        """Send the signal to the main thread, whose handler runs before time moves on."""
        if ring is not self._ring or not self._timeline.active:
            return
        self._ring = self._next(self._interval) if self._interval else None
        is_default = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if is_default and not _is_blocked(signal.SIGALRM):
            self._timeline.fail(
                f"SIGALRM was sent at {self._timeline.now:g} s of the test's clock, and no handler"
                " is set, so it would end the process: set one by signal.signal before the alarm"
            )
            return
        ident = threading.main_thread().ident
        if ident is not None:
            signal.pthread_kill(ident, signal.SIGALRM)
            self._timeline.interrupt(ident)


def patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of functions that send this process a signal.

    Its handler runs in the main thread, so that one works until it has run, wherever it stands.
    """
    for owner, name in (
        (os, "kill"),
        (signal, "raise_signal"),
        (signal, "pthread_kill"),
        (_thread, "interrupt_main"),
    ):
        if hasattr(owner, name):
            yield owner, name, _sending(timeline, original(owner, name), to_process=owner is os)


def _sending(timeline: Timeline, real: Any, *, to_process: bool) -> Any:
    @functools.wraps(real)
    def send(*args: Any) -> None:
        real(*args)
        main = threading.main_thread().ident
        is_ours = not to_process or args[0] == os.getpid()
        if is_ours and main is not None and timeline.participates():
            timeline.interrupt(main)

    return send


def virtual_sigtimedwait(timeline: Timeline, real: Any) -> Any:
    """``signal.sigtimedwait`` whose time-out is on the timeline."""

    @functools.wraps(real)
    def wait(signals: Any, timeout: Any, /) -> Any:
        signals = [*signals]
        # The real one also complains of what is no time-out.
        if not isinstance(timeout, (int, float)) or timeout <= 0:
            return real(signals, timeout)
        return _wait_for(timeline, real, signals, timeline.moment_in(timeout))

    return wait


def virtual_sigwaitinfo(timeline: Timeline, real: Any) -> Any:
    """``signal.sigwaitinfo``, which waits on the timeline for ever."""
    take: Any = getattr(signal, "sigtimedwait", None)
    take = take and behind(original(signal, "sigtimedwait"))

    @functools.wraps(real)
    def wait(signals: Any, /) -> Any:
        signals = [*signals]
        return real(signals) if take is None else _wait_for(timeline, take, signals, None)

    return wait


def virtual_sigwait(timeline: Timeline, real: Any) -> Any:
    """``signal.sigwait``, which waits on the timeline for ever."""
    wait_for_info = virtual_sigwaitinfo(timeline, lambda signals: None)

    @functools.wraps(real)
    def wait(signals: Any, /) -> Any:
        signals = [*signals]
        info = wait_for_info(signals)
        return real(signals) if info is None else signal.Signals(info.si_signo)

    return wait


def _wait_for(timeline: Timeline, take: Any, signals: list[int], until: float | None) -> Any:
    """Take one of the signals once it is there; ``None`` if the moment comes before."""
    thread = threading.current_thread()
    found = take(signals, 0)
    while found is None and (until is None or until > timeline.now):
        what = f"waits for a signal of {signals}"
        timeline.stand(Wait(timeline, until, what, lambda: _is_pending(thread, signals)))
        found = take(signals, 0)
    return found


def _is_blocked(number: int) -> bool:
    """Whether the main thread has blocked a signal, as far as the system tells."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/self/task/{threading.main_thread().native_id}/status").read_text()
        blocked = re.search(r"^SigBlk:\s*(\w+)", status, re.MULTILINE)
        return blocked is not None and bool(int(blocked[1], 16) >> (number - 1) & 1)
    return False


def _is_pending(thread: threading.Thread, signals: list[int]) -> bool:
    """Whether one of the signals waits for a thread, which may be another."""
    try:
        text = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    except OSError:
        return not signal.sigpending().isdisjoint(signals)
    masks = [int(mask, 16) for mask in re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)", text, re.MULTILINE)]
    return any(mask >> (number - 1) & 1 for mask in masks for number in signals)
