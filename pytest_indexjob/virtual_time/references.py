"""The names that modules have for functions of Python's that wait: sleeps, locks, files, alarms."""

from __future__ import annotations

import asyncio
import queue
import select
import signal
import sys
import threading
from types import BuiltinFunctionType, FunctionType
from typing import Any

from pytest_indexjob.replacements import StandIn, behind
from pytest_indexjob.virtual_time.timeline import is_of_the_run

_OF_SYSTEM = [
    (owner, name)
    for owner, names in (
        (select, ("select", "poll", "epoll")),
        (signal, ("setitimer", "getitimer", "alarm", "sigtimedwait", "sigwait", "sigwaitinfo")),
    )
    for name in names
    if hasattr(owner, name)
]
PLACES: list[tuple[Any, str]] = [
    (asyncio, "sleep"),
    (threading, "Lock"),
    (threading, "RLock"),
    (queue, "SimpleQueue"),
    *_OF_SYSTEM,
]
_NAMES = frozenset([*(name for _, name in PLACES), "allocate_lock"])
# The module and the name that the real ones give for themselves: another's patch may stand in their
# places.
NAMES_OF_REAL = [
    ("asyncio.tasks", "sleep"),
    ("_thread", "allocate_lock"),
    ("threading", "RLock"),
    ("_queue", "SimpleQueue"),
    *(("_signal" if owner is signal else "select", name) for owner, name in _OF_SYSTEM),
]
# The classes among them.
_CLASSES = (queue.SimpleQueue, getattr(select, "epoll", queue.SimpleQueue))
# Of each module its names, how many there were, and which of them may be looked for.
_seen: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {}


def references(functions: dict[Any, Any]) -> list[tuple[Any, str, Any]]:
    """Every module's name for one of these functions.

    A module is looked through again only when it has grown.
    """
    found = []
    # Copied at once, since another thread may import meanwhile.
    for module_name, module in dict(sys.modules).items():
        names = getattr(module, "__dict__", None)
        known = _seen.get(module_name)
        if known is None or known[0] is not names or known[1] != len(known[0]):
            known = _look_through(module_name, names)
        if not known[2]:
            continue
        found += [
            (module, name, real)
            for name in known[2]
            if (real := identity(known[0].get(name))) in functions
        ]
    for gone in set(_seen).difference(list(sys.modules)):  # else their names would be kept alive
        del _seen[gone]
    return found


def _look_through(module_name: str, names: Any) -> tuple[dict[str, Any], int, tuple[str, ...]]:
    if not isinstance(names, dict):
        return {}, 0, ()
    candidates: tuple[str, ...] = ()
    if not is_of_the_run(module_name) and not _is_ours(module_name):
        candidates = tuple(
            name for name, value in dict(names).items() if name in _NAMES or _is_named(value)
        )
    known = _seen[module_name] = (names, len(names), candidates)
    return known


def _is_ours(module_name: str) -> bool:
    # Locks of the interpreter's own making stay: threads begin and end by them.
    return module_name.startswith("pytest_indexjob.virtual_time") or module_name in (
        "_thread",
        "_queue",
        "_pydatetime",
        "importlib._bootstrap",
        "logging",
        "_weakrefset",
        "weakref",
        "functools",
        "tempfile",
        "linecache",
        "warnings",
    )


def _is_named(value: Any) -> bool:
    # Only of functions and our classes, since anything may stand in a module, and may do anything
    # when it is asked for its name.
    if any(value is each for each in _CLASSES):
        return True
    return type(value) in (BuiltinFunctionType, FunctionType, StandIn) and value.__name__ in _NAMES


def identity(value: Any) -> Any:
    """What tells a function from all others, whoever's patch stands for it."""
    value = behind(value)
    real = (value.__module__, value.__name__) if _is_named(value) else ()
    return real if real in NAMES_OF_REAL else id(value)
