"""The story of one test as text for a terminal."""

from __future__ import annotations

import contextlib
import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_indexjob.api.calls import API_ROOT, JOBS_PATH
from pytest_indexjob.api.outcomes import IndexingJobStatus, quality
from pytest_indexjob.durations import duration_text
from pytest_indexjob.exchange import Exchange
from pytest_indexjob.story.moments import (
    Moment,
    Reader,
    Redact,
    first_and_last,
    printable,
    story,
)

_MOST_LINES = 60
_MOST_BODY_LINES = 20
_LEAST_WIDTH = 30


class _Line(NamedTuple):
    time: str
    call: str
    status: str
    phase: str
    summary: str  # stands in the place of status and phase where the answer held no job
    times: str
    rest: tuple[str, ...]
    color: str


_COLORS = {"good": "32", "part": "33", "bad": "31", "dim": "2"}


def story_text(
    exchanges: Sequence[Exchange],
    sleeps: Sequence[tuple[float, float]] = (),
    *,
    redact: Redact,
    width: int = 80,
    color: bool = False,
    verbose: bool = False,
) -> str:
    """The story for a terminal: a line for each change, and the last answer.

    No line is wider than ``width`` (30 at the least); what does not fit goes on an indented line
    below. ``color`` adds ANSI colors. ``verbose`` leaves nothing out.
    """
    width = max(width, _LEAST_WIDTH)
    moments = story(exchanges, sleeps, redact=redact)
    if not moments:
        return "no calls"
    shown = moments if verbose else first_and_last(moments, _MOST_LINES)
    laid_out = list(_laid_out([_line(moment) for moment in shown], width, color))
    if len(shown) < len(moments):
        laid_out.insert(
            _MOST_LINES // 2, [_cut(f"... {len(moments) - len(shown)} changes left out", width)]
        )
    lines = [line for rows in laid_out for line in rows]
    if exchanges:
        lines += ["", *_last_answer(exchanges[-1], Reader(redact), width, verbose)]
    return "\n".join(lines)


_ROOT = re.compile(rf" (?:{JOBS_PATH}/(?=.)|{API_ROOT})")


def _line(moment: Moment) -> _Line:
    call = _ROOT.sub(" …/", moment.call)
    # A summary begins with the HTTP status where that is an error's.
    http = "" if moment.http == "200" or moment.counts.startswith(moment.http) else moment.http
    times = f"× {moment.times}" if moment.times > 1 and moment.call else ""  # noqa: RUF001
    summary, counts = (
        ("", moment.counts) if moment.status else (f"{http} {moment.counts}".strip(), "")
    )
    rest = tuple(cell for cell in (http if moment.status else "", counts, moment.note) if cell)
    return _Line(
        duration_text(moment.at),
        call,
        moment.status,
        moment.phase,
        summary,
        times,
        rest,
        _color(moment),
    )


def _color(moment: Moment) -> str:
    if "fault: " in moment.note or "miss: " in moment.note or moment.http.startswith("4"):
        return "bad"
    known = IndexingJobStatus.__members__.get(moment.status)
    end = quality(known) if known else ""
    return "part" if not end and moment.note.startswith("retry") else end


def _laid_out(lines: Sequence[_Line], width: int, color: bool) -> Iterator[list[str]]:
    """Lines in columns: time, call, status and phase (or a summary), times, and the rest.

    What does not fit in the width goes on a line below.
    """
    time, call, status = (
        max(map(_width, column)) for column in zip(*(line[:3] for line in lines), strict=True)
    )
    call = min(call, max(width // 3, 12))
    whats = [
        f"{line.status:<{status}}  {line.phase}" if line.status else line.summary for line in lines
    ]
    # A long summary is no reason to move what belongs to the others.
    phases = [_width(what) for what, line in zip(whats, lines, strict=True) if line.status]
    what_width = max(phases, default=max(map(_width, whats)))
    for line, what in zip(lines, whats, strict=True):
        cells = [
            line.time.rjust(time),
            _padded(_cut_middle(line.call, call), call),
            _padded(what, what_width),
        ]
        painted = ["dim", "", line.color]
        for cell in (line.times, *line.rest):
            if cell:
                cells.append(cell)
                painted.append(line.color)
        yield list(_wrapped(cells, painted if color else [""] * len(cells), width, time + 2))


def _wrapped(
    cells: Sequence[str], painted: Sequence[str], width: int, indent: int
) -> Iterator[str]:
    """One line of cells, or several where they don't fit in one: the others are indented."""
    row, used = "", 0
    for cell, name in zip(cells, painted, strict=True):
        stripped = cell.rstrip()
        if used and stripped and used + _width(stripped) > width:
            yield row.rstrip()
            row, used = " " * indent, indent
            # What doesn't fit in a line of its own either is broken between words.
            *whole, stripped = textwrap.wrap(stripped, width - indent) or [""]
            yield from (" " * indent + _painted(_cut(part, width - indent), name) for part in whole)
            cell = _cut(stripped, width - indent)  # noqa: PLW2901
        row += _painted(cell, name) + "  "
        used += _width(cell) + 2
    yield row.rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - _width(text))


def _painted(text: str, name: str) -> str:
    bare = text.rstrip()
    return f"\x1b[{_COLORS[name]}m{bare}\x1b[0m{text[len(bare) :]}" if name and bare else text


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(each) in "WF" else not unicodedata.combining(each)
        for each in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[: min(len(text) - 1, max(width, 0))]
    return f"{text}…" if width > 0 else ""


def _cut_middle(text: str, width: int) -> str:
    """A call without the middle of its path: the method and the end tell the most."""
    method, _, path = text.partition(" ")
    room = width - len(method) - 2
    return text if _width(text) <= width or room < 4 else f"{method} …{path[-room:].lstrip('…')}"


def _last_answer(exchange: Exchange, reader: Reader, width: int, verbose: bool) -> Iterator[str]:
    response = exchange.response
    if response is None:
        yield _cut(f"the last call had no answer: {reader.read(exchange).http}", width)
        return
    yield _cut(
        f"the last answer, {response.status} {reader.plain(response.phrase, 40)}".rstrip() + ":",
        width,
    )
    lines = _pretty(reader.body(response.body))
    shown = lines if verbose else lines[:_MOST_BODY_LINES]
    for line in shown:
        text = printable(line, len(line) + 1)
        yield text if verbose else _cut(text, width)
    if len(shown) < len(lines):
        left = len(lines) - len(shown)
        yield _cut(f"... {left} more line{'' if left == 1 else 's'}", width)


def _pretty(text: str) -> list[str]:
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text.splitlines() or ["(an empty body)"]
