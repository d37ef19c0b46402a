"""The story of one test, read from its journal: what was asked when, and what was answered.

Pure functions over frozen values. Every text of an exchange goes through ``redact`` before it is
cut or laid out, so no form of the story shows a secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pytest_indexjob.api.answers import Answer, read
from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.durations import duration_text
from pytest_indexjob.exchange import Exchange, Request, Response, TransportFault, shown_url

# Answers after which clients send the same request again. 409 is one: the official client retries
# it.
_RETRIED = frozenset((408, 409, 429))
_UUID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)

# The lists of the API's answers, and what each is of.
_LISTS = {
    "jobs": "job",
    "indexed_data_sources": "data source",
    "knowledge_bases": "knowledge base",
    "knowledge_base_data_sources": "data source",
    "agents": "agent",
}

Redact = Callable[[str], str]


class Moment(NamedTuple):
    """One change in a test's story: an exchange, and the equal exchanges that follow it.

    ``at`` and ``until`` are the seconds of the first and the last exchange, ``times`` is their
    number. ``http`` is the answer's status, or the name of the error if there was no answer.
    ``phase`` and ``status`` are empty if the answer held no job; ``counts`` then sums up what the
    answer held. ``note`` says what was special: ``retry``, ``fault: ...``, ``slept 5 s`` (before
    the exchange). A moment without ``call`` is a sleep after the last exchange.
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
    """The part of an answer that the story shows. Answers with equal readings are one moment."""

    http: str
    phase: str = ""
    status: str = ""
    counts: str = ""
    fault: str = ""
    miss: str = ""  # why nothing could answer
    retried: bool = False  # whether the same request after it is a retry
    job: str = ""
    files: tuple[int, int, int] | None = None  # indexed and all files, failed items
    knowledge_base: str = ""  # its name, where the answer says how its database stands
    database: str = ""

    @property
    def is_calm(self) -> bool:
        return not self.fault and not self.miss and not self.retried


@dataclasses.dataclass(slots=True)
class Fold:
    """Equal exchanges while they are gathered."""

    call: str
    reading: _Reading
    retry: bool
    last: Exchange
    ats: list[float]
    slept: list[float]

    def add(self, exchange: Exchange, slept: float) -> None:
        """Take an exchange that is equal to the others, and how long the test slept before it."""
        self.last = exchange
        self.ats.append(exchange.at)
        if slept:
            self.slept.append(slept)

    @property
    def note(self) -> str:
        """What was special about these exchanges."""
        parts = ["retry"] if self.retry else []
        parts += [f"fault: {self.reading.fault}"] if self.reading.fault else []
        parts += [f"miss: {self.reading.miss}"] if self.reading.miss else []
        parts += [_slept(self.slept)] if self.slept else []
        return ", ".join(parts)

    @property
    def moment(self) -> Moment:
        """These exchanges as one change in the story."""
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
        """``ok``, ``retry``, ``error`` (the service refused) or ``fault``."""
        if self.reading.fault or self.reading.miss:
            return "fault"
        if self.reading.http.startswith("4"):
            return "error"
        return "retry" if self.retry else "ok"


def story(
    exchanges: Sequence[Exchange], sleeps: Sequence[tuple[float, float]] = (), *, redact: Redact
) -> list[Moment]:
    """The moments of a test, in the order in which they began.

    Answers that overlap enter a journal as they end, so the exchanges are put in order here.
    ``sleeps`` are pairs of the moment and the duration, in seconds; those that overlap are one.

    Equal polls in a row are one moment. A row is that of one request: a test that asks for two jobs
    in turn has a moment for each. Faults, retries and calls that change something end every row.
    """
    folds, last = folded(exchanges, sleeps, Reader(redact))
    moments = [fold.moment for fold in folds]
    if last:
        at = last[0][0]
        until = max(began + seconds for began, seconds in last)
        note = _slept([time_slept(last)])
        moments.append(Moment(at, "", "", "", "", "", len(last), until, note))
    return moments


def folded(
    exchanges: Sequence[Exchange], sleeps: Sequence[tuple[float, float]], reader: Reader
) -> tuple[list[Fold], list[tuple[float, float]]]:
    """The folds, and the sleeps after the last exchange."""
    folds: list[Fold] = []
    rows: dict[tuple[str, str, bytes], Fold] = {}
    retried: set[tuple[str, str, bytes]] = set()
    waiting = sorted((pair for pair in sleeps if pair[1] > 0), reverse=True)
    for exchange in sorted(exchanges, key=lambda exchange: exchange.at):
        before = []
        while waiting and waiting[-1][0] < exchange.at:
            before.append(waiting.pop())
        slept = time_slept(before)
        key = exchange.request.method, exchange.request.url, exchange.request.body
        reading, retry = reader.read(exchange), key in retried
        (retried.add if reading.retried else retried.discard)(key)
        is_calm = reading.is_calm and not retry and key[0] == "GET"
        row = rows.get(key)
        if row and (row.reading, row.retry) == (reading, retry) and (is_calm or row is folds[-1]):
            row.add(exchange, slept)
            continue
        folds.append(
            Fold(
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


def time_slept(sleeps: Sequence[tuple[float, float]]) -> float:
    """Seconds in which somebody slept: threads that sleep at the same time count once."""
    total, until = 0.0, -math.inf
    for began, seconds in sorted(sleeps):
        end = began + seconds
        # Without an overlap the sum is that of the durations themselves.
        total += seconds if began >= until else max(0.0, end - until)
        until = max(until, end)
    return total


def _slept(durations: Sequence[float]) -> str:
    shortest, longest = duration_text(min(durations)), duration_text(max(durations))
    return f"slept {longest}" if shortest == longest else f"slept {shortest} to {longest}"


def _safe_url(url: str) -> str:
    try:
        return shown_url(url)
    except ValueError:
        return "(a URL that can't be read)"


class Reader:
    """Reads the exchanges of one test.

    What it returns holds no secret, and no control character that a terminal obeys.
    """

    def __init__(self, redact: Redact) -> None:
        # Calls, statuses and notes repeat themselves, and a redaction takes its time. A URL's query
        # may be a signature under whatever name.
        self._redact = functools.cache(
            lambda text: redact(_URL.sub(lambda match: _safe_url(match[0]), text))
        )
        self._known: dict[tuple[Any, ...], _Reading] = {}

    def plain(self, text: str, longest: int) -> str:
        """A text as one line, cut to a number of characters."""
        return printable(self._redact(text) if text else "", longest)

    def lines(self, text: str, longest: int) -> str:
        """A text of several lines, cut to a number of characters."""
        shown = self._redact(text) if text else ""
        cut = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
        return "\n".join(printable(line, longest) for line in cut.splitlines())

    def body(self, body: bytes) -> str:
        """A body as text, whole; JSON without its blanks."""
        text = self._redact(body.decode("utf-8", "replace"))
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
        # JSON's escapes can hold a lone surrogate, which no file and no other process can take.
        return text.encode("utf-8", "replace").decode("utf-8")

    def call(self, request: Request) -> str:
        """Method and path of a request."""
        # Without the host if it is the API's or answers for the API.
        path = re.sub(r"\Ahttps?://[^/]*(?=/v2/)", "", _safe_url(request.url))
        return self.plain(f"{request.method} {_UUID.sub(lambda match: match[1] + '…', path)}", 200)

    def read(self, exchange: Exchange) -> _Reading:
        """The reading of an exchange.

        Polls mostly repeat themselves, so each answer is read once.
        """
        response = exchange.response
        if response is None:
            return self._error(exchange)
        is_call = "/v2/" in exchange.request.url
        headers = response.header("content-type"), response.header("retry-after")
        key = response.status, response.body, response.delay, response.cut_after, headers, is_call
        if key not in self._known:
            self._known[key] = self._answer(response, is_call)
        return self._known[key]

    def _error(self, exchange: Exchange) -> _Reading:
        error = exchange.error
        if isinstance(error, TransportFault):
            return _Reading(error.kind, counts="no answer", fault=error.kind, retried=True)
        name = type(error).__name__ if error is not None else "none"
        # The call stands in the same line of the story.
        call = f"{exchange.request.method} {shown_url(exchange.request.url)} "
        first_line = str(error or "").partition("\n")[0].removeprefix(call)
        text = f"{name}: {self.plain(first_line, 100)}" if first_line else name
        return _Reading(name, counts="no answer", miss=text, retried=True)

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
        if isinstance(answer.fields.get("knowledge_base"), dict):
            return self._knowledge_base(http, answer.fields, fault)
        if answer.fields.get("job") is None:
            return _Reading(http, counts=self._summary(answer), fault=fault, retried=retried)
        if answer.job is None:
            return _Reading(http, counts="not a job", fault=fault)
        return self._job(http, answer.job, fault)

    def _knowledge_base(self, http: str, fields: Mapping[str, Any], fault: str) -> _Reading:
        """A knowledge base by its name, with its database and its last job."""
        base = fields["knowledge_base"]
        name = self.plain(str(base.get("name") or base.get("uuid") or "without a name"), 80)
        database = self.plain(str(fields.get("database_status") or ""), 40)
        said = f"knowledge base {name}" + (f" · database {database}" if database else "")
        try:
            reading = self._job(http, IndexingJob.from_wire(base.get("last_indexing_job")), fault)
        except DecodeError:  # there was no job yet
            reading = _Reading(http, fault=fault)
        return reading._replace(
            counts=" · ".join(filter(None, (said, reading.counts))),
            knowledge_base=name if database else "",
            database=database,
        )

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
            # It may be a date as well.
            wait = duration_text(int(wait)) if wait.isdecimal() else wait
            parts.append(f"rate limit, retry-after {wait}" if wait else "rate limit")
        elif response.status >= 500:
            parts.append("server error")
        if response.delay:
            parts.append(f"answered after {duration_text(response.delay)}")
        if response.cut_after is not None:
            parts.append(f"cut after {response.cut_after} of {len(response.body)} bytes")
        return ", ".join(parts)

    def _summary(self, answer: Answer) -> str:
        if not isinstance(answer.json, dict):
            return "not a job"
        body = answer.fields
        listed = next((name for name in _LISTS if isinstance(body.get(name), list)), "")
        if listed:
            items = _number(len(body[listed]), _LISTS[listed])
            meta = body.get("meta")
            page, pages = (
                meta.get(name) if isinstance(meta, dict) else None for name in ("page", "pages")
            )
            return (
                f"page {page} of {pages} · {items}"
                if isinstance(page, int) and isinstance(pages, int)
                else items
            )
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


def printable(text: str, longest: int) -> str:
    """One line without control characters, cut to a number of characters."""
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return (
        text
        if text.isprintable()
        else "".join(each if each.isprintable() else "�" for each in text)
    )


def first_and_last(items: Sequence[Any], most: int) -> list[Any]:
    """All items, or half of ``most`` from each end if there are more than ``most``."""
    return (
        list(items)
        if len(items) <= most
        else [*items[: most // 2], *items[len(items) - most // 2 :]]
    )
