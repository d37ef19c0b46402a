"""What a YAML file may cost to read.

A reader of YAML can be kept busy for hours by a small file: libyaml ends the process on deep
nesting, PyYAML takes 10 microseconds for each node, doubles with each merge key, and reads a
number to the base 60 in time that grows with the square of its digits. So a text is measured by
its events, which cost little, before anything is built of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 16 * 2**20
# A recorded poll has about 55 nodes, so this is a recording of 1800 polls.
MOST_NODES = 100_000
# Comments and blank lines, which are searched for secrets as the rest is.
_MOST_OUTSIDE = 2**18
_DEEPEST = 50
_MOST_DIGITS = 1000
_DIGITS = frozenset("0123456789+-_.:eE")
_MERGE_TAG = "tag:yaml.org,2002:merge"


class LimitError(ValueError):
    """A text is larger or more tangled than what is read. Its text says how; nothing is quoted."""


def check_size(size: int) -> None:
    """Raise ``LimitError`` for a file of more than ``MOST_BYTES``."""
    if size > MOST_BYTES:
        raise LimitError(f"it has {size} bytes; at most {MOST_BYTES} are read")


def check_limits(text: str, *, most_nodes: int = MOST_NODES) -> int:
    """How many nodes a YAML text has. Raises ``LimitError`` for a text that takes too long to read.

    Raises PyYAML's errors for what is no YAML.
    """
    import yaml

    check_size(len(text))
    depth = nodes = inside = 0
    for event in _events(text):
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > most_nodes:
            raise LimitError(f"it has more than {most_nodes} nodes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise LimitError(f"it nests deeper than {_DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent):
            begin, end = event.start_mark, event.end_mark
            inside += end.index - begin.index if begin and end else 0
            _check_scalar(event.value, event.tag, plain=event.implicit[0])
    # A node has its indentation, its `- ` and its `: ` around it.
    if len(text) - inside > _MOST_OUTSIDE + nodes * _DEEPEST:
        raise LimitError(f"it has more than {_MOST_OUTSIDE} characters of comments and blanks")
    return nodes


def _events(text: str) -> Iterator[Any]:
    import yaml

    try:
        yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem):  # newer libyaml has a limit of its own
            raise LimitError(f"it nests deeper than {_DEEPEST}") from None
        raise


def _check_scalar(value: str, tag: str | None, *, plain: bool) -> None:
    if tag == _MERGE_TAG or (plain and value == "<<"):
        raise LimitError("it holds a YAML merge key (`<<`), which is not read")
    is_typed = plain or tag is not None
    if is_typed and len(value) > _MOST_DIGITS and _DIGITS.issuperset(value):
        raise LimitError(f"it holds a number of more than {_MOST_DIGITS} digits")
