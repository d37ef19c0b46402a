"""Threads' waits on the timeline: sleeps, locks, conditions, queues, the ends of threads.

Whatever ``threading``, ``queue`` and ``concurrent.futures`` build on these follows.
"""

from __future__ import annotations

import _thread
import collections
import functools
import math
import operator
import queue
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import Timeline, Wait

_RealSimpleQueue = queue.SimpleQueue
_TOO_LONG = threading.TIMEOUT_MAX


def checked_sleep(seconds: Any) -> float:
    """The seconds of a sleep, as strict as ``time.sleep`` is.

    Raises ``TypeError`` for what is no number, ``ValueError`` for a negative number or none, and
    ``OverflowError`` for more than a clock can count.
    """
    length = seconds if isinstance(seconds, float) else float(operator.index(seconds))
    if math.isnan(length):
        raise ValueError("Invalid value NaN (not a number)")
    if length < 0:
        raise ValueError("sleep length must be non-negative")
    if length > _TOO_LONG:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")
    return length


class _Timelined:
    """What the waits of a test's own objects have in common: which timeline is now, who waits."""

    timeline: ClassVar[Timeline | None] = None
    _waiting: collections.deque[Wait]

    @classmethod
    def current(cls) -> Timeline | None:
        timeline = cls.timeline
        return timeline if timeline is not None and timeline.participates() else None

    def _wake_first(self) -> None:
        while self._waiting:
            try:
                self._waiting.popleft().release()
            except (IndexError, RuntimeError):  # another thread took it, or it is awake already
                continue
            return


class VirtualLock(_Timelined):
    """A lock as ``threading.Lock`` makes it, whose waits stand on the timeline."""

    def __init__(self) -> None:
        self._real = _thread.allocate_lock()
        self._waiting = collections.deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; ``timeout`` is virtual seconds. Returns whether it was taken."""
        if blocking and timeout == -1 and self._real.acquire(False):
            return True
        timeline = self.current() if blocking and timeout != 0 else None
        if timeline is None or (timeout < 0 and timeout != -1) or timeout > _TOO_LONG:
            return self._real.acquire(blocking, timeout)
        if self._real.acquire(False):
            return True
        until = None if timeout == -1 else timeline.moment_in(timeout)
        while True:
            wait = Wait(timeline, until, "waits for a lock", lambda: not self._real.locked())
            self._waiting.append(wait)
            try:
                if self._real.acquire(False):
                    return True
                by_event = timeline.stand(wait)
            finally:
                if wait in self._waiting:
                    self._waiting.remove(wait)
            if self._real.acquire(False):
                return True
            if not by_event:
                return False

    def release(self) -> None:
        """Give the lock back, and let the first that stands there try."""
        self._real.release()
        self._wake_first()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._real.locked()

    def _at_fork_reinit(self) -> None:
        self._real = _thread.allocate_lock()
        self._waiting.clear()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} lock on the test's timeline>"


class VirtualRLock(threading._PyRLock):  # type: ignore[misc, name-defined]
    """A lock as ``threading.RLock`` makes it, whose waits stand on the timeline."""

    def __init__(self) -> None:
        super().__init__()
        self._block = VirtualLock()

    __enter__ = threading._PyRLock.acquire  # type: ignore[attr-defined]


class VirtualSimpleQueue(_Timelined):
    """A queue as ``queue.SimpleQueue``, whose waits stand on the timeline."""

    def __init__(self) -> None:
        self._real: queue.SimpleQueue[Any] = _RealSimpleQueue()
        self._waiting = collections.deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; the arguments but the first mean nothing, as in the real queue."""
        self._real.put(item)
        self._wake_first()

    put_nowait = put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item. Raises ``queue.Empty`` if none came within the virtual time-out."""
        timeline = self.current() if block and timeout != 0 else None
        if timeline is None or (timeout is not None and timeout < 0):
            return self._real.get(block, timeout)
        until = None if timeout is None else timeline.moment_in(timeout)
        while True:
            wait = Wait(timeline, until, "waits for a queue", lambda: not self._real.empty())
            self._waiting.append(wait)
            try:
                if self._real.empty() and not timeline.stand(wait) and self._real.empty():
                    raise queue.Empty
            finally:
                if wait in self._waiting:
                    self._waiting.remove(wait)
            try:
                return self._real.get_nowait()
            except queue.Empty:
                continue

    def get_nowait(self) -> Any:
        """Take the first item. Raises ``queue.Empty`` for none."""
        return self._real.get_nowait()

    def empty(self) -> bool:
        """Whether nothing is in it."""
        return self._real.empty()

    def qsize(self) -> int:
        """How much is in it."""
        return self._real.qsize()

    __class_getitem__: ClassVar[Any] = classmethod(types.GenericAlias)


def patches(
    timeline: Timeline, timed_out: Callable[[float], object]
) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods of ``threading``.

    ``timed_out(seconds)`` is told of each wait whose limit came.
    """
    yield threading.Condition, "wait", _wait_for_notice(timeline, timed_out)
    yield threading.Thread, "join", _join(timeline, timed_out)
    yield threading.Thread, "_delete", _end_thread(timeline)


def _wait_for_notice(timeline: Timeline, timed_out: Callable[[float], object]) -> Any:
    real = original(threading.Condition, "wait")

    @functools.wraps(real)
    def wait_for_notice(condition: Any, timeout: float | None = None) -> bool:
        if not timeline.participates():
            return bool(real(condition, timeout))
        if timeout is not None and not 0 < timeout <= _TOO_LONG:
            if timeout <= 0:
                timeline.creep()
            return bool(real(condition, timeout))
        if not condition._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        until = None if timeout is None else timeline.moment_in(timeout)
        wait = Wait(timeline, until, "waits to be notified")
        condition._waiters.append(wait)
        state = condition._release_save()
        notified = False
        try:
            notified = timeline.stand(wait)
        finally:
            condition._acquire_restore(state)
            if not notified and wait in condition._waiters:
                condition._waiters.remove(wait)
        if not notified and timeout is not None:
            timed_out(timeout)
        return notified

    return wait_for_notice


def _join(timeline: Timeline, timed_out: Callable[[float], object]) -> Any:
    real = original(threading.Thread, "join")

    @functools.wraps(real)
    def join(thread: Any, timeout: float | None = None) -> None:
        may_wait = thread is not threading.current_thread() and thread._started.is_set()
        is_on_timeline = timeout is None or 0 < timeout <= _TOO_LONG
        if may_wait and is_on_timeline and timeline.participates():
            until = None if timeout is None else timeline.moment_in(timeout)
            what = f"waits for the end of thread {thread.name}"
            wait = Wait(timeline, until, what, lambda: _has_ended(thread))
            if not _has_ended(thread) and not timeline.stand(wait):
                timed_out(timeout or 0.0)
                return
            timeout = None
        real(thread, timeout)

    return join


def _end_thread(timeline: Timeline) -> Any:
    real = original(threading.Thread, "_delete")

    @functools.wraps(real)
    def end_thread(thread: threading.Thread) -> None:
        real(thread)
        if timeline.active:
            timeline.thread_ended()

    return end_thread


def _has_ended(thread: threading.Thread) -> bool:
    return threading._active.get(thread.ident) is not thread  # type: ignore[attr-defined]


class TestLocks:
    """Names of locks and queues that mean the timeline's own for the threads of the test."""

    __test__ = False

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def __enter__(self) -> Self:
        _Timelined.timeline = self._timeline
        return self

    def __exit__(self, *_: object) -> None:
        _Timelined.timeline = None
