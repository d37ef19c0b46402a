"""Event loops' waits on the timeline: at the one place where a loop waits, its selector.

So ``call_later``, ``asyncio.timeout``, ``wait_for`` and whatever is built on them need no patch.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import select
import selectors
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.children import patience_with_children
from pytest_indexjob.virtual_time.timeline import PATIENCE, Files, SelectorWait, Timeline

_Patch = tuple[Any, str, Any]


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
    yield select, "select", _select_files(timeline, original(select, "select"), moved)
    yield from timeline.sockets.patches()
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
            files.look(patience_with_children(timeline, timeout) if creeps else PATIENCE)
            if stand_at_files(timeline, files, timeout, "waits in its event loop or selector"):
                events = files.take()
            else:
                moved()
        if events:
            files.heard(key.fd for key, _ in events)
        return events

    return select


def _select_files(timeline: Timeline, real: Any, moved: Callable[[], object]) -> Callable[..., Any]:
    known: dict[Any, Files] = {}

    @functools.wraps(real)
    def select_files(*args: Any) -> Any:
        """``select.select``, whose time-out is on the timeline."""
        *lists, timeout = args if len(args) == 4 else (*args, None)
        is_limit = isinstance(timeout, (int, float)) and timeout > 0
        if len(lists) != 3 or not (timeout is None or is_limit) or not timeline.participates():
            return real(*args)
        lists = [[*files] for files in lists]
        result = real(*lists, 0)
        if any(result):
            return result
        selector = selectors.PollSelector()
        for file in {_number(file) for files in lists for file in files}:
            wanted = [any(_number(each) == file for each in files) for files in lists]
            is_read, is_written = wanted[0] or wanted[2], wanted[1]
            read = selectors.EVENT_READ if is_read else 0
            selector.register(file, read | (selectors.EVENT_WRITE if is_written else 0))
        # The number of a file that was closed is given to the next.
        key = frozenset(
            (each.fd, each.events, _inode(each.fd)) for each in selector.get_map().values()
        )
        files = Files(selector, lambda: any(real(*lists, 0)), timeline.sockets)
        files = known.setdefault(key, files)
        files.look(patience_with_children(timeline, timeout))
        if not stand_at_files(timeline, files, timeout, "waits in select.select"):
            moved()
        result = real(*lists, 0)
        files.heard(map(_number, itertools.chain(*result)))
        return result

    return select_files


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _inode(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def stand_at_files(timeline: Timeline, files: Files, timeout: float | None, what: str) -> bool:
    """Stand until a file has something to say. Returns false if the time-out came."""
    until = None if timeout is None else timeline.moment_in(timeout)
    wait = SelectorWait(timeline, until, what, files)
    try:
        return timeline.stand(wait)
    finally:
        wait.forget()


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
        if timeout <= 0 or not timeline.participates():
            return real(self, timeout)
        events = real(self, 0)
        if events:
            return events
        files = Files(self._epoll, list, timeline.sockets)
        if not stand_at_files(timeline, files, timeout, "waits in trio's loop"):
            moved()
        return real(self, 0)

    trio_sleep = original(trio, "sleep")

    @functools.wraps(trio_sleep)
    async def sleep(seconds: float) -> None:
        if seconds > 0 and timeline.participates():
            keep_sleep(seconds)
        await trio_sleep(seconds)

    yield manager, "get_events", get_events
    yield trio, "sleep", sleep


def _refuse_trio(*_: Any, **__: Any) -> None:
    pytest.fail(
        "indexjob_clock reaches trio only where trio waits by epoll (Linux), and it does not here:"
        f" run the test on asyncio ({os.name})",
        pytrace=False,
    )
