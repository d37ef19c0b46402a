"""One timeline for everybody who waits in a test.

Each thread of the test either works or stands in a wait. Time moves only when all of them stand,
only to the earliest moment at which a wait ends, and wakes one thread at a time.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import functools
import heapq
import itertools
import math
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, MethodType
from typing import Any

import pytest

from pytest_indexjob.durations import duration_text
from pytest_indexjob.virtual_time.idle_workers import is_idle_worker
from pytest_indexjob.virtual_time.sockets import Sockets, is_in
from pytest_indexjob.virtual_time.spins import looking_frame, place_of
from pytest_indexjob.virtual_time.time_functions import REAL

# Taken at import, before it is replaced.
_allocate_lock = _thread.allocate_lock
_real_monotonic: Callable[[], float] = REAL["monotonic"]
_real_sleep = REAL["sleep"]

# A thread that sits in a real wait (a socket, a foreign lock) counts as idle after this many real
# seconds without any progress, until it moves again.
PATIENCE = 1.0
# A server's thread that sits in a real wait has nothing to do but to hear from its client.
_SERVERS_PATIENCE = 0.005
# Real seconds after which a test in which nobody can move fails.
STUCK_AFTER = 10.0
# A thread that is due waits this many real seconds at most for the one that woke before it.
_TURN = 0.05
_FIRST_SLICE, _LONGEST_SLICE = 0.0005, 0.005
# How often a wait that nobody polls looks whether somebody does.
_RELIEF = 0.02
# Readings of the clock at one moment after which the real time is looked at.
_READINGS = 4096
BY_TIME, BY_EVENT = "time", "event"
# The run's own modules, which keep real time.
OF_THE_RUN = (
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


def is_of_the_run(module: object) -> bool:
    """Whether a module measures or waits on behalf of the test run itself.

    ``module`` is what stands for its name in a frame or a class, which may be anything.
    """
    return isinstance(module, str) and _is_of_the_run(module)


@functools.lru_cache(maxsize=4096)
def _is_of_the_run(module: str) -> bool:
    return module.partition(".")[0] in OF_THE_RUN


class Wait:
    """One stand of one thread on the timeline.

    It ends at the moment ``until`` (``None``: never by time), or when another thread calls
    ``release``, or when ``ready()`` is true. ``what`` is told of it if the test gets stuck.
    """

    __slots__ = ("_gate", "ended_by", "frame", "number", "ready", "timeline", "until", "what")

    def __init__(
        self,
        timeline: Timeline,
        until: float | None,
        what: str,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        self.timeline = timeline
        self.until = until
        self.what = what
        self.ready = ready
        self.ended_by: str | None = None
        self.number = next(timeline.numbers)
        self.frame: Any = None
        self._gate: Any = None

    def release(self) -> None:
        """End the wait, as a lock's ``release`` does. Raises ``RuntimeError`` if it has ended."""
        if not self.timeline.end(self, BY_EVENT):
            raise RuntimeError("release unlocked lock")

    def close(self) -> None:
        """Make the gate at which the thread stands."""
        self._gate = _allocate_lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let the thread look whether its wait has ended."""
        if self._gate is not None:
            with contextlib.suppress(RuntimeError):
                self._gate.release()

    def block(self, seconds: float) -> None:
        """Stand at the gate for some real seconds."""
        self._gate.acquire(True, seconds)

    def holds(self) -> bool:
        """Whether the wait is for real work that was seen to go on."""
        return False


class Handed:
    """Work of the test that an idle thread from before the clock was given."""


class Timeline:
    """The moment of one test, its threads, and their waits.

    ``on_move(moment)`` is called whenever time moves; ``strangers`` are threads that keep real
    time. Moments are seconds since the test's clock began, rounded to nanoseconds, so that
    float sums of equal sleeps are equal.
    """

    def __init__(
        self, now: float, on_move: Callable[[float], object], *, stuck_after: float = STUCK_AFTER
    ) -> None:
        self.now = now
        self.active = False
        self.failure = ""
        self.stuck_after = stuck_after
        # Reentrant, since the garbage collector may end a wait in the midst of anything.
        self.lock = _thread.RLock()
        self.numbers = itertools.count()
        self.strangers: set[threading.Thread] = set()
        self.waits: dict[int, Wait] = {}
        self._on_move = on_move
        self._heap: list[tuple[float, int, Wait]] = []
        self._watcher: Wait | None = None
        self._still: dict[int, tuple[Any, float]] = {}
        self._children: dict[int, str] = {}
        # The children that somebody looks at, the real moments until which each holds time, and
        # what tells whether it lives.
        self._glances: dict[int, tuple[float, Callable[[], bool]]] = {}
        self._strange: dict[threading.Thread, bool] = {}
        # The threads that are known to be on the timeline, by their idents.
        self._participants: set[int] = set()
        self._on_real_time: dict[int, int] = {}
        # The strangers that do work of the test, by their idents.
        self._guests: set[int] = set()
        # Work that strangers were given and have not taken up, and the real moments of that.
        self._handed: weakref.WeakKeyDictionary[Handed, float] = weakref.WeakKeyDictionary()
        self._moved_at = self._progressed_at = _real_monotonic()
        self._readings = 0
        self._nudge = 0.0
        # It holds time, but must not fail the test.
        self.sockets = Sockets(stuck_after / 2, min(PATIENCE, stuck_after / 2))
        self._progress: tuple[Any, float] = (None, self._moved_at)

    def start(self) -> None:
        """Begin: the calling thread and those made from now on are the test's."""
        mine = threading.current_thread()
        self.strangers = {thread for thread in threading.enumerate() if thread is not mine}
        self._moved_at = self._progressed_at = _real_monotonic()
        self.active = True

    def stop(self) -> None:
        """End: whoever still stands goes on in real time."""
        self.active = False
        for wait in [*self.waits.values()]:
            wait.open()

    def adopt(self, thread: threading.Thread) -> None:
        """Put a thread from before the test on the timeline."""
        with self.lock:
            self.strangers.discard(thread)
            self._strange.pop(thread, None)

    def participates(self) -> bool:
        """Whether the calling thread is on the timeline."""
        if not self.active:
            return False
        ident = _thread.get_ident()
        return ident in self._participants or self._begins_to_participate(ident)

    def _begins_to_participate(self, ident: int) -> bool:
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        if thread is None or (self._on_real_time and self._on_real_time.get(ident)):
            return False
        if self._is_strange(thread):
            return False
        # The end of a thread that is not Python's own is not seen, and its ident is given anew.
        if not isinstance(thread, threading._DummyThread):
            self._participants.add(ident)
        return True

    def _is_strange(self, thread: threading.Thread) -> bool:
        """Whether a thread keeps real time: it was there before, or is the run's or a server's."""
        if thread.ident in self._guests:
            return False
        known = self._strange.get(thread)
        if known is None:
            known = self._strange[thread] = thread in self.strangers or _is_the_runs(thread)
        return known

    # Strangers that do work of the test.

    def hand_over(self, are_meant: Callable[[threading.Thread], bool]) -> Handed | None:
        """Hold time until one of the strangers takes up the test's work, for ``PATIENCE`` at most.

        ``are_meant(thread)`` tells which may take it up. Returns what stands for the work, or
        ``None`` if there is no such stranger.
        """
        with self.lock:
            meant = [thread for thread in self.strangers if are_meant(thread)]
            if not meant:
                return None
            is_idle = any(thread.ident not in self._guests for thread in meant)
            handed = Handed()
            self._handed[handed] = _real_monotonic() if is_idle else -math.inf
            return handed

    def take_up(self, handed: Handed | None) -> None:
        """Put the calling thread on the timeline, which takes up this work, until ``leave``."""
        if handed is not None:
            with self.lock:
                self.join()
                self._handed.pop(handed, None)

    def join(self) -> None:
        """Put the calling thread on the timeline until ``leave``, unless it is there."""
        with self.lock:
            if self.active and not self.participates():
                self._guests.add(_thread.get_ident())

    def leave(self, ident: int | None = None) -> None:
        """Take a thread off the timeline that took up work; without ``ident`` the calling one."""
        ident = _thread.get_ident() if ident is None else ident
        with self.lock:
            if ident in self._guests:
                self._guests.discard(ident)
                self._participants.discard(ident)
                # It may take up what waits.
                now = _real_monotonic()
                self._handed.update([(handed, now) for handed in [*self._handed]])
                self._end_ready()
                self._try_to_move()

    def _is_handing_over(self) -> bool:
        now = _real_monotonic()
        return any(now - since < PATIENCE for since in [*self._handed.values()])

    def hint_at_strangers(self, seconds: float) -> str:
        """What to look at where a wait's limit came, or ``""`` without threads on real time."""
        names = [thread.name for thread in self._to_be_adopted(frames_of_others())]
        if not names:
            return ""
        return (
            f"hint: a limit of {duration_text(seconds)} came (at {_place(sys._getframe(1))}). These"
            f" threads were made before the clock and are on real time: {', '.join(names)}. If the"
            " wait was for one of them, put it on the timeline: indexjob_clock.adopt(thread)"
        )

    def _to_be_adopted(self, frames: dict[int, FrameType]) -> list[threading.Thread]:
        """The threads on real time that may keep the test waiting, which idle workers do not."""
        return [
            thread
            for ident, thread in _threads()
            if thread in self.strangers
            and ident in frames
            and self._is_strange(thread)
            and not _is_the_runs(thread)
            and not is_idle_worker(frames[ident])
        ]

    # Waits.

    def sleep(self, seconds: float) -> None:
        """Stand for some virtual seconds."""
        self.stand(Wait(self, self.moment_in(seconds), f"sleeps {duration_text(seconds)}"))

    def wait_for(self, seconds: float, what: str, ready: Callable[[], bool]) -> Wait:
        """A wait of some virtual seconds, or until ``ready()`` is true."""
        return Wait(self, self.moment_in(seconds), what, ready)

    def moment_in(self, seconds: float) -> float:
        """The moment so many seconds from now."""
        moment = round(self.now + seconds, 9)
        if self._nudge:
            # What was computed from readings that creep is short by as much.
            whole = round(moment, 6)
            if self.now < whole and abs(whole - moment) <= self._nudge + 1e-9:
                return whole
        return moment

    def schedule(self, wait: Wait) -> None:
        """Let a wait end at its moment at which no thread stands."""
        with self.lock:
            if wait.until is not None:
                heapq.heappush(self._heap, (wait.until, wait.number, wait))

    def interrupt(self, ident: int) -> None:
        """Let a thread that stands work for a moment, since a signal is on its way to it."""
        with self.lock:
            wait = self.waits.pop(ident, None)
            if wait is not None:
                wait.open()

    def stand(self, wait: Wait) -> bool:
        """Stand until the wait ends. Returns false if its moment came.

        Raises the failure of a test in which nobody can move.
        """
        ident = _thread.get_ident()
        before = self.waits.get(ident)
        with self.lock:
            self.raise_failure()
            if wait.ended_by is None:
                wait.frame = sys._getframe(1)
                self.waits[ident] = wait
                self.schedule(wait)
                self._try_to_move()
                if wait.ended_by is None:
                    wait.close()
        try:
            self._block(wait)
        finally:
            wait.frame = None
            with self.lock:
                if self._watcher is wait:
                    self._watcher = None
                if wait.ended_by is None:
                    wait.ended_by = BY_EVENT
                if before is not None:
                    self.waits[ident] = before
                elif self.waits.get(ident) is wait:
                    del self.waits[ident]
        self.raise_failure()
        return wait.ended_by == BY_EVENT

    def end(self, wait: Wait, by: str) -> bool:
        """End a wait, unless it has ended: from now on its thread works."""
        with self.lock:
            if wait.ended_by is not None:
                return False
            wait.ended_by = by
            for ident, standing in self.waits.copy().items():
                if standing is wait:
                    del self.waits[ident]
            wait.open()
            return True

    def advance(self, seconds: float) -> None:
        """Move on by hand through the moments in between, whoever works."""
        target = self.moment_in(seconds)
        while True:
            with self.lock:
                due = self._earliest()
                if due is None or due.until is None or due.until > target:
                    self._move_to(target)
                    break
                self._move_to(due.until)
                stands = [ident for ident, wait in self.waits.items() if wait is due]
                self.end(due, BY_TIME)
            for ident in stands:
                self._let_settle(ident)
        with self.lock:
            self._try_to_move()

    def _let_settle(self, ident: int) -> None:
        patience = _real_monotonic() + PATIENCE
        while ident in threading._active and ident not in self.waits:  # type: ignore[attr-defined]
            if _real_monotonic() > patience:
                return
            _real_sleep(_FIRST_SLICE / 5)

    def thread_ended(self) -> None:
        """Look again who is left, since the calling thread, of the test, is gone."""
        with self.lock:
            self._participants.discard(_thread.get_ident())
            self._end_ready()
            self._try_to_move()

    @contextlib.contextmanager
    def child(self, pid: int, what: str) -> Iterator[None]:
        """Hold time still while somebody waits for a child process."""
        with self.lock:
            number = next(self.numbers)
            self._children[number] = f"{what} (process {pid})"
            self._moved_at = self._progressed_at = _real_monotonic()
        try:
            yield
        finally:
            with self.lock:
                del self._children[number]

    def glance(self, pid: int, lives: Callable[[], bool]) -> None:
        """Somebody saw that a child lives: for a while it holds time as if somebody waited."""
        with self.lock:
            self._glances.setdefault(pid, (_real_monotonic() + self.stuck_after / 2, lives))

    def _is_glanced_at(self) -> bool:
        now = _real_monotonic()
        return any(now < until and lives() for until, lives in [*self._glances.values()])

    @contextlib.contextmanager
    def real_time(self, pid: int, what: str) -> Iterator[None]:
        """Let the calling thread wait for a child process, in real time as the child lives."""
        ident = _thread.get_ident()
        with self.child(pid, what):
            self._on_real_time[ident] = self._on_real_time.get(ident, 0) + 1
            self._participants.discard(ident)
            try:
                yield
            finally:
                self._on_real_time[ident] -= 1

    def read(self) -> float:
        """The moment now. Fails a loop that reads the clock for ever and never waits."""
        self._readings += 1
        if self._readings % _READINGS == 0:
            self._check_spin()
        return self.now + self._nudge

    def creep(self) -> None:
        """Let the clock's readings grow by a nanosecond until time moves.

        Some waits of the standard library end only after their moment, and try again at it.
        """
        self._nudge += 1e-9
        self.read()

    def _check_spin(self) -> None:
        if _real_monotonic() - self._moved_at > self.stuck_after and self.participates():
            frame = sys._getframe(2)
            # Whoever logs much may work.
            if is_in(frame, "logging"):
                return
            where = _place(frame)
            self.fail(
                f"the code under test does not stop: it has read the clock {self._readings} times"
                f" at one moment, and time moves only when everybody waits (at {where}). Let the"
                " loop sleep between its looks"
            )
            self.raise_failure()

    # Movement; the lock is held.

    def _try_to_move(self) -> None:
        if not self.active or self.failure or self._somebody_works():
            return
        due = self._earliest()
        if due is None or due.until is None:
            return
        # A child is on real time: it gets as much of it as it would have.
        is_early = due.until - self.now > _real_monotonic() - self._moved_at
        if not (is_early and (self._children or self._is_glanced_at())):
            self._move_to(due.until)
            self.end(due, BY_TIME)

    def _is_server(self, ident: int) -> bool:
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        return thread is not None and ident not in self._guests and _serves(thread)

    def _earliest(self) -> Wait | None:
        while self._heap and self._heap[0][2].ended_by is not None:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def _move_to(self, moment: float) -> None:
        self._moved_at = _real_monotonic()
        due = self._earliest()
        waits = self.waits.copy().items()
        # A server that looks around now and then does nothing for the test.
        if not any(wait is due and self._is_server(ident) for ident, wait in waits):
            self._progressed_at = self._moved_at
        self._readings = 0
        if moment > self.now:
            self._nudge = 0.0
            self.now = moment
            self._on_move(moment)

    def _somebody_works(self) -> bool:
        # A thread that was started and has not begun.
        if threading._limbo or self._is_handing_over():  # type: ignore[attr-defined]
            return True
        frames: dict[int, Any] | None = None
        for ident, thread in _threads():
            if ident in self.waits or self._is_strange(thread) or self._on_real_time.get(ident):
                continue
            if ident == _thread.get_ident():
                return True
            frames = frames_of_others() if frames is None else frames
            if ident in frames and not self._sits_still(ident, thread, frames[ident]):
                return True
        if self._end_ready():
            return True
        # While somebody waits for a child, time moves as in reality: nothing else has to hold it.
        return not self._children and any(wait.holds() for wait in [*self.waits.values()])

    def _end_ready(self) -> bool:
        ready = [wait for wait in [*self.waits.values()] if wait.ready and wait.ready()]
        for wait in ready:
            self.end(wait, BY_EVENT)
        return bool(ready)

    def _sits_still(self, ident: int, thread: threading.Thread, frame: Any) -> bool:
        state = id(frame), frame.f_lasti, _switches(thread)
        now = _real_monotonic()
        known = self._still.get(ident)
        if known is None or known[0] != state:
            self._still[ident] = state, now
            return False
        is_idle_server = _serves(thread) and ident not in self._guests
        patience = _SERVERS_PATIENCE if is_idle_server else PATIENCE
        return now - known[1] >= patience and not self.sockets.has_thread_in_flight(ident)

    # Standing in real time.

    def _block(self, wait: Wait) -> None:
        seconds = _FIRST_SLICE
        began = _real_monotonic()
        while wait.ended_by is None:
            if not self.active:
                left = None if wait.until is None else wait.until - self.now
                left = None if left is None else left - (_real_monotonic() - began)
                if left is not None and left <= 0:
                    wait.ended_by = BY_TIME
                    return
                wait.block(_RELIEF if wait.ready else min(left or 60.0, 60.0))
                if wait.ready and wait.ready():
                    return
                continue
            with self.lock:
                watches = self._watcher is None or self._watcher is wait
                if watches:
                    self._watcher = wait
            wait.block(seconds if watches else _RELIEF)
            if wait not in self.waits.values():
                self._stand_again(wait)
            if not watches or wait.ended_by is not None:
                continue
            seconds = min(seconds * 1.5, _LONGEST_SLICE)
            with self.lock:
                if wait.ended_by is None and self.active:
                    self._watch()

    def look(self) -> None:
        """Do what a thread that stands does, if none does it."""
        with self.lock:
            if self.active and not self.failure and self._watcher is None:
                self._watch()

    def _stand_again(self, wait: Wait) -> None:
        with self.lock:
            if wait.ended_by is None:
                self.waits[_thread.get_ident()] = wait

    def _watch(self) -> None:
        self._try_to_move()
        due, now = self._earliest(), _real_monotonic()
        overdue = due is not None and due.until is not None and due.until <= self.now
        if due is not None and overdue and now - self._moved_at > _TURN:
            self._move_to(self.now)
            self.end(due, BY_TIME)
        # Whoever works is in another place each time that somebody looks.
        state = self._whereabouts()
        if state != self._progress[0]:
            self._progress = state, now
        since = max(self._progress[1], self._progressed_at)
        # Who waits for a child is not stuck while it lives.
        may_move = bool(self._children)
        if now - since > self.stuck_after and not may_move:
            self.fail(self._story())

    def _whereabouts(self) -> Any:
        frames = frames_of_others()
        return (
            sorted(
                (ident, wait.number)
                for ident, wait in self.waits.copy().items()
                if not self._is_server(ident)
            ),
            tuple(
                (ident, *_state(frames[ident], thread))
                for ident, thread in _threads()
                if ident in frames and ident not in self.waits and not self._is_strange(thread)
            ),
        )

    # Failure.

    def fail(self, text: str) -> None:
        """Fail the test: whoever stands is told so."""
        self.failure = self.failure or text
        for wait in [*self.waits.values()]:
            self.end(wait, BY_EVENT)
        self._end_spins()

    def _end_spins(self) -> None:
        """End the threads whose loops only look: the main thread is told otherwise."""
        main = threading.main_thread()
        frames = frames_of_others()
        for ident, thread in _threads():
            if ident not in frames or thread is main or self._is_strange(thread):
                continue
            if looking_frame(frames[ident]) is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(ident), ctypes.py_object(SystemExit)
                )

    def raise_failure(self) -> None:
        """Raise the failure of the test, if there is one."""
        if self.failure and self.active:
            pytest.fail(self.failure, pytrace=False)

    def _story(self) -> str:
        frames = frames_of_others()
        lines = [
            f"nobody in this test could move for {self.stuck_after:g} real seconds (ini key"
            f" indexjob_stuck_after); its clock stands at {duration_text(self.now)}. Who waits for"
            " what:"
        ]
        for ident, thread in _threads():
            wait = self.waits.get(ident)
            if wait is not None:
                end = "" if wait.until is None else f", until {duration_text(wait.until)}"
                lines.append(f"    thread {thread.name}: {wait.what}{end}, at {_place(wait.frame)}")
                lines += [f"        {line}" for line in _tasks(wait)]
            elif ident in frames and (thread in self.strangers or not self._is_strange(thread)):
                at = _place(frames[ident])
                strange = thread in self.strangers and self._is_strange(thread)
                whose = "on real time" if strange else "works or waits on something real"
                lines.append(f"    thread {thread.name}: {whose}, at {at}")
        lines += [f"    time is held still: {what}" for what in self._children.values()]
        if self._to_be_adopted(frames):
            lines.append(
                "hint: a wait for a thread that was made before the clock ends only if that thread"
                " is on the timeline: indexjob_clock.adopt(thread)"
            )
        else:
            lines.append(
                "hint: look for a wait that no code ends, for threads that wait for each other, and"
                " for a loop that never sleeps"
            )
        return "\n".join(lines)


def _threads() -> Iterable[tuple[int, threading.Thread]]:
    """The threads by their idents, copied at once: they come and go meanwhile."""
    return dict(threading._active).items()  # type: ignore[attr-defined]


def frames_of_others() -> dict[int, FrameType]:
    """Where each thread stands but the calling one.

    A function that kept its own frame would be a cycle of references: it would keep whatever the
    other threads have in their hands until the garbage is collected.
    """
    frames = sys._current_frames()
    del frames[_thread.get_ident()]
    # Once, with Python 3.11, a function was found where a frame should be. The likely reason, which
    # nobody has shown: Python collects garbage in the midst of ``_current_frames``, and a finalizer
    # lets another thread leave the frame that is being read.
    return {ident: frame for ident, frame in frames.items() if isinstance(frame, FrameType)}


def _is_the_runs(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    # Of a method: functions of C have a `__self__` too.
    owner = type(target.__self__).__module__ if isinstance(target, MethodType) else ""
    return (
        is_of_the_run(type(thread).__module__)
        or is_of_the_run(getattr(target, "__module__", None))
        # The simulator's server is a service on this machine.
        or owner.startswith("pytest_indexjob.")
    )


def _serves(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) == "socketserver"


def _state(frame: FrameType, thread: threading.Thread) -> tuple[Any, ...]:
    """What changes whenever a thread goes on."""
    if looking_frame(frame) is not None:
        return place_of(frame)
    return id(frame), frame.f_lasti, _switches(thread)


def _switches(thread: threading.Thread) -> Any:
    """How often a thread has gone to sleep, where the system tells it; unequal if it runs."""
    try:
        text = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    except OSError:
        return None
    if "State:\tS" not in text and "State:\tD" not in text:
        return object()
    return text[text.rindex("voluntary_ctxt", 0, text.rindex("nonvoluntary")) :]


_OWN = str(Path(__file__).parent)
_LIBRARY = str(Path(os.__file__).parent)


def _place(frame: Any) -> str:
    """Where a thread stands: the innermost line that is the user's, and the innermost at all."""
    stack = [line for line in traceback.extract_stack(frame) if not line.filename.startswith(_OWN)]
    if not stack:
        return "an unknown place"
    users = [
        line
        for line in stack
        if not line.filename.startswith((_LIBRARY, "<"))
        and "site-packages" not in line.filename
        and f"{os.sep}pytest_indexjob{os.sep}" not in line.filename
    ]
    line = users[-1] if users else stack[-1]
    return f"{line.filename}:{line.lineno}: {line.line}"


def _tasks(wait: Wait) -> list[str]:
    """The tasks of the asyncio loop whose thread stands there, and where each waits."""
    import asyncio

    frame = wait.frame
    while frame is not None:
        loop = frame.f_locals.get("self")
        if isinstance(loop, asyncio.AbstractEventLoop):
            break
        frame = frame.f_back
    if frame is None:
        return []
    lines = []
    for task in asyncio.all_tasks(loop):
        stack = task.get_stack(limit=1)
        at = _place(stack[0]) if stack else "its end"
        lines.append(f"task {task.get_name()} waits, at {at}")
    return sorted(lines)
