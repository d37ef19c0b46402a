"""Child processes under virtual time: they live in real time, and so does whoever waits for one."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures.process import ProcessPoolExecutor
from multiprocessing.pool import ApplyResult, Pool, ThreadPool
from multiprocessing.process import BaseProcess, active_children
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import PATIENCE, Timeline

_LIVES = "somebody waits for a child process that lives"


def patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods that wait for a child process."""
    for name in ("wait", "communicate"):
        yield subprocess.Popen, name, _wait_for_child(timeline, name)
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


def patience_with_children(timeline: Timeline, timeout: float | None) -> float:
    """How long a wait for a pipe holds time, in real seconds: as long as in reality, if one lives.

    A child's silence is believed after half of ``stuck_after``.
    """
    if not active_children():
        return PATIENCE
    longest = timeline.stuck_after / 2
    return longest if timeout is None else min(timeout, longest)


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
