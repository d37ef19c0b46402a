"""Idle workers: where a thread of a pool, of trio or of anyio stands that waits for work."""

from __future__ import annotations

from types import FrameType

# Where a worker waits, and the functions from which it does.
_WAITS_OF_WORKERS = ("threading", "queue", "pytest_indexjob.virtual_time.")
_IDLE = (("concurrent.futures.thread", "_worker"), ("trio._core._thread_cache", "_work"))
_ANYIOS = ("anyio._backends._asyncio", "run")


def is_idle_worker(frame: FrameType) -> bool:
    """Whether a worker of a pool, of trio or of anyio stands there and waits for work.

    It is put on the timeline as it takes up work of the test.
    """
    at: FrameType | None = frame
    waits_in_python = False
    while at is not None and _module(at).startswith(_WAITS_OF_WORKERS):
        waits_in_python = True
        at = at.f_back
    place = at and (_module(at), at.f_code.co_name)
    # anyio's also runs the work from there, but waits for it in a queue that is Python's.
    return place in _IDLE or (place == _ANYIOS and waits_in_python)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
