"""Event loops' waits on the timeline: at the one place where a loop waits, its selector.

So ``call_later``, ``asyncio.timeout``, ``wait_for`` and whatever is built on them need no patch.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import selectors
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.files import (
    Files,
    patience_with_children,
    socket_time_outs,
    stand_at_files,
)
from pytest_indexjob.virtual_time.timeline import PATIENCE, Timeline

_Patch = tuple[Any, str, Any]
_TRIOS_LONGEST = 24 * 60 * 60


def patches(
    timeline: Timeline, moved: Callable[[], object], keep_sleep: Callable[[float], object]
) -> Iterator[_Patch]:
    """What to put in the place of selectors' and loops' methods.

    ``moved()`` is called in a thread whose wait ended by time; ``keep_sleep`` is told each sleep.
    """
    if not hasattr(selectors, "PollSelector"):
        return
    known: dict[Any, Files] = {}
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"):
        selector_class = getattr(selectors, name, None)
        if selector_class is not None:
            real = original(selector_class, "select")
            # An asyncio loop's own selector is of another class where the system has it.
            creeps = name in ("SelectSelector", "PollSelector")
            yield selector_class, "select", _select(timeline, real, known, moved, creeps)
    yield from timeline.sockets.patches(timeline.participates, socket_time_outs(timeline, moved))
    for name in ("wait", "communicate"):
        process = asyncio.subprocess.Process
        yield process, name, _child(timeline, original(process, name))
    if "uvloop" in sys.modules:
        # Its loops wait in C; asyncio's own stand in for them.
        yield sys.modules["uvloop"], "Loop", asyncio.SelectorEventLoop
    yield from _trio_patches(timeline, moved, keep_sleep)


def _select(
    timeline: Timeline, real: Any, known: Any, moved: Callable[[], object], creeps: bool
) -> Callable[..., Any]:
    @functools.wraps(real)
    def select(self: Any, timeout: float | None = None) -> Any:
        if not timeline.participates():
            return real(self, timeout)
        files = known.get(self)
        if files is None:
            files = known[self] = Files(self, lambda: real(self, 0), timeline.sockets)
        events = files.take()
        if creeps and timeout is not None and timeout <= 0:
            timeline.creep()
        if not events and (timeout is None or timeout > 0):
            if creeps:
                files.look(patience_with_children(timeline, timeout))
            else:
                files.look(PATIENCE, timeline.sockets.patience)
            if stand_at_files(timeline, files, timeout, "waits in its event loop or selector"):
                events = files.take()
            else:
                moved()
        if events:
            files.heard(key.fd for key, _ in events)
        return events

    return select


def _child(timeline: Timeline, real: Any) -> Callable[..., Any]:
    @functools.wraps(real)
    async def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        participates = timeline.participates() and self.returncode is None
        what = "somebody waits for a child process that lives"
        with timeline.child(self.pid, what) if participates else contextlib.nullcontext():
            return await real(self, *args, **kwargs)

    return wait


def virtual_sleep(
    timeline: Timeline, real: Any, keep_sleep: Callable[[float], object]
) -> Callable[..., Any]:
    """``asyncio.sleep`` that keeps its length; the loop does the waiting."""

    async def sleep(delay: float, result: Any = None) -> Any:
        if delay > 0:
            loop = asyncio.get_running_loop()
            if not isinstance(loop, asyncio.BaseEventLoop):
                pytest.fail(
                    f"the loop {type(loop).__module__}.{type(loop).__name__} waits on real time,"
                    " which indexjob_clock cannot reach: run the test on asyncio's own loop, or"
                    " import the loop's module before the test begins",
                    pytrace=False,
                )
            keep_sleep(delay)
        elif timeline.active:
            timeline.read()
        return await real(delay, result)

    return sleep


def _trio_patches(
    timeline: Timeline, moved: Callable[[], object], keep_sleep: Callable[[float], object]
) -> Iterator[_Patch]:
    if "trio" not in sys.modules:
        return
    import trio

    manager: Any = getattr(getattr(trio, "_core", None), "_io_epoll", None)
    manager = getattr(manager, "EpollIOManager", None)
    if manager is None:
        yield trio, "run", _refuse_trio
        return
    real = original(manager, "get_events")

    @functools.wraps(real)
    def get_events(self: Any, timeout: float) -> Any:
        # Its loop wakes once a day though nobody asked for it.
        if timeout >= _TRIOS_LONGEST and timeline.participates():
            statistics = trio.lowlevel.current_statistics()
            if statistics.seconds_to_next_deadline == math.inf:
                timeout = -1
        return real(self, timeout)

    trio_sleep = original(trio, "sleep")

    @functools.wraps(trio_sleep)
    async def sleep(seconds: float) -> None:
        if seconds > 0 and timeline.participates():
            keep_sleep(seconds)
        await trio_sleep(seconds)

    yield manager, "get_events", get_events
    yield trio, "sleep", sleep
    yield trio.Process, "wait", _child(timeline, original(trio.Process, "wait"))


def _refuse_trio(*_: Any, **__: Any) -> None:
    pytest.fail(
        "indexjob_clock reaches trio only where trio waits by epoll (Linux), and it does not here:"
        f" run the test on asyncio ({os.name})",
        pytrace=False,
    )
