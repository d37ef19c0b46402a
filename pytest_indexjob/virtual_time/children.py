"""Child processes under virtual time: they live in real time, and so does whoever waits for one."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import ProcessPoolExecutor
from multiprocessing.pool import ApplyResult, Pool, ThreadPool
from multiprocessing.process import BaseProcess, active_children
from multiprocessing.synchronize import SemLock
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import Timeline, Wait

_LIVES = "somebody waits for a child process that lives"


def patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods that wait for a child process."""
    for name in ("wait", "communicate"):
        yield subprocess.Popen, name, _wait_for_child(timeline, name)
    yield subprocess.Popen, "poll", _glance_at_child(timeline)
    yield os, "waitpid", _waitpid(timeline)
    yield SemLock, "_make_methods", _make_methods(timeline)
    yield BaseProcess, "join", _join(timeline, BaseProcess)
    yield ProcessPoolExecutor, "submit", _submit(timeline, ProcessPoolExecutor)
    yield ApplyResult, "wait", _wait_for_result(timeline, ApplyResult)


def _wait_for_child(timeline: Timeline, name: str) -> Any:
    real = original(subprocess.Popen, name)

    @functools.wraps(real)
    def wait(child: Any, *args: Any, **kwargs: Any) -> Any:
        if child.poll() is not None or not timeline.participates():
            return real(child, *args, **kwargs)
        began = timeline.now
        try:
            with timeline.real_time(child.pid, _LIVES):
                return real(child, *args, **kwargs)
        except subprocess.TimeoutExpired as expired:
            left = began + expired.timeout - timeline.now
            if left > 0:
                timeline.sleep(left)
            raise

    return wait


def _glance_at_child(timeline: Timeline) -> Any:
    real = original(subprocess.Popen, "poll")

    @functools.wraps(real)
    def poll(child: Any) -> Any:
        code = real(child)
        if code is None and timeline.participates():
            timeline.glance(child.pid, lambda: real(child) is None)
        return code

    return poll


def _waitpid(timeline: Timeline) -> Any:
    real = original(os, "waitpid")

    @functools.wraps(real)
    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        # A thread of asyncio waits for each child, though no task may.
        by_asyncio = sys._getframe(1).f_globals.get("__name__") == "asyncio.unix_events"
        is_short = bool(options & os.WNOHANG) or by_asyncio
        waits = not is_short and timeline.participates()
        with timeline.real_time(pid, _LIVES) if waits else contextlib.nullcontext():
            found: tuple[int, int] = real(pid, options)
        return found

    return waitpid


def _make_methods(timeline: Timeline) -> Any:
    """What gives a lock of ``multiprocessing`` its methods."""
    real = original(SemLock, "_make_methods")

    @functools.wraps(real)
    def make_methods(lock: Any) -> None:
        real(lock)
        lock.acquire = functools.partial(_acquire, timeline, lock._semlock)

    return make_methods


def _acquire(
    timeline: Timeline, lock: Any, block: bool = True, timeout: float | None = None
) -> bool:
    may_wait = block and (timeout is None or timeout > 0)
    if not may_wait or not timeline.participates():
        return bool(lock.acquire(block, timeout))
    if lock.acquire(False):
        return True
    until = None if timeout is None else timeline.moment_in(timeout)
    if active_children():
        with timeline.real_time(os.getpid(), "a lock that a child process may have"):
            taken = bool(lock.acquire(block, timeout))
        if not taken and until is not None and until > timeline.now:
            timeline.sleep(until - timeline.now)
        return taken
    while timeline.stand(
        Wait(timeline, until, "waits for a lock of multiprocessing", lambda: not lock._is_zero())
    ):
        if lock.acquire(False):
            return True
    return bool(lock.acquire(False))


def _join(timeline: Timeline, process_class: Any) -> Any:
    real = original(process_class, "join")

    @functools.wraps(real)
    def join(process: Any, timeout: float | None = None) -> None:
        if not process.is_alive() or not timeline.participates():
            real(process, timeout)
            return
        began = timeline.now
        with timeline.real_time(process.pid, _LIVES):
            real(process, timeout)
        if timeout is not None and process.is_alive() and began + timeout > timeline.now:
            timeline.sleep(began + timeout - timeline.now)

    return join


def _wait_for_result(timeline: Timeline, result_class: Any) -> Any:
    real = original(result_class, "wait")

    @functools.wraps(real)
    def wait(result: Any, timeout: float | None = None) -> None:
        # A pool of threads has no process: all of it is on the timeline.
        if result.ready() or not _has_processes(result) or not timeline.participates():
            real(result, timeout)
            return
        began = timeline.now
        with timeline.real_time(os.getpid(), "work in a pool of processes"):
            real(result, timeout)
        if timeout is not None and not result.ready() and began + timeout > timeline.now:
            timeline.sleep(began + timeout - timeline.now)

    return wait


def _has_processes(result: Any) -> bool:
    pool = getattr(result, "_pool", None)
    return isinstance(pool, Pool) and not isinstance(pool, ThreadPool)


def _submit(timeline: Timeline, pool_class: Any) -> Any:
    real = original(pool_class, "submit")

    @functools.wraps(real)
    def submit(pool: Any, /, *args: Any, **kwargs: Any) -> Any:
        future = real(pool, *args, **kwargs)
        if timeline.participates():
            work = contextlib.ExitStack()
            work.enter_context(timeline.child(os.getpid(), "work in a pool of processes"))
            future.add_done_callback(lambda _: work.close())
        return future

    return submit
