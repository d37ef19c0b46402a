"""Child processes under virtual time: they live in real time, so time stands still for them."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import Timeline, Wait


def patches(
    timeline: Timeline, timed_out: Callable[[float], object]
) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods that wait for a child process."""
    wait = original(subprocess.Popen, "wait")
    communicate = original(subprocess.Popen, "communicate")

    @functools.wraps(wait)
    def wait_for_child(child: Any, timeout: float | None = None) -> Any:
        if child.poll() is not None or not timeline.participates():
            return wait(child, timeout)
        with timeline.child(child.pid, "somebody waits for a child process that lives"):
            until = None if timeout is None else timeline.moment_in(max(0.0, timeout))
            what = f"waits for the end of process {child.pid}"
            stand = Wait(timeline, until, what, lambda: _has_ended(child.pid))
            ended = _has_ended(child.pid) or timeline.stand(stand)
        if not ended and timeout is not None:
            timed_out(timeout)
            return wait(child, 0)
        return wait(child)

    @functools.wraps(communicate)
    def talk_to_child(child: Any, input: Any = None, timeout: float | None = None) -> Any:
        holds = child.poll() is None and timeline.participates()
        what = "somebody reads what a child process says"
        with timeline.child(child.pid, what) if holds else contextlib.nullcontext():
            return communicate(child, input, timeout)

    yield subprocess.Popen, "wait", wait_for_child
    yield subprocess.Popen, "communicate", talk_to_child
    if "multiprocessing.process" in sys.modules:
        process_class = sys.modules["multiprocessing.process"].BaseProcess  # type: ignore[attr-defined]
        join = original(process_class, "join")

        @functools.wraps(join)
        def join_process(process: Any, timeout: float | None = None) -> None:
            holds = process.is_alive() and timeline.participates()
            what = "somebody waits for a child process that lives"
            with timeline.child(process.pid, what) if holds else contextlib.nullcontext():
                join(process, timeout)

        yield process_class, "join", join_process
    if "concurrent.futures.process" in sys.modules:
        pool_class = sys.modules["concurrent.futures.process"].ProcessPoolExecutor  # type: ignore[attr-defined]
        submit = original(pool_class, "submit")

        @functools.wraps(submit)
        def submit_work(pool: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = submit(pool, *args, **kwargs)
            if timeline.participates():
                work = contextlib.ExitStack()
                work.enter_context(timeline.child(os.getpid(), "work in a process pool"))
                future.add_done_callback(lambda _: work.close())
            return future

        yield pool_class, "submit", submit_work


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
