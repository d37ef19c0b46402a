"""Child processes under virtual time: they live in real time, and so does whoever waits for one."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import Timeline

_LIVES = "somebody waits for a child process that lives"


def patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods that wait for a child process."""
    for name in ("wait", "communicate"):
        yield subprocess.Popen, name, _wait_for_child(timeline, name)
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        yield process.BaseProcess, "join", _join(timeline, process.BaseProcess)
    pool = sys.modules.get("concurrent.futures.process")
    if pool is not None:
        yield pool.ProcessPoolExecutor, "submit", _submit(timeline, pool.ProcessPoolExecutor)


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
