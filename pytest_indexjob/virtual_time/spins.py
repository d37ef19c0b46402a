"""Loops that only look, such as ``while not event.is_set(): pass``: they wait for somebody else.

A loop that stores nothing, iterates over nothing and calls only functions that look changes
nothing itself. So it is no work, however busy it is.
"""

from __future__ import annotations

import dis
import functools
import os
from pathlib import Path
from types import CodeType, FrameType

# Functions and methods that tell a state and change nothing.
_LOOKS = frozenset(
    (
        *("is_set", "is_alive", "locked", "empty", "full", "qsize", "done", "running", "cancelled"),
        *("len", "bool", "isinstance", "getattr", "hasattr", "get_ident"),
    )
)
_OPERATIONS = frozenset(
    (
        *("NOP", "RESUME", "CACHE", "EXTENDED_ARG", "PUSH_NULL", "PRECALL", "KW_NAMES", "TO_BOOL"),
        *("COMPARE_OP", "IS_OP", "CONTAINS_OP", "UNARY_NOT", "BINARY_SUBSCR", "BINARY_OP"),
        *("POP_TOP", "COPY", "SWAP", "NOT_TAKEN", "RETURN_VALUE", "RETURN_CONST"),
    )
)
_LIBRARIES = (str(Path(os.__file__).parent), str(Path(__file__).parent))


def place_of(frame: FrameType) -> tuple[int, int]:
    """What stays equal while a thread stays where it is: it sits there, or its loop only looks."""
    looking = looking_frame(frame)
    return (id(frame), frame.f_lasti) if looking is None else (id(looking), -1)


def looking_frame(frame: FrameType) -> FrameType | None:
    """The frame of the user's whose loop only looks, or ``None``."""
    user: FrameType | None = frame
    while user is not None and user.f_code.co_filename.startswith(_LIBRARIES):
        if "site-packages" in user.f_code.co_filename:
            break
        user = user.f_back
    if user is None:
        return None
    here = user.f_lasti
    return user if any(begin <= here <= end for begin, end in _loops(user.f_code)) else None


@functools.lru_cache(maxsize=1024)
def _loops(code: CodeType) -> tuple[tuple[int, int], ...]:
    """The first and the last offset of each loop that only looks."""
    instructions = [*dis.get_instructions(code)]
    return tuple(
        (jump.argval, jump.offset)
        for jump in instructions
        if "JUMP" in jump.opname
        and isinstance(jump.argval, int)
        and jump.argval < jump.offset
        and _only_looks(
            [each for each in instructions if jump.argval <= each.offset <= jump.offset]
        )
    )


def _only_looks(instructions: list[dis.Instruction]) -> bool:
    calls = sum(each.opname == "CALL" for each in instructions)
    looks = sum(_is_called(each) and each.argval in _LOOKS for each in instructions)
    return calls == looks and all(
        each.opname in _OPERATIONS or each.opname == "CALL" or _moves_on(each.opname)
        for each in instructions
    )


def _is_called(load: dis.Instruction) -> bool:
    """Whether a function or a method is loaded for a call, not a value of the same name."""
    return load.opname == "LOAD_METHOD" or (load.opname[:5] == "LOAD_" and "NULL" in load.argrepr)


def _moves_on(operation: str) -> bool:
    return operation.startswith("LOAD_") or "JUMP" in operation
