"""``time``'s own functions, which call others for the length of a test.

The function object itself is told what to call. So the clock reaches whoever kept the function
before the test, wherever: a default argument, a ``functools.partial``, a class, a scheduler.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Final

from pytest_indexjob.virtual_time.originals import TIME_FUNCTIONS

_NO_ARGUMENT, _ONE_ARGUMENT = 0x4, 0x8  # METH_NOARGS, METH_O


class _Definition(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Call(ctypes.Structure):
    """What a built-in function calls: the definition, and the object that it hands to it."""

    _fields_ = (("definition", ctypes.c_void_p), ("handed", ctypes.c_void_p))


class _Function(ctypes.Structure):
    """The beginning of CPython's ``PyCFunctionObject``."""

    _fields_ = (("head", ctypes.c_byte * object.__basicsize__), ("call", _Call))


def _copy(call: _Call) -> _Call:
    return _Call(call.definition, call.handed)


def _python_calls(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


# Each hands its first argument, the object of the call, the rest as arguments.
_CALLERS = {
    _NO_ARGUMENT: _python_calls("PyObject_CallNoArgs"),
    _ONE_ARGUMENT: _python_calls("PyObject_CallOneArg"),
}
_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.restype = ctypes.py_object
_new_function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]


def _real(function: Any) -> Any:
    """Another function object of the same doing, which no test's clock replaces.

    Raises ``RuntimeError`` if the interpreter keeps its functions in another way.
    """
    if isinstance(function, BuiltinFunctionType) and function.__self__ is time:
        call = _Function.from_address(id(function)).call
        definition = _Definition.from_address(call.definition)
        if definition.name == function.__name__.encode() and definition.flags in _CALLERS:
            return _new_function(call.definition, time, "time")
    raise RuntimeError(f"indexjob_clock can't replace {function!r}: it needs CPython")


REAL: Final[dict[str, Any]] = {name: _real(function) for name, function in TIME_FUNCTIONS.items()}


class _Replacement(functools.partial[Any]):
    """What stands for a function: a child process that is sent the function gets the real one."""

    def __reduce__(self) -> Any:
        return importlib.import_module, ("time",)


class TimeFunctions:
    """Functions that stand for ``time``'s own, until they are put back."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, _Call, Any]] = []

    def put(self, name: str, replacement: Callable[..., Any]) -> None:
        """Let a function of ``time`` call another."""
        function = _Function.from_address(id(TIME_FUNCTIONS[name]))
        definition = _Definition.from_buffer_copy(
            _Definition.from_address(_Function.from_address(id(REAL[name])).call.definition)
        )
        replacement = _Replacement(replacement)
        definition.function = _CALLERS[definition.flags]
        self._made.append((function, _copy(function.call), (definition, replacement)))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(replacement))
        # Both at once: another thread may call the function at any time.
        function.call = _Call(ctypes.addressof(definition), id(replacement))

    def put_back(self) -> None:
        """Let every function do its own again."""
        while self._made:
            function, before, (_, replacement) = self._made.pop()
            function.call = before
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(replacement))
