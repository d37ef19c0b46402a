"""The story of one test, read from its journal: when was what asked, what was answered, and what changed.

Pure functions over frozen values. The same story has three forms: moments, text for a terminal, and
a record that travels between processes and that the report draws. None of them shows a secret: each
takes ``redact``, which is given every text of an exchange before it is cut or laid out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pytest_indexjob.api.answers import Answer, read
from pytest_indexjob.api.calls import API_ROOT, JOBS_PATH, CallMatch, api_path, match
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.api.outcomes import IndexingJobStatus, quality
from pytest_indexjob.exchange import Exchange, Request, Response, TransportFault, shown_url

# What a record may hold, so that a test that polls for ever does not fill the memory of the run.
_MOST_MOMENTS = 500
_MOST_MARKS = 2_000
_LONGEST_BODY = 16_000
_MOST_BODIES = 400_000  # characters of all bodies of one test
# What a text may hold.
_MOST_LINES = 60
_MOST_BODY_LINES = 20
_LEAST_WIDTH = 30

# Answers after which clients send the same request again. 409 is one: the official client retries
# it.
_RETRIED = frozenset((408, 409, 429))
_UUID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)

Redact = Callable[[str], str]


class Moment(NamedTuple):
    """One change in a test's story: an exchange, and the equal ones after it, as far as they are one line.

    ``at`` and ``until`` are the seconds of its first and its last exchange, ``times`` their number.
    ``http`` is the answer's status, or the name of what came instead of an answer. ``phase`` and
    ``status`` are empty where the answer held no job; ``counts`` is then a short summary of what it
    held. ``note`` says what was special: ``retry``, ``fault: ...``, ``slept 5 s`` (before it). A
    moment without ``call`` is a sleep after the last exchange.
    """

    at: float
    call: str
    http: str
    phase: str
    status: str
    counts: str
    times: int
    until: float
    note: str


class _Reading(NamedTuple):
    """What one answer says, as far as equal ones are one moment."""

    http: str
    phase: str = ""
    status: str = ""
    counts: str = ""
    fault: str = ""
    retried: bool = False  # whether the same request after it is a retry
    job: str = ""
    files: tuple[int, int, int] | None = None  # indexed and all files, failed items

    @property
    def is_calm(self) -> bool:
        return not self.fault and not self.retried


@dataclasses.dataclass(slots=True)
class _Fold:
    """Equal exchanges while they are gathered."""

    call: str
    reading: _Reading
    retry: bool
    last: Exchange
    ats: list[float]
    slept: list[float]

    def add(self, exchange: Exchange, slept: float) -> None:
        self.last = exchange
        self.ats.append(exchange.at)
        if slept:
            self.slept.append(slept)

    @property
    def note(self) -> str:
        parts = ["retry"] if self.retry else []
        parts += [f"fault: {self.reading.fault}"] if self.reading.fault else []
        parts += [_slept(self.slept)] if self.slept else []
        return ", ".join(parts)

    @property
    def moment(self) -> Moment:
        reading = self.reading
        return Moment(
            self.ats[0],
            self.call,
            reading.http,
            reading.phase,
            reading.status,
            reading.counts,
            len(self.ats),
            max(self.ats),
            self.note,
        )

    @property
    def kind(self) -> str:
        if self.reading.fault:
            return "fault"
        if self.reading.http.startswith("4"):
            return "error"
        return "retry" if self.retry else "ok"


# The story.


def story(
    exchanges: Sequence[Exchange], sleeps: Sequence[tuple[float, float]] = (), *, redact: Redact
) -> list[Moment]:
    """The moments of a test, in the order in which they began; ``sleeps`` are pairs of moment and duration.

    Equal polls in a row are one moment. A row is that of one request: a test that asks for two jobs
    in turn has a moment for each. Faults, retries and calls that change something end every row.
    """
    folds, last = _folded(exchanges, sleeps, _Reader(redact))
    moments = [fold.moment for fold in folds]
    if last:
        at = last[0][0]
        until = max(began + seconds for began, seconds in last)
        note = _slept([sum(seconds for _, seconds in last)])
        moments.append(Moment(at, "", "", "", "", "", len(last), until, note))
    return moments


def _folded(
    exchanges: Sequence[Exchange], sleeps: Sequence[tuple[float, float]], reader: _Reader
) -> tuple[list[_Fold], list[tuple[float, float]]]:
    """The folds, and the sleeps after the last exchange."""
    folds: list[_Fold] = []
    rows: dict[tuple[str, str, bytes], _Fold] = {}
    retried: set[tuple[str, str, bytes]] = set()
    waiting = sorted((pair for pair in sleeps if pair[1] > 0), reverse=True)
    for exchange in exchanges:
        slept = 0.0
        while waiting and waiting[-1][0] < exchange.at:
            slept += waiting.pop()[1]
        key = exchange.request.method, exchange.request.url, exchange.request.body
        reading, retry = reader.read(exchange), key in retried
        (retried.add if reading.retried else retried.discard)(key)
        is_calm = reading.is_calm and not retry and key[0] == "GET"
        row = rows.get(key)
        if row and (row.reading, row.retry) == (reading, retry) and (is_calm or row is folds[-1]):
            row.add(exchange, slept)
            continue
        folds.append(
            _Fold(
                reader.call(exchange.request),
                reading,
                retry,
                exchange,
                [exchange.at],
                [slept] if slept else [],
            )
        )
        if not is_calm:
            rows.clear()
        rows[key] = folds[-1]
    return folds, waiting[::-1]


def _slept(durations: Sequence[float]) -> str:
    shortest, longest = _seconds(min(durations)), _seconds(max(durations))
    return f"slept {longest} s" if shortest == longest else f"slept {shortest} to {longest} s"


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _safe_url(url: str) -> str:
    try:
        return shown_url(url)
    except ValueError:
        return "(a URL that can't be read)"


class _Reader:
    """Reads the exchanges of one test; what it gives holds no secret, and nothing that a terminal obeys."""

    def __init__(self, redact: Redact) -> None:
        # Calls, statuses and notes repeat themselves, and a redaction takes its time. A URL's query
        # may be a signature under whatever name.
        self._redact = functools.cache(
            lambda text: redact(_URL.sub(lambda match: _safe_url(match[0]), text))
        )
        self._known: dict[tuple[Any, ...], _Reading] = {}

    def plain(self, text: str, longest: int) -> str:
        """A text as one line, cut to a number of characters."""
        return _printable(self._redact(text) if text else "", longest)

    def body(self, body: bytes) -> str:
        """A body as text, whole; JSON without its blanks."""
        text = self._redact(body.decode("utf-8", "replace"))
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
        # A lone surrogate can be written in JSON's escapes, but neither sent to another process nor
        # to a file.
        return text.encode("utf-8", "replace").decode("utf-8")

    def call(self, request: Request) -> str:
        """Method and path of a request."""
        # The host says nothing where it is the API's, or stands for it.
        path = re.sub(r"\Ahttps?://[^/]*(?=/v2/)", "", _safe_url(request.url))
        return self.plain(f"{request.method} {_UUID.sub(lambda match: match[1] + '…', path)}", 200)

    def read(self, exchange: Exchange) -> _Reading:
        """The reading of an exchange.

        Polls mostly repeat themselves, so each answer is read once.
        """
        response = exchange.response
        if response is None:
            return self._error(exchange.error)
        is_call = "/v2/" in exchange.request.url
        headers = response.header("content-type"), response.header("retry-after")
        key = response.status, response.body, response.delay, response.cut_after, headers, is_call
        if key not in self._known:
            self._known[key] = self._answer(response, is_call)
        return self._known[key]

    def _error(self, error: Exception | None) -> _Reading:
        if isinstance(error, TransportFault):
            return _Reading(error.kind, counts="no answer", fault=error.kind, retried=True)
        name = type(error).__name__ if error is not None else "none"
        first_line = str(error or "").partition("\n")[0]
        text = f"{name}: {self.plain(first_line, 100)}" if first_line else name
        return _Reading(name, counts="no answer", fault=text, retried=True)

    def _answer(self, response: Response, is_call: bool) -> _Reading:
        http = str(response.status)
        fault = self._fault(response)
        retried = response.status in _RETRIED or response.status >= 500
        if response.cut_after is not None:
            return _Reading(http, counts="cut short", fault=fault, retried=True)
        answer = read(None, response.status, response.plain_body or b"")
        if not answer.is_json:
            is_broken = is_call and response.status < 300
            summary = self._bytes_summary(response)
            if response.status >= 300:
                summary = f"{http} {self.plain(response.phrase, 40)}".rstrip()
            fault = ", ".join(part for part in (fault, "not JSON" if is_broken else "") if part)
            return _Reading(http, counts=summary, fault=fault, retried=retried or is_broken)
        if response.status >= 300:
            return _Reading(
                http, counts=self._error_summary(response, answer), fault=fault, retried=retried
            )
        if answer.fields.get("job") is None:
            return _Reading(http, counts=self._summary(answer), fault=fault, retried=retried)
        if answer.job is None:
            return _Reading(http, counts="not a job", fault=fault)
        return self._job(http, answer.job, fault)

    def _job(self, http: str, job: IndexingJob, fault: str) -> _Reading:
        files = job.indexed_file_count, job.total_file_count, job.failed_item_count
        return _Reading(
            http,
            self.plain(job.phase.name, 40),
            self.plain(job.status.name, 40),
            _counts(job),
            fault,
            job=self.plain(job.uuid, 40),
            files=files if any(files) else None,
        )

    def _fault(self, response: Response) -> str:
        parts = []
        if response.status == 429:
            wait = self.plain(response.header("retry-after"), 40)
            parts.append(
                f"rate limit, retry-after {wait}{' s' if wait.isdigit() else ''}"
                if wait
                else "rate limit"
            )
        elif response.status >= 500:
            parts.append("server error")
        if response.delay:
            parts.append(f"answered after {_seconds(response.delay)} s")
        if response.cut_after is not None:
            parts.append(f"cut after {response.cut_after} of {len(response.body)} bytes")
        return ", ".join(parts)

    def _summary(self, answer: Answer) -> str:
        if not isinstance(answer.json, dict):
            return "not a job"
        body = answer.fields
        if isinstance(body.get("jobs"), list):
            jobs = _number(len(body["jobs"]), "job")
            meta = body.get("meta")
            page, pages = (
                meta.get(name) if isinstance(meta, dict) else None for name in ("page", "pages")
            )
            return (
                f"page {page} of {pages} · {jobs}"
                if isinstance(page, int) and isinstance(pages, int)
                else jobs
            )
        if isinstance(body.get("indexed_data_sources"), list):
            return _number(len(body["indexed_data_sources"]), "data source")
        if "signed_url" in body:
            return "a signed URL"
        return self.plain(f"no job ({', '.join(body)})" if body else "no job", 60)

    def _error_summary(self, response: Response, answer: Answer) -> str:
        id = answer.error.id if answer.error else ""
        return self.plain(f"{response.status} {id or response.phrase}", 60).rstrip()

    def _bytes_summary(self, response: Response) -> str:
        if not response.body.strip():
            return "an empty body"
        sort = self.plain(response.header("content-type").partition(";")[0], 40)
        size = _number(len(response.body), "byte")
        return (
            f"{size} of {sort}" if sort and sort != "application/json" else f"broken JSON, {size}"
        )


def _counts(job: IndexingJob) -> str:
    parts = []
    if job.total_file_count or job.indexed_file_count:
        parts.append(f"{job.indexed_file_count}/{job.total_file_count} files")
    for name in ("failed", "skipped", "removed"):
        count = getattr(job, f"{name}_item_count")
        if count:
            parts.append(f"{count} {name}")
    if job.total_datasources > 1:
        parts.append(f"{job.completed_datasources}/{job.total_datasources} sources")
    return " · ".join(parts)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _printable(text: str, longest: int) -> str:
    """One line without what a terminal would obey, cut to a number of characters."""
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return (
        text
        if text.isprintable()
        else "".join(each if each.isprintable() else "�" for each in text)
    )


# The story as text.


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
    shown = moments if verbose else _ends(moments, _MOST_LINES)
    laid_out = list(_laid_out([_line(moment) for moment in shown], width, color))
    if len(shown) < len(moments):
        laid_out.insert(
            _MOST_LINES // 2, [_cut(f"... {len(moments) - len(shown)} changes left out", width)]
        )
    lines = [line for rows in laid_out for line in rows]
    if exchanges:
        lines += ["", *_last_answer(exchanges[-1], _Reader(redact), width, verbose)]
    return "\n".join(lines)


def _ends(items: Sequence[Any], most: int) -> list[Any]:
    """The first and the last ones, half of each, where there are too many."""
    return (
        list(items)
        if len(items) <= most
        else [*items[: most // 2], *items[len(items) - most // 2 :]]
    )


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
        f"{_seconds(moment.at)} s",
        call,
        moment.status,
        moment.phase,
        summary,
        times,
        rest,
        _color(moment),
    )


def _color(moment: Moment) -> str:
    if "fault: " in moment.note or moment.http.startswith("4"):
        return "bad"
    known = IndexingJobStatus.__members__.get(moment.status)
    end = quality(known) if known else ""
    return "part" if not end and moment.note.startswith("retry") else end


def _laid_out(lines: Sequence[_Line], width: int, color: bool) -> Iterator[list[str]]:
    """Lines in columns, as far as the width goes: time, call, status and phase or a summary, times; then the rest."""
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


def _last_answer(exchange: Exchange, reader: _Reader, width: int, verbose: bool) -> Iterator[str]:
    response = exchange.response
    if response is None:
        yield _cut(f"the last call had no answer: {reader.read(exchange).fault}", width)
        return
    yield _cut(
        f"the last answer, {response.status} {reader.plain(response.phrase, 40)}".rstrip() + ":",
        width,
    )
    lines = _pretty(reader.body(response.body))
    shown = lines if verbose else lines[:_MOST_BODY_LINES]
    for line in shown:
        text = _printable(line, len(line) + 1)
        yield text if verbose else _cut(text, width)
    if len(shown) < len(lines):
        yield _cut(f"... {len(lines) - len(shown)} more lines", width)


def _pretty(text: str) -> list[str]:
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text.splitlines() or ["(an empty body)"]


# The story as a record.


def test_record(
    nodeid: str,
    outcome: str,
    duration: float,
    exchanges: Sequence[Exchange],
    sleeps: Sequence[tuple[float, float]] = (),  # noqa: PT028  # not a test
    *,
    redact: Redact,
) -> dict[str, Any]:
    """One test as a JSON object, for the report.

    In a test module, import the module it is in: pytest takes a function of this name for a test.

    The record is bounded, however often the test polled: equal exchanges are one moment, with the
    last one's body; bodies are kept once, ``sent`` and ``answer`` are indices into ``bodies`` or
    ``None``; ``left_out`` counts the moments that are missing after the first ``gap_after``.
    """
    reader = _Reader(redact)
    folds, last = _folded(exchanges, sleeps, reader)
    kept = _ends(folds, _MOST_MOMENTS)
    bodies = _Bodies(reader)
    most_marks = max(2, _MOST_MARKS // max(len(kept), 1))
    ends = [0.0, *(each.at for each in exchanges), *(began + seconds for began, seconds in last)]
    return {
        "nodeid": _printable(nodeid, 2_000),
        "outcome": _printable(outcome, 40),
        "duration": round(duration, 6),
        "calls": len(exchanges),
        "slept": round(sum(seconds for _, seconds in sleeps), 3),
        "until": round(max(ends), 3),
        "left_out": len(folds) - len(kept),
        "gap_after": _MOST_MOMENTS // 2 if len(kept) < len(folds) else 0,
        "moments": [_moment_record(fold, bodies, most_marks) for fold in kept],
        "bodies": bodies.texts,
    }


class _Bodies:
    """The distinct bodies of a test."""

    def __init__(self, reader: _Reader) -> None:
        self.texts: list[str] = []
        self._reader = reader
        self._room = _MOST_BODIES
        self._known: dict[bytes, int | None] = {}

    def index(self, body: bytes) -> int | None:
        """Where a body is kept, or ``None`` for an empty one and where there is no more room."""
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


def _moment_record(fold: _Fold, bodies: _Bodies, most_marks: int) -> dict[str, Any]:
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
        "files": list(fold.reading.files) if fold.reading.files else None,
        "sent": bodies.index(fold.last.request.body),
        "answer": bodies.index(_arrived(response)) if response else None,
    }


def _arrived(response: Response) -> bytes:
    return response.body if response.cut_after is None else response.body[: response.cut_after]


# What a call is named on the page, where its short name would not do.
_LANES = {
    "jobs.data_sources": "sources",
    "jobs.details_signed_url": "report URL",
    "jobs.list_for_knowledge_base": "list",
}


def _lane(request: Request) -> str:
    found = match(request.method, api_path(request.url).rstrip("/"))
    return (
        _LANES.get(found.call.name, found.call.short_name)
        if isinstance(found, CallMatch)
        else "other"
    )
