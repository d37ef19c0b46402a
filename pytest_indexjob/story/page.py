"""The report: one HTML file with the stories of all tests of a run. It needs no network.

What tests recorded is hostile until shown otherwise: it is text everywhere, by autoescape in the
page and by escapes in the data, and the page's Content-Security-Policy lets nothing run or load but
the script and style it was written with.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.api.knowledge_bases import DatabaseStatus
from pytest_indexjob.api.outcomes import OUTCOMES, IndexingJobPhase, IndexingJobStatus, quality
from pytest_indexjob.durations import duration_text
from pytest_indexjob.whole_file import write_whole

# Limits of the file, in characters: beyond them a test keeps the ends of its story, and a body is
# left out.
_MOST_BODIES = 4_500_000
_MOST_MOMENTS = 2_500_000
_FEW = 10

_ORDER = ("failed", "error", "xpassed", "rerun", "passed", "xfailed", "skipped")
# In the order of a job's life; a name that is not here comes after these.
_LIFE = tuple(
    dict.fromkeys(
        member.name for outcome in OUTCOMES.values() for member in (outcome.status, outcome.phase)
    )
)
_DATABASE_TONES = {
    DatabaseStatus.ONLINE: "good",
    DatabaseStatus.UNHEALTHY: "bad",
    DatabaseStatus.DECOMMISSIONED: "bad",
}
_TONES = {
    member.name: quality(member) or ("wait" if outcome is OUTCOMES["pending"] else "run")
    for outcome in OUTCOMES.values()
    for member in (outcome.status, outcome.phase)
} | {status.name: _DATABASE_TONES.get(status, "run") for status in DatabaseStatus}
_TEST_TONES = {
    "failed": "bad",
    "error": "bad",
    "xpassed": "part",
    "rerun": "part",
    "passed": "good",
}
_GROUP_TEXTS = {"http": "HTTP", "data_source": "data source", "knowledge_base": "knowledge base"}
# A JSON text in a <script> element ends at "</script" and may be taken for a comment at "<!--".
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class _Row(NamedTuple):
    """One test's line in the page."""

    outcome: str
    tone: str
    module: str
    name: str
    ending: str
    ending_tone: str
    calls: str
    duration: str


def write_report(
    path: Path,
    records: Sequence[dict[str, Any]],
    *,
    coverage: Mapping[str, Any] | None = None,
    title: str = "Indexing jobs",
) -> None:
    """Write the records of ``record.record_test`` as one self-contained HTML file, failures first.

    ``coverage`` is ``{"matrix": {status: {phase: count}}, "other": {name: count}}``, or ``None`` to
    leave it out. The file is written whole or not at all. Raises ``IndexJobError`` where Jinja2 is
    not installed, ``OSError`` where the file can't be written.
    """
    try:
        import jinja2
    except ImportError as error:
        raise IndexJobError(
            "the report needs Jinja2: pip install 'pytest-indexjob[report]'"
        ) from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["hashed"] = _hashed
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text("utf-8"))
    ordered = sorted(records, key=lambda record: _rank(record["outcome"]))
    outcomes = Counter(record["outcome"] for record in ordered)
    page = template.render(
        title=title,
        rows=[_row(record) for record in ordered],
        outcomes=[(outcome, outcomes[outcome]) for outcome in sorted(outcomes, key=_rank)],
        calls=sum(record["calls"] for record in ordered),
        coverage=_coverage(coverage) if coverage is not None else None,
        data=_data(ordered),
    )
    # As bytes, because the hashes in the page's policy hold for these line ends only. A lone
    # surrogate in a test's name is replaced.
    write_whole(path, page.encode("utf-8", "replace"))


def _rank(outcome: str) -> int:
    # An outcome of another plugin may be bad news, so it comes before the good.
    return _ORDER.index(outcome) if outcome in _ORDER else _ORDER.index("rerun")


def _hashed(text: str) -> str:
    digest = hashlib.sha256(str(text).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# What the page shows at once.


def _row(record: dict[str, Any]) -> _Row:
    base, bracket, parameters = record["nodeid"].partition("[")
    module, colons, name = base.rpartition("::")
    # The last known status of the job; if no answer held a job, the last answer.
    moments = [moment for moment in record["moments"] if moment["status"]] or record["moments"]
    last = max(enumerate(moments), key=lambda pair: (pair[1]["until"], pair[0]), default=None)
    told = last[1] if last else {}
    ending = next((told[name] for name in ("status", "database", "counts") if told.get(name)), "")
    calls = record["calls"]
    return _Row(
        record["outcome"],
        _TEST_TONES.get(record["outcome"], "wait"),
        module + colons,
        name + bracket + parameters,
        ending,
        _TONES.get(ending, "wait"),
        f"{calls:,} call{'' if calls == 1 else 's'}",
        _real_time(record["duration"]),
    )


def _real_time(seconds: float) -> str:
    return duration_text(round(seconds, 2 if seconds < 60 else 0))


def _coverage(coverage: Mapping[str, Any]) -> dict[str, Any]:
    """The matrix with every status and phase of the contract.

    Values that the contract does not list come after them.
    """
    matrix: Mapping[str, Mapping[str, int]] = coverage.get("matrix") or {}
    statuses = sorted((status.name for status in IndexingJobStatus), key=_place_in_life)
    phases = sorted((phase.name for phase in IndexingJobPhase), key=_place_in_life)
    statuses += [status for status in matrix if status not in statuses]
    phases += list(
        dict.fromkeys(phase for row in matrix.values() for phase in row if phase not in phases)
    )
    rows = [
        (status, [matrix.get(status, {}).get(phase, 0) for phase in phases]) for status in statuses
    ]
    # The matrix shows statuses and phases of jobs already.
    other = [
        (_item_text(name), count)
        for name, count in (coverage.get("other") or {}).items()
        if not name.startswith(("status:", "phase:"))
    ]
    return {"phases": phases, "rows": rows, "other": other}


def _item_text(name: str) -> str:
    """An item of coverage as people write it: ``http:429`` is HTTP 429."""
    group, colon, rest = name.partition(":")
    return f"{_GROUP_TEXTS.get(group, group)}{' ' if colon else ''}{rest}"


def _place_in_life(name: str) -> int:
    return _LIFE.index(name) if name in _LIFE else len(_LIFE)


# The page's script reads this when a reader opens a test.


class _Pool:
    """Distinct values, each named by its index.

    The file has a limit, so there may be no more room for one.
    """

    def __init__(self, room: int | None = None) -> None:
        self.items: list[str] = []
        self._indices: dict[str, int] = {}
        self._room = room

    def index(self, item: str) -> int:
        """The index of a value; -2 if there is no room for it."""
        if item not in self._indices:
            if self._room is not None:
                size = len(item) + item.count('"')  # quotes are escaped
                if size > self._room:
                    return -2
                self._room -= size
            self._indices[item] = len(self.items)
            self.items.append(item)
        return self._indices[item]


# A moment is a list in this order; texts are indices into the strings.
_TEXTS = (
    "call",
    "http",
    "phase",
    "status",
    "counts",
    "note",
    "kind",
    "lane",
    "job",
    "knowledge_base",
    "database",
)
_COLUMNS = ("at", "until", "times", *_TEXTS, "files", "sent", "answer", "ats")


def _data(records: Sequence[dict[str, Any]]) -> str:
    """The records as a JSON text that can stand in a script element.

    Most strings repeat, so each is there once.
    """
    strings, bodies = _Pool(), _Pool(_MOST_BODIES)
    tests, room = [], _MOST_MOMENTS
    for record in records:
        moments = list(_moments(record, strings, bodies))
        left_out, gap_after = record["left_out"], record["gap_after"]
        size = sum(40 + len(str(moment[-1])) for moment in moments)
        if size > room and len(moments) > _FEW:
            left_out += len(moments) - _FEW
            moments, gap_after = moments[: _FEW // 2] + moments[-_FEW // 2 :], _FEW // 2
        room -= size if size <= room else 0
        reason = strings.index(record["reason"])
        tests.append([record["nodeid"], record["until"], left_out, gap_after, moments, reason])
    data = {
        "strings": strings.items,
        "bodies": bodies.items,
        "tests": tests,
        "tones": _TONES,
        "columns": _COLUMNS,
        "texts": _TEXTS,
    }
    text = json.dumps(data, separators=(",", ":"))
    return text.translate(_IN_SCRIPT)


def _moments(record: dict[str, Any], strings: _Pool, bodies: _Pool) -> Iterator[list[Any]]:
    texts = record["bodies"]
    for moment in record["moments"]:
        sent, answer = (
            -1 if index is None else bodies.index(texts[index])
            for index in (moment["sent"], moment["answer"])
        )
        yield [
            moment["at"],
            moment["until"],
            moment["times"],
            *(strings.index(moment[name]) for name in _TEXTS),
            moment["files"] or 0,
            sent,
            answer,
            _spacing(moment["ats"]),
        ]


def _spacing(ats: list[float]) -> list[float] | int:
    """The times of the calls; 0 if they are even, as the first, the last and their number tell."""
    if len(ats) < 3:
        return 0
    step = (ats[-1] - ats[0]) / (len(ats) - 1)
    is_even = all(abs(ats[0] + step * at - each) < 0.01 for at, each in enumerate(ats))
    return 0 if is_even else ats
