"""Attributes that are replaced for the length of a test, and put back after it."""

from __future__ import annotations

from types import FunctionType
from typing import Any, NamedTuple

_INHERITED = object()
_ORIGINAL = "_indexjob_original"


class Patch(NamedTuple):
    """An attribute to replace for the length of the test."""

    owner: Any
    name: str
    replacement: Any


class Replacements:
    """Functions in the place of others, until they are put back.

    A patch that was laid over one of them (``monkeypatch``, ``mock``) stays. It may be undone later
    and bring back what it found, a replacement that has ended: that one has to do by then as the
    original does, and ``original`` looks behind it.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, Any, Any]] = []

    def put(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace a function of a class or a module."""
        self._made.append((owner, name, replacement, vars(owner).get(name, _INHERITED)))
        setattr(owner, name, replacement)

    def put_back(self) -> None:
        """Put every original back."""
        while self._made:
            owner, name, replacement, before = self._made.pop()
            if vars(owner).get(name) is replacement:
                _set(owner, name, before)
            setattr(replacement, _ORIGINAL, before)


def original(owner: Any, name: str) -> Any:
    """What stands there, with no replacement that has ended before it."""
    while _has_ended(value := vars(owner).get(name)):
        _set(owner, name, vars(value)[_ORIGINAL])
    return getattr(owner, name)


def behind(value: Any) -> Any:
    """A function itself, or for a replacement that has ended what it stood for."""
    while _has_ended(value):
        value = vars(value)[_ORIGINAL]
    return value


def _has_ended(value: Any) -> bool:
    return isinstance(value, FunctionType) and _ORIGINAL in vars(value)


def _set(owner: Any, name: str, value: Any) -> None:
    if value is _INHERITED:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
