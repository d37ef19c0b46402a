"""Assertions on jobs.

They take our models, the official SDKs' objects, dicts with or without the ``job`` wrapper,
responses, and JSON as text or bytes. A knowledge base stands for its ``last_indexing_job``.

A failed assertion shows what was expected and what was there, a table of the data sources with the
offending cells marked by asterisks, and hints.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import io
import itertools
import textwrap
from collections.abc import Mapping
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pytest_indexjob.api.answers import job_in, read
from pytest_indexjob.api.calls import JOBS_PATH, KNOWLEDGE_BASES_PATH
from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.knowledge_bases import (
    SOURCE_KINDS,
    DatabaseStatus,
    KnowledgeBase,
    KnowledgeBaseDataSource,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.outcomes import (
    DataSourceStatus,
    IndexingJobPhase,
    IndexingJobStatus,
    go_together,
)
from pytest_indexjob.api.wire import WireEnum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

E = TypeVar("E", bound=WireEnum)

# The public name of each count, and the field it is.
_SOURCE_COUNTS = {
    "indexed_items": "indexed_item_count",
    "failed_items": "failed_item_count",
    "skipped_items": "skipped_item_count",
    "removed_items": "removed_item_count",
    "indexed_files": "indexed_file_count",
    "total_files": "total_file_count",
    "files": "total_file_count",  # as a scenario's override is called
    "indexed_bytes": "total_bytes_indexed",
    "total_bytes": "total_bytes",
}
_JOB_COUNTS = {
    "total_data_sources": "total_datasources",
    "data_sources": "total_datasources",  # as a scenario's override is called
    "completed_data_sources": "completed_datasources",
    "total_tokens": "total_tokens",
    "tokens": "tokens",
}
_COLUMNS = {
    "data source": "data_source_uuid",
    "status": "status",
    "files": "total_file_count",
    "indexed files": "indexed_file_count",
    "indexed": "indexed_item_count",
    "failed": "failed_item_count",
    "skipped": "skipped_item_count",
    "removed": "removed_item_count",
    "bytes": "total_bytes",
    "indexed bytes": "total_bytes_indexed",
}
_MOST_ROWS = 20
_MOST_NAMES = 5
_WRONG_WRAPPERS = ("indexing_job", "index_job")
_LISTS = (
    "jobs",
    "knowledge_bases",
    "agents",
    "indexed_data_sources",
    "knowledge_base_data_sources",
)
_KNOWN_FIELDS = frozenset(IndexingJob.kinds())
_KNOWLEDGE_BASE_FIELDS = frozenset(KnowledgeBase.kinds()) - _KNOWN_FIELDS
# The fields of answers that hold neither a job nor a knowledge base.
_OTHER_FIELDS = frozenset((*_LISTS, *SOURCE_KINDS, "knowledge_base_data_source"))


def assert_status(job: object, expected: object) -> IndexingJob:
    """Assert that a job has this status (or any of several), and return the job.

    ``expected`` is a member, the wire string, the short name (``"NO_CHANGES"``), or several of
    them. Raises ``ValueError``, naming the valid ones, where it is none of these.
    """
    __tracebackhide__ = True
    return _assert_member(job, "status", IndexingJobStatus, expected)


def assert_phase(job: object, expected: object) -> IndexingJob:
    """Assert that a job is in this phase (or any of several), and return the job.

    ``expected`` as ``assert_status``.
    """
    __tracebackhide__ = True
    return _assert_member(job, "phase", IndexingJobPhase, expected)


def assert_data_source_status(
    job: object, expected: object, *, data_source: str | None = None
) -> IndexingJob:
    """Assert that every data source of a job has this status (or any of several).

    ``data_source`` is the uuid of the one data source to look at.
    """
    __tracebackhide__ = True
    read, wanted = as_job(job), _expected(DataSourceStatus, expected)
    sources = _sources(read, data_source)
    wrong = [source for source in sources if source.status not in wanted]
    if wrong or not sources:
        there = ", ".join(dict.fromkeys(source.status.name for source in wrong)) or "no data source"
        hints = [_unknown_hint(source.status) for source in wrong]
        _fail(
            read,
            f"expected data source status {_any_of(wanted)}, not {there}",
            {"status"},
            wrong,
            hints,
        )
    return read


def assert_database_status(answer: object, expected: object) -> DatabaseStatus:
    """Assert how the database of a knowledge base stands, and return the status.

    ``answer`` is the answer of GET to one knowledge base (a response, an SDK's model or a dict) or
    the status itself; ``expected`` a member, the wire string, or several of them.
    """
    __tracebackhide__ = True
    wanted = _expected(DatabaseStatus, expected)
    value = (
        answer
        if isinstance(answer, str) and not _is_json(answer)
        else _body_of(answer, "a database status").get("database_status")
    )
    if not isinstance(value, str):
        raise AssertionError(
            "the answer has no database_status: only the answer to"
            f" GET {KNOWLEDGE_BASES_PATH}/{{uuid}} has it"
        )
    actual = DatabaseStatus(value)
    if actual not in wanted:
        hint = _unknown_hint(actual)
        raise AssertionError(
            f"expected database status {_any_of(wanted)}, not {actual.name}"
            + (f"\nhint: {hint}" if hint else "")
        )
    return actual


def assert_counts(job: object, *, data_source: str | None = None, **counts: object) -> IndexingJob:
    """Assert counts of a job, and return the job.

    Counts are summed over the data sources, or taken of the one with the uuid ``data_source``:

    ``indexed_items``, ``failed_items``, ``skipped_items``, ``removed_items``, ``indexed_files``,
    ``total_files`` (or ``files``), ``indexed_bytes``, ``total_bytes``; and of the job itself
    ``total_data_sources`` (or ``data_sources``), ``completed_data_sources``, ``total_tokens``,
    ``tokens``. Each is
    expected to be an ``int``, in a ``range``, or equal to whatever ``==`` decides. Raises
    ``TypeError`` for a name that is no count.
    """
    __tracebackhide__ = True
    _check_names(counts, data_source)
    read = as_job(job)
    sources = _sources(read, data_source)
    lines, fields, hints = [], set(), []
    for name, expected in counts.items():
        field = _SOURCE_COUNTS.get(name) or _JOB_COUNTS[name]
        holders: Sequence[object] = sources if name in _SOURCE_COUNTS else (read,)
        actual = sum(getattr(holder, field) for holder in holders)
        if not _count_equals(actual, expected):
            lines.append(f"expected {name} {expected!r}, not {actual}")
            fields.add(field)
            hints.append(_count_hint(expected))
    if lines:
        _fail(read, "; ".join(lines), fields, sources, hints)
    return read


def assert_finished(job: object) -> IndexingJob:
    """Assert that a job has ended, whatever its outcome, and return the job."""
    __tracebackhide__ = True
    read = as_job(job)
    if not read.is_terminal:
        ends = ", ".join(status.name for status in IndexingJobStatus if status.is_terminal)
        hints = [_unknown_hint(read.status), _unknown_hint(read.phase)]
        _fail(
            read,
            f"expected a job that has ended ({ends}), not {_standing(read)}",
            {"status"},
            (),
            hints,
        )
    return read


def assert_consistent(job: object) -> IndexingJob:
    """Assert that a job does not contradict itself, and return the job.

    The live service was seen to send only such jobs: times are in order, no count is above its
    total, status, phase and data sources go together, and a job that has ended has a
    ``finished_at``. Not checked is that all was indexed: unchanged files count as skipped.
    """
    __tracebackhide__ = True
    read = as_job(job)
    violations = [
        *_job_violations(read),
        *(text for source in read.data_source_jobs for text in _violations(read, source)),
    ]
    if violations:
        _fail(
            read,
            "the job contradicts itself:" + "".join(f"\n  - {text}" for text in violations),
            set(),
            (),
            (),
        )
    return read


def assert_transitions(polls: Iterable[object], expected: Sequence[object]) -> None:
    """Assert the statuses that a job went through, poll by poll, equal ones in a row counted once.

    ``expected`` lists them as ``assert_status`` takes them; ``...`` stands for any statuses, or
    none. Fails too where a job leaves a terminal status.
    """
    __tracebackhide__ = True
    pattern = [
        item if isinstance(item, EllipsisType) else _expected(IndexingJobStatus, item)
        for item in expected
    ]
    if isinstance(polls, Mapping | str | bytes) or hasattr(polls, "status_code"):
        raise TypeError(
            "polls must be a list with the answer to each poll, not a single"
            f" {type(polls).__name__}: assert_status takes a single answer"
        )
    life: list[IndexingJobStatus] = []
    for number, poll in enumerate(polls, 1):
        status = as_job(poll).status
        if life and life[-1] == status:
            continue
        if life and life[-1].is_terminal:
            raise AssertionError(
                f"poll {number} says {status.name} after the end, {life[-1].name}: a job that has"
                " ended stays so"
            )
        life.append(status)
    if not _matches(life, pattern):
        wanted = ", ".join(
            "..." if isinstance(item, EllipsisType) else _any_of(item) for item in pattern
        )
        seen = ", ".join(status.name for status in life)
        raise AssertionError(f"expected the job to go through [{wanted}], not [{seen}]")


def _matches(life: Sequence[IndexingJobStatus], pattern: Sequence[Any]) -> bool:
    if not pattern:
        return not life
    first, *rest = pattern
    if isinstance(first, EllipsisType):
        return any(_matches(life[skipped:], rest) for skipped in range(len(life) + 1))
    return bool(life) and life[0] in first and _matches(life[1:], rest)


# Reading what was given.


def as_job(value: object) -> IndexingJob:
    """The job in any of the forms that the assertions take.

    Of a knowledge base it is the ``last_indexing_job``. Raises ``AssertionError`` where there is no
    job, and for an error answer, which some clients hand back as if it were the answer.
    """
    if isinstance(value, IndexingJob):
        return value
    if isinstance(value, KnowledgeBase):
        value = value.to_wire()
    return _job_in(_body_of(value, "a job"))


def _body_of(value: object, wanted: str) -> dict[str, Any]:
    """The JSON object of a response, an SDK's model, a dict or JSON text.

    ``wanted`` says in messages what the object should hold.
    """
    if isinstance(value, BaseException):
        text = textwrap.shorten(str(value), 200, placeholder=" ...")
        raise AssertionError(
            f"expected an answer with {wanted}, not the error {type(value).__name__}: {text}"
        )
    response = getattr(value, "http_response", value)  # raw responses of gradient and of pydo
    status = getattr(response, "status_code", getattr(response, "status", None))
    if isinstance(status, int):
        body = _body_of_response(response, status, wanted)
    elif hasattr(value, "model_dump"):
        body = value.model_dump(mode="json", exclude_none=True)
    elif isinstance(value, KnowledgeBase | KnowledgeBaseDataSource):
        body = value.to_wire()
    elif isinstance(value, bytes | bytearray) or (isinstance(value, str) and _is_json(value)):
        content = value.encode("utf-8", "replace") if isinstance(value, str) else bytes(value)
        body = _parsed(content, wanted)
    else:
        body = dict(value) if isinstance(value, Mapping) else value
    if not isinstance(body, dict):
        there = f"{type(body).__name__}{_way_out(body)}"
        raise TypeError(f"{wanted}, a dict or a response was expected, not {there}")
    if {"id", "message"} <= body.keys() and not _KNOWN_FIELDS & body.keys():
        raise AssertionError(
            f"expected an answer with {wanted}, not an error: {body['id']}: {body['message']}"
        )
    return body


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _way_out(value: object) -> str:
    if inspect.isawaitable(value):
        return ": await it"
    if hasattr(value, "__enter__"):
        return ": enter it by `with`"
    if callable(value):
        return ": call it"
    if isinstance(value, list | tuple):
        return ": assert on each of its items"
    pages = [name for name in _LISTS if isinstance(getattr(value, name, None), tuple)]
    return f": assert on each of its {pages[0]}" if pages else ""


def _body_of_response(response: Any, status: int, wanted: str) -> Any:
    if 200 <= status < 300:
        return _parsed(_content_of(response), wanted)
    said = f"expected an answer with {wanted}, not HTTP {status}"
    try:
        error = read(None, status, _content_of(response)).error
    except TypeError:  # the body was not read
        error = None
    told = ": ".join(part for part in (error[:2] if error else ()) if part)
    raise AssertionError(f"{said}{': ' if told else ''}{textwrap.shorten(told, 200)}")


def _parsed(content: bytes, wanted: str) -> Any:
    try:
        return read(None, 200, content).json
    except DecodeError as error:
        said = str(error).removeprefix("$: ")
        raise AssertionError(
            f"expected an answer with {wanted}, but its body can't be read: {said}"
        ) from None


def _content_of(response: Any) -> bytes:
    # requests, httpx and azure-core; azure-core's older responses; aiohttp.
    try:
        content = getattr(response, "content", None)
    except RuntimeError:  # httpx says so of a stream that nobody has read
        content = None
    if isinstance(content, bytes):
        return content
    if callable(getattr(response, "body", None)):
        return bytes(response.body())
    content = getattr(response, "_body", None)
    if isinstance(content, bytes):
        return content
    name = type(response).__name__
    if not callable(getattr(response, "read", None)):
        raise TypeError(f"the body of this {name} can't be found: assert on its parsed JSON")
    if isinstance(response, io.BufferedIOBase) and not hasattr(response, "data"):
        raise TypeError(f"a {name} keeps no body: assert on `response.read()`, the body itself")
    raise TypeError(
        f"the body of this {name} was not read yet: call `response.read()` before the assertion, or"
        " `await response.read()` with an async client"
    )


def _job_in(body: dict[str, Any]) -> IndexingJob:
    base = body.get("knowledge_base", body)
    if isinstance(base, dict) and base.get("last_indexing_job") is not None:
        return IndexingJob.from_wire(base["last_indexing_job"], "$.last_indexing_job")
    if body.get("job") is not None:
        return job_in(body)
    if not body or body.keys() & _OTHER_FIELDS:
        raise AssertionError(_without_job(body))
    if "knowledge_base" in body or body.keys() & _KNOWLEDGE_BASE_FIELDS:
        raise AssertionError("the knowledge base has no last_indexing_job: there was no job yet")
    if _KNOWN_FIELDS & body.keys():
        return IndexingJob.from_wire(body)
    raise AssertionError(_without_job(body))


def _without_job(body: dict[str, Any]) -> str:
    """What to say of an answer without a job: what it has, and the way to a job."""
    names = [textwrap.shorten(str(name), 40) for name in body if body[name] is not None]
    there = f"it has {', '.join(names[:_MOST_NAMES])}" if names else "it is empty"
    said = f"the answer holds no job: {there}{' and more' if len(names) > _MOST_NAMES else ''}"
    wrong = next((name for name in _WRONG_WRAPPERS if name in body), None)
    if wrong:
        return f"{said}\nhint: it has {wrong!r}, but the service sends 'job'"
    listed = next((name for name in _LISTS if isinstance(body.get(name), list)), None)
    if listed in ("jobs", "knowledge_bases"):
        return f"{said}\nhint: it is a list: assert on one of its items, answer[{listed!r}][0]"
    return f"{said}\nhint: ask for the job itself, GET {JOBS_PATH}/{{uuid}}"


def _sources(job: IndexingJob, data_source: str | None) -> tuple[IndexedDataSource, ...]:
    if data_source is None:
        return job.data_source_jobs
    found = tuple(
        source for source in job.data_source_jobs if source.data_source_uuid == data_source
    )
    if not found:
        there = (
            ", ".join(source.data_source_uuid for source in job.data_source_jobs[:_MOST_ROWS])
            or "none"
        )
        raise AssertionError(f"expected a data source {data_source!r}; the job has: {there}")
    return found


# Reading what was expected.


def _expected(enum: type[E], expected: object) -> tuple[E, ...]:
    several = expected if isinstance(expected, list | tuple | set | frozenset) else (expected,)
    if not several:
        raise ValueError(f"expect at least one {enum.__name__}")
    return tuple(enum.parse(item) for item in several)


def _any_of(members: Sequence[WireEnum]) -> str:
    return " or ".join(member.name for member in members)


def _check_names(counts: dict[str, object], data_source: str | None) -> None:
    if not counts:
        raise TypeError(f"expect at least one count: {', '.join([*_SOURCE_COUNTS, *_JOB_COUNTS])}")
    for name in counts:
        if name in _JOB_COUNTS and data_source is not None:
            raise TypeError(f"{name} is a count of the whole job: a data source has no such count")
        if name not in _SOURCE_COUNTS and name not in _JOB_COUNTS:
            names = [*_SOURCE_COUNTS, *_JOB_COUNTS]
            near = [each for each in names if each.startswith(name)] or difflib.get_close_matches(
                name, names, n=1
            )
            did = f" (did you mean {near[0]}?)" if near else ""
            raise TypeError(f"{name!r} is no count{did}. Counts: {', '.join(names)}")


def _count_equals(actual: int, expected: object) -> bool:
    if isinstance(expected, bool | str):
        return False
    return actual in expected if isinstance(expected, range) else bool(expected == actual)


def _count_hint(expected: object) -> str:
    if isinstance(expected, str):
        return (
            f"a count is an int here, so expect a number, not the string {expected!r} that the"
            " wire has"
        )
    return "True and False are no counts" if isinstance(expected, bool) else ""


# What holds of every job.


def _job_violations(job: IndexingJob) -> Iterator[str]:
    times = ("created_at", "started_at", "finished_at", "updated_at")
    yield from _disorder(job, times[:3])
    yield from _disorder(job, (times[0], times[3]))
    if job.completed_datasources > job.total_datasources:
        yield (
            f"completed_datasources {job.completed_datasources} > total_datasources"
            f" {job.total_datasources}"
        )
    if job.is_terminal and job.finished_at is None:
        yield f"the job has ended ({_standing(job)}) but finished_at is missing"
    if (
        job.finished_at is not None
        and not job.is_terminal
        and job.status.is_known
        and job.phase.is_known
    ):
        yield f"finished_at is set but the job has not ended ({_standing(job)})"
    if not go_together(job.status, job.phase):
        yield f"status {job.status.name} does not go with phase {job.phase.name}"


def _violations(job: IndexingJob, source: IndexedDataSource) -> Iterator[str]:
    name = f"data source {source.data_source_uuid[:8] or '?'}: "
    for less, more in (
        ("indexed_file_count", "total_file_count"),
        ("total_bytes_indexed", "total_bytes"),
    ):
        if getattr(source, less) > getattr(source, more):
            yield f"{name}{less} {getattr(source, less)} > {more} {getattr(source, more)}"
    for text in _disorder(source, ("started_at", "completed_at")):
        yield name + text
    if source.completed_at and job.finished_at and source.completed_at > job.finished_at:
        yield f"{name}completed_at is after the job's finished_at"
    if source.started_at and job.started_at and source.started_at < job.started_at:
        yield f"{name}started_at is before the job's"
    if job.is_terminal and source.status is DataSourceStatus.IN_PROGRESS:
        yield f"{name}IN_PROGRESS though the job has ended ({_standing(job)})"


def _disorder(holder: object, names: Sequence[str]) -> Iterator[str]:
    times: list[tuple[str, datetime]] = [
        (name, getattr(holder, name)) for name in names if getattr(holder, name)
    ]
    for (earlier, first), (later, second) in itertools.pairwise(times):
        if first > second:
            yield f"{earlier} {first.isoformat()} is after {later} {second.isoformat()}"


# Telling what is wrong.


def _assert_member(job: object, name: str, enum: type[E], expected: object) -> IndexingJob:
    __tracebackhide__ = True
    read, wanted = as_job(job), _expected(enum, expected)
    actual = getattr(read, name)
    if actual not in wanted:
        hint = _unknown_hint(actual)
        if actual.name == "UNKNOWN":
            hint = f"the answer has no {name}, which counts as UNKNOWN: is it a job's answer?"
        there = actual.name if actual.is_known else repr(actual.value)
        _fail(
            read,
            f"expected {name} {_any_of(wanted)}, not {there}",
            {name},
            (),
            [hint],
        )
    return read


def _standing(job: IndexingJob) -> str:
    return f"status {job.status.name}, phase {job.phase.name}"


def _unknown_hint(value: WireEnum) -> str:
    if value.is_known:
        return ""
    other = next((enum for enum in WireEnum.__subclasses__() if enum.lists(value.value)), None)
    if other is not None:
        return f"{value.value!r} is a {other.__name__}, not a {type(value).__name__}"
    near = type(value).nearest(value.value)
    return f"{value.value!r} is not a value of the published contract" + (
        f"; the nearest is {near.value}" if near else ""
    )


def _fail(
    job: IndexingJob,
    text: str,
    fields: set[str],
    wrong: Sequence[IndexedDataSource],
    hints: Iterable[str],
) -> NoReturn:
    __tracebackhide__ = True
    lines = [text, f"job {job.uuid or '(no uuid)'}: {_standing(job)}", *_table(job, fields, wrong)]
    lines += [
        f"{source.data_source_uuid[:8]}: {_error(source)}"
        for source in job.data_source_jobs[:5]
        if _error(source)
    ]
    lines += [f"hint: {hint}" for hint in dict.fromkeys(hints) if hint]
    raise AssertionError("\n".join(lines))


def _error(source: IndexedDataSource) -> str:
    # Cut between words, as redaction does not find half a secret.
    text = ": ".join(part for part in (source.error_msg, source.error_details) if part)
    return textwrap.shorten(text, 200, placeholder=" ...")


def _table(job: IndexingJob, fields: set[str], wrong: Sequence[IndexedDataSource]) -> list[str]:
    if not job.data_source_jobs:
        return ["(no data sources)"]
    # The offending rows come first, so that they are among those shown.
    shown = sorted(job.data_source_jobs, key=lambda source: source not in wrong)[:_MOST_ROWS]
    rows = [list(_COLUMNS)]
    rows += [
        [_cell(source, field, fields, source in wrong) for field in _COLUMNS.values()]
        for source in shown
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    more = len(job.data_source_jobs) - len(shown)
    return [*lines, f"... and {more} more"] if more else lines


def _cell(source: IndexedDataSource, field: str, fields: set[str], wrong: bool) -> str:
    value = getattr(source, field)
    if isinstance(value, WireEnum):
        value = value.name
    text = str(value)[:8] if field == "data_source_uuid" else str(value)
    return f"*{text}*" if wrong and field in fields else text


# Plain comparisons.


def explain_comparison(op: str, left: object, right: object) -> list[str] | None:
    """What pytest should say of a failed plain comparison; ``None`` where neither side is ours."""
    if op not in ("==", "!=", "is", "is not"):
        return None
    for ours, other in ((left, right), (right, left)):
        if isinstance(ours, WireEnum) and isinstance(other, str):
            return [f"{left!r} {op} {right!r}", *_member_explanation(ours, other)]
    for kind in (IndexingJob, IndexedDataSource):
        if op == "==" and isinstance(left, kind) and isinstance(right, kind):
            return [f"two {kind.__name__} that differ:", *_differences(left, right, "")]
    return None


def _member_explanation(ours: WireEnum, other: str) -> Iterator[str]:
    if isinstance(other, WireEnum) and type(other) is not type(ours):
        yield (
            f"{other!r} is a {type(other).__name__}, the other side a {type(ours).__name__}: they"
            " are never equal"
        )
    elif not isinstance(other, WireEnum) and not type(ours).lists(other):
        near = type(ours).nearest(other)
        yield f"hint: the service never sends {other!r}" + (
            f"; did you mean {near!r}?" if near else ""
        )
    for side in (ours, other):
        hint = _unknown_hint(side) if isinstance(side, WireEnum) else ""
        if hint:
            yield f"hint: {hint}"


def _differences(left: Any, right: Any, path: str) -> Iterator[str]:
    for field in dataclasses.fields(left):
        mine, its = getattr(left, field.name), getattr(right, field.name)
        if mine == its:
            continue
        if field.name == "data_source_jobs" and len(mine) == len(its):
            for at, (one, other) in enumerate(zip(mine, its, strict=True)):
                yield from _differences(one, other, f"{path}data_source_jobs[{at}].")
        else:
            yield f"{path}{field.name}: {mine!r} != {its!r}"
