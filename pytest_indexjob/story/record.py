"""The story of one test as a record: a JSON object that travels between processes, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_indexjob.api.calls import CallMatch, api_path, match
from pytest_indexjob.exchange import Exchange, Request, Response
from pytest_indexjob.story.moments import (
    Fold,
    Reader,
    Redact,
    first_and_last,
    folded,
    printable,
    time_slept,
)

# Limits of a record, so that a test that polls for ever does not fill the memory of the run.
_MOST_MOMENTS = 500
_MOST_MARKS = 2_000
_LONGEST_BODY = 16_000
_LONGEST_REASON = 4_000
_MOST_BODIES = 400_000  # characters of all bodies of one test


def record_test(
    nodeid: str,
    outcome: str,
    duration: float,
    exchanges: Sequence[Exchange],
    sleeps: Sequence[tuple[float, float]] = (),
    *,
    reason: str = "",
    redact: Redact,
) -> dict[str, Any]:
    """One test as a JSON object, for the report. ``reason`` says why the test failed.

    The record is bounded, however often the test polled: equal exchanges are one moment, with the
    last one's body; bodies are kept once, ``sent`` and ``answer`` are indices into ``bodies`` or
    ``None``; ``left_out`` counts the moments that are missing after the first ``gap_after``.
    """
    reader = Reader(redact)
    folds, last = folded(exchanges, sleeps, reader)
    kept = first_and_last(folds, _MOST_MOMENTS)
    bodies = _Bodies(reader)
    most_marks = max(2, _MOST_MARKS // max(len(kept), 1))
    ends = [0.0, *(each.at for each in exchanges), *(began + seconds for began, seconds in last)]
    return {
        "nodeid": printable(nodeid, 2_000),
        "outcome": printable(outcome, 40),
        "reason": reader.lines(reason, _LONGEST_REASON),
        "duration": round(duration, 6),
        "calls": len(exchanges),
        "slept": round(time_slept(sleeps), 3),
        "until": round(max(ends), 3),
        "left_out": len(folds) - len(kept),
        "gap_after": _MOST_MOMENTS // 2 if len(kept) < len(folds) else 0,
        "moments": [_moment_record(fold, bodies, most_marks) for fold in kept],
        "bodies": bodies.texts,
    }


class _Bodies:
    """The distinct bodies of a test."""

    def __init__(self, reader: Reader) -> None:
        self.texts: list[str] = []
        self._reader = reader
        self._room = _MOST_BODIES
        self._known: dict[bytes, int | None] = {}

    def index(self, body: bytes) -> int | None:
        """The index of a body; ``None`` if it is empty or there is no room for it."""
        if not body.strip():
            return None
        if body not in self._known:
            self._known[body] = self._keep(self._reader.body(body))
        return self._known[body]

    def _keep(self, text: str) -> int | None:
        if len(text) > _LONGEST_BODY:
            text = f"{text[:_LONGEST_BODY]}… {len(text) - _LONGEST_BODY} more characters"
        if len(text) > self._room:
            return None
        self._room -= len(text)
        self.texts.append(text)
        return len(self.texts) - 1


def _moment_record(fold: Fold, bodies: _Bodies, most_marks: int) -> dict[str, Any]:
    response = fold.last.response
    step = -(-len(fold.ats) // most_marks)
    return {
        **fold.moment._asdict(),
        "at": round(fold.ats[0], 3),
        "until": round(max(fold.ats), 3),
        "ats": [round(at, 3) for at in fold.ats[::step]],
        "kind": fold.kind,
        "lane": _lane(fold.last.request),
        "job": fold.reading.job,
        "knowledge_base": fold.reading.knowledge_base,
        "database": fold.reading.database,
        "files": list(fold.reading.files) if fold.reading.files else None,
        "sent": bodies.index(fold.last.request.body),
        "answer": bodies.index(_arrived(response)) if response else None,
    }


def _arrived(response: Response) -> bytes:
    return response.body if response.cut_after is None else response.body[: response.cut_after]


# The page's names of calls whose short names say too little.
_LANES = {
    "jobs.data_sources": "sources",
    "jobs.details_signed_url": "report URL",
    "jobs.list_for_knowledge_base": "list",
}


def _lane(request: Request) -> str:
    found = match(request.method, api_path(request.url).rstrip("/"))
    return (
        _LANES.get(found.call.name, found.call.usual_name)
        if isinstance(found, CallMatch)
        else "other"
    )
