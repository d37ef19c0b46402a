"""The names that modules have for functions of Python's that wait: sleeps, locks, queues."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from types import BuiltinFunctionType, FunctionType
from typing import Any

from pytest_indexjob.replacements import behind
from pytest_indexjob.virtual_time.timeline import is_of_the_run

PLACES = [
    (asyncio, "sleep"),
    (threading, "Lock"),
    (threading, "RLock"),
    (queue, "SimpleQueue"),
]
_NAMES = frozenset([*(name for _, name in PLACES), "allocate_lock"])
# The module and the name that the real ones give for themselves: another's patch may stand in their
# places.
NAMES_OF_REAL = [
    ("asyncio.tasks", "sleep"),
    ("_thread", "allocate_lock"),
    ("threading", "RLock"),
    ("_queue", "SimpleQueue"),
]
_seen: dict[str, tuple[int, tuple[str, ...]]] = {}


def references(functions: dict[Any, Any]) -> list[tuple[Any, str, Any]]:
    """Every module's name for one of these functions.

    A module is looked through again only when it has grown.
    """
    found = []
    for module_name, module in [*sys.modules.items()]:
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or is_of_the_run(module_name) or _is_ours(module_name):
            continue
        known = _seen.get(module_name)
        if known is None or known[0] != len(names):
            candidates = tuple(
                name for name, value in [*names.items()] if name in _NAMES or _is_named(value)
            )
            _seen[module_name] = known = (len(names), candidates)
        found += [
            (module, name, real)
            for name in known[1]
            if (real := identity(names.get(name))) in functions
        ]
    return found


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
    # Only of functions, since anything may stand in a module, and may do anything when it is asked
    # for its name.
    if value is queue.SimpleQueue:
        return True
    return type(value) in (BuiltinFunctionType, FunctionType) and value.__name__ in _NAMES


def identity(value: Any) -> Any:
    """What tells a function from all others, whoever's patch stands for it."""
    value = behind(value)
    real = (value.__module__, value.__name__) if _is_named(value) else ()
    return real if real in NAMES_OF_REAL else id(value)
