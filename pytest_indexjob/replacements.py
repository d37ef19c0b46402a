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


class StandIn(type):
    """The type of a class that stands for another, so that the name still means a class.

    In its namespace ``_make`` is what a call gives, and ``_kinds`` are the classes whose instances
    count as its own. Classes that are derived from it are as any others.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make what the call of the real class would make."""
        make = vars(cls).get("_make", super().__call__)
        return make(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, vars(cls).get("_kinds", ())) or super().__instancecheck__(
            instance
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, vars(cls).get("_kinds", ())) or super().__subclasscheck__(
            subclass
        )


class Replacements:
    """Functions in the place of others, until they are put back.

    A patch that somebody laid over a replacement (``monkeypatch``, ``mock``) stays. If somebody's
    patch saved our replacement and restores it after the test, ``original`` finds the function
    behind it. Until then the replacement must call that function.
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
    """The attribute's value; a replacement that has ended is first replaced by its original."""
    while _has_ended(value := vars(owner).get(name)):
        _set(owner, name, vars(value)[_ORIGINAL])
    return getattr(owner, name)


def behind(value: Any) -> Any:
    """A function itself, or the original of a replacement that has ended."""
    while _has_ended(value):
        value = vars(value)[_ORIGINAL]
    return value


def _has_ended(value: Any) -> bool:
    return type(value) in (FunctionType, StandIn) and _ORIGINAL in vars(value)


def _set(owner: Any, name: str, value: Any) -> None:
    if value is _INHERITED:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
