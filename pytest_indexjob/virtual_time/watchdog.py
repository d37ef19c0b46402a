"""Looks from outside whether a test is stuck, where none of its threads stands that could look."""

from __future__ import annotations

import _thread
import contextlib
import functools
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.sockets import is_in
from pytest_indexjob.virtual_time.spins import looking_frame, place_of
from pytest_indexjob.virtual_time.timeline import Timeline, frames_of_others

_allocate_lock = _thread.allocate_lock
_LONGEST_PAUSE = 0.5
# How long a fork waits for the end of the thread that looks, which takes microseconds.
_TRIES, _TRY = 1000, 0.001
# The system ignores this signal where no handler is set, so that nobody minds one too many.
_SIGNAL = signal.SIGURG
# A loop of a test without threads uses the processor, and nobody stands who could look at it.
_SPINS = getattr(signal, "SIGVTALRM", None)
# In these the main thread waits for a person.
_DEBUGGERS = ("pdb", "cmd", "code")
# Functions in which a main thread may sit for ever, beside those of sockets.
_REAL_WAITS = (
    (os, "read"),
    (multiprocessing.connection.Connection, "_recv"),
    (signal, "pause"),
    # It may spin until another thread of the test has done something.
    (threading.Thread, "start"),
)


class Watchdog:
    """Fails a test whose main thread sits in a real wait in which nobody can move.

    The signal ends the wait, and its handler raises the failure. Only where the system tells what
    a thread does (Linux). The thread that looks begins with the test's first real wait or thread,
    since most tests have none, or once a loop that only looks has used some seconds of the
    processor. It ends before a fork: Python warns where a process with several threads forks.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._stopped: Any = None
        # Where the system shows the thread that looks.
        self._task: Path | None = None
        self._before: Any = None
        self._spins_before: Any = None
        self._main = threading.main_thread()
        # Where the main thread sits.
        self._place: tuple[int, int] | None = None

    def patches(self) -> Iterator[tuple[Any, str, Any]]:
        """What to put in the place of functions that may wait for ever."""
        for owner, name in _REAL_WAITS:
            if hasattr(owner, name):
                yield owner, name, self._looked_at(original(owner, name))
        for name in ("fork", "forkpty"):
            if hasattr(os, name):
                yield os, name, self._forking(original(os, name))

    def _looked_at(self, real: Any) -> Any:
        @functools.wraps(real)
        def wait(*args: Any, **kwargs: Any) -> Any:
            self.start()
            return real(*args, **kwargs)

        return wait

    def _forking(self, real: Any) -> Any:
        @functools.wraps(real)
        def fork() -> Any:
            looks = self._stopped is not None and _thread.get_ident() == self._main.ident
            if looks:
                self._stop_looking()
                self._wait_until_gone()
            result = real()
            is_parent = result != 0 if isinstance(result, int) else result[0] != 0
            if looks and is_parent:
                self.start()
            return result

        return fork

    def _wait_until_gone(self) -> None:
        never = _allocate_lock()
        never.acquire()
        for _ in range(_TRIES):
            if self._task is not None and not self._task.exists():
                return
            never.acquire(True, _TRY)

    def expect_spins(self) -> None:
        """Begin to look once the main thread, which calls, spins; unless the timer is in use."""
        is_main = _thread.get_ident() == self._main.ident
        if not is_main or _SPINS is None or not Path("/proc/self/task").exists():
            return
        if signal.getsignal(_SPINS) == signal.SIG_DFL:
            pause = self._timeline.stuck_after / 4
            self._spins_before = signal.signal(_SPINS, self._spun)
            signal.setitimer(signal.ITIMER_VIRTUAL, pause, pause)

    def _spun(self, number: int, frame: Any) -> None:
        if looking_frame(frame) is not None:
            self.start()

    def _expect_no_spins(self) -> None:
        if _SPINS is not None and signal.getsignal(_SPINS) == self._spun:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                signal.signal(_SPINS, self._spins_before)

    def start(self) -> None:
        """Begin to look after the main thread, which calls, from a thread that no test sees."""
        if self._stopped is not None or _thread.get_ident() != self._main.ident:
            return
        if not Path("/proc/self/task").exists():
            return
        self._before = signal.signal(_SIGNAL, self._tell)
        self._stopped = _allocate_lock()
        self._stopped.acquire()
        self._task = None
        _thread.start_new_thread(self._watch, (self._stopped,))

    def stop(self) -> None:
        """End, and put the signals' handlers back."""
        self._expect_no_spins()
        self._stop_looking()

    def _stop_looking(self) -> None:
        if self._stopped is None:
            return
        self._stopped.release()
        self._stopped = None
        if signal.getsignal(_SIGNAL) == self._tell:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(_SIGNAL, self._before)

    def _watch(self, stopped: Any) -> None:
        self._task = Path(f"/proc/self/task/{_thread.get_native_id()}")
        pause = min(_LONGEST_PAUSE, self._timeline.stuck_after / 4)
        while not stopped.acquire(True, pause):
            frame = frames_of_others().get(self._main.ident or 0)
            place = None if frame is None else place_of(frame)
            is_debugged = any(is_in(frame, module) for module in _DEBUGGERS)
            del frame
            if is_debugged:
                continue
            self._timeline.look()
            is_stuck = self._timeline.failure and place == self._place
            self._place = place
            if is_stuck and self._main.ident not in self._timeline.waits:
                signal.pthread_kill(self._main.ident or 0, _SIGNAL)

    def _tell(self, number: int, frame: Any) -> None:
        if frame is not None and place_of(frame) == self._place:
            self._timeline.raise_failure()
        elif callable(self._before):
            self._before(number, frame)
