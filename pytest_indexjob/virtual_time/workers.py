"""Idle workers from before the clock: each is on the timeline while it does work of the test.

Pools of threads, trio and anyio keep their idle threads, and a later test gets one of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import thread as pool
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.timeline import Timeline

_HANDED = "_indexjob_handed"


def patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of the methods that give work to an idle thread."""
    yield from _pool_patches(timeline)
    if "trio" in sys.modules:
        cache = getattr(sys.modules.get("trio._core._thread_cache"), "ThreadCache", None)
        if cache is not None:
            yield cache, "start_thread_soon", _start_soon(timeline, cache)
    backend = sys.modules.get("anyio._backends._asyncio")
    if hasattr(backend, "WorkerThread") and hasattr(backend, "AsyncIOBackend"):
        yield from _anyio_patches(timeline, backend)


def _pool_patches(timeline: Timeline) -> Iterator[tuple[Any, str, Any]]:
    item_class: Any = pool._WorkItem
    real_init, real_run = original(item_class, "__init__"), original(item_class, "run")

    @functools.wraps(real_init)
    def init(item: Any, *args: Any, **kwargs: Any) -> None:
        real_init(item, *args, **kwargs)
        if timeline.participates():
            setattr(item, _HANDED, timeline.hand_over(_is_of_pool))

    @functools.wraps(real_run)
    def run(item: Any, *args: Any) -> None:
        timeline.take_up(vars(item).get(_HANDED))
        try:
            real_run(item, *args)
        finally:
            timeline.leave()

    yield item_class, "__init__", init
    yield item_class, "run", run


def _is_of_pool(thread: Any) -> bool:
    return getattr(thread, "_target", None) is pool._worker


def _is_of_trio(thread: Any) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", "") == "trio._core._thread_cache"


def _start_soon(timeline: Timeline, cache_class: Any) -> Any:
    real = original(cache_class, "start_thread_soon")

    @functools.wraps(real)
    def start_thread_soon(
        cache: Any, work: Callable[[], Any], deliver: Callable[[Any], Any], *name: Any, **named: Any
    ) -> None:
        if not timeline.participates():
            real(cache, work, deliver, *name, **named)
            return
        handed = timeline.hand_over(_is_of_trio)

        def take_up() -> Any:
            timeline.take_up(handed)
            return work()

        def hand_back(result: Any) -> None:
            try:
                deliver(result)
            finally:
                timeline.leave()

        real(cache, take_up, hand_back, *name, **named)

    return start_thread_soon


def _anyio_patches(timeline: Timeline, backend: Any) -> Iterator[tuple[Any, str, Any]]:
    worker_class, loops = backend.WorkerThread, backend.AsyncIOBackend
    real_run = original(loops, "run_sync_in_worker_thread")
    real_report = original(worker_class, "_report_result")

    @functools.wraps(real_run)
    async def run(_: Any, work: Any, *args: Any, **kwargs: Any) -> Any:
        if not timeline.participates():
            return await real_run(work, *args, **kwargs)
        handed = timeline.hand_over(lambda thread: isinstance(thread, worker_class))

        def take_up(*args: Any) -> Any:
            timeline.take_up(handed)
            return work(*args)

        return await real_run(take_up, *args, **kwargs)

    @functools.wraps(real_report)
    def report(worker: Any, *args: Any) -> None:
        real_report(worker, *args)
        timeline.leave(worker.ident)

    # A bound method can't tell the class that it is called on; nobody derives from this class.
    yield loops, "run_sync_in_worker_thread", classmethod(run)
    yield worker_class, "_report_result", report
