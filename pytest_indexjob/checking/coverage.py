"""Outcome coverage: which of the service's answers the code under test was given in a run.

An item is one thing that code has to cope with: ``status:NO_CHANGES``, ``http:429``,
``fault:reset-midway``. Only what was delivered counts: an answer that came, or a fault that came in
its place.

The items of knowledge bases are a part of their own: they count as soon as any test was given one
of them. A suite that only tests jobs is not asked for them.
"""

# ruff: noqa: RUF001, RUF003  # the sign of multiplication stands between a status and its phase

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from pytest_indexjob.api import answers
from pytest_indexjob.api.calls import CallMatch, api_path, match
from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.api.knowledge_bases import SOURCE_KINDS, DatabaseStatus
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.outcomes import (
    OUTCOMES,
    DataSourceStatus,
    IndexingJobPhase,
    IndexingJobStatus,
    Outcome,
)
from pytest_indexjob.api.wire import WireEnum
from pytest_indexjob.content_coding import decoded, is_broken
from pytest_indexjob.exchange import Exchange, Response, TransportFault
from pytest_indexjob.whole_file import write_whole

VERSION = 1
_FORMAT = "pytest-indexjob outcome coverage"
# Every file begins with this, so a file that was cut short is told from another program's file.
_HEAD = f'{{\n  "format": "{_FORMAT}",'
_LARGEST_FILE = 8 * 1024 * 1024
_MOST_TESTS = 2**53
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Item(NamedTuple):
    """One thing that code can be given. ``serve`` is the line of a test that would give it."""

    group: str
    name: str
    serve: str


# The title of each group, in the order of the table.
_GROUPS = {
    "status": "job statuses",
    "phase": "phases",
    "data_source": "data source statuses",
    "pair": "pairs of status×phase",
    "http": "HTTP statuses",
    "fault": "faults",
    "shape": "shapes of answers",
    "database": "database statuses",
    "source": "kinds of data sources",
    "knowledge_base": "answers about knowledge bases",
}
# The groups of the part that counts only where a test was given one of its items.
_KNOWLEDGE_BASE_GROUPS = ("database", "source", "knowledge_base")


def _start(scenario: str = "") -> str:
    return f'indexjob_simulator.start("{scenario}")' if scenario else "indexjob_simulator.start()"


def _inject(fault: str, on: str = "") -> str:
    chosen = f', on="{on}"' if on else ""
    return f'indexjob_simulator.inject("{fault}"{chosen})'


def _add_knowledge_base(status: DatabaseStatus) -> str:
    # A database that comes online is CREATING before.
    is_creating = status is DatabaseStatus.CREATING
    life = "online" if is_creating else status.name.lower().replace("_", "-")
    chosen = "" if status is DatabaseStatus.ONLINE else f'database="{life}"'
    return f"indexjob_simulator.add_knowledge_base({chosen})"


# What a data source of each kind is made with.
_SOURCES: Mapping[str, Mapping[str, object]] = {
    "spaces_data_source": {"bucket_name": "documents", "region": "nyc3"},
    "web_crawler_data_source": {"base_url": "https://example.com"},
    "file_upload_data_source": {"original_file_name": "a.pdf", "size_in_bytes": "9"},
    "aws_data_source": {"bucket_name": "documents", "region": "us-east-1"},
    "dropbox_data_source": {"folder": "/documents"},
    "google_drive_data_source": {"folder_name": "documents"},
}


def _add_data_source(kind: str) -> str:
    fields = json.dumps(_SOURCES[kind])
    return f"indexjob_simulator.add_data_source(knowledge_base.uuid, {kind}={fields})"


_CONNECTION_FAULTS = ("connection-refused", "connection-reset", "read-timeout", "reset-midway")
_BODY_FAULTS = ("invalid-json", "empty-body", "wrong-content-type", "redirect")


def _names_served(name_of: Callable[[Outcome], str]) -> dict[str, str]:
    """The names that the outcomes have, each with the line that serves it."""
    served: dict[str, str] = {}
    for scenario, outcome in OUTCOMES.items():
        # The plain scenario runs, then ends COMPLETED.
        line = _start("" if scenario in ("in-progress", "completed") else scenario)
        served.setdefault(name_of(outcome), line)
    served.pop("UNKNOWN", None)
    return served


_SERVING = {
    "status": _names_served(lambda outcome: outcome.status.name),
    "phase": _names_served(lambda outcome: outcome.phase.name),
    "data_source": _names_served(lambda outcome: outcome.data_source.name),
    "pair": _names_served(lambda outcome: f"{outcome.status.name}×{outcome.phase.name}"),
    "http": {
        "400": _inject("provisioning"),
        "401": _inject("expired-token"),
        "404": 'indexjob_client.get("no-such-job")',
        "409": "indexjob_client.create(job.knowledge_base_uuid)",
        "429": _inject("rate-limit"),
        "500": _inject("server-error"),
        "502": _inject("bad-gateway"),
        "503": _inject("service-unavailable"),
    },
    "fault": {name: _inject(name) for name in (*_CONNECTION_FAULTS, *_BODY_FAULTS)},
    "shape": {
        "missing-job": _start("missing-job"),
        "missing-phase": _start("missing-phase"),
        "missing-status": _start("missing-status"),
        "unknown-value": _start("future-status"),
        "absent-counts": _start(),
        "counts-over-2**53": _start("string-counts-at-uint64-max"),
        "fractional-timestamps": _start("fractional-timestamps"),
        "explicit-nulls": _start("explicit-nulls"),
        "several-pages": "[indexjob_simulator.start() for _ in range(21)]",
        "signed-url": "indexjob_client.details_signed_url(job.uuid)",
    },
    "database": {status.name: _add_knowledge_base(status) for status in DatabaseStatus},
    "source": {kind.removesuffix("_data_source"): _add_data_source(kind) for kind in SOURCE_KINDS},
    "knowledge_base": {
        "no-job-yet": "indexjob_simulator.add_knowledge_base()",
        "last-job": "indexjob_simulator.start(knowledge_base_uuid=knowledge_base.uuid)",
        "several-pages": "[indexjob_simulator.add_knowledge_base() for _ in range(21)]",
        "404": _inject("not-found", on="knowledge_bases.get"),
        "409": _inject("conflict", on="knowledge_bases.delete"),
    },
}

ITEMS: Mapping[str, Item] = MappingProxyType(
    {
        f"{group}:{name}": Item(group, name, serve)
        for group in _GROUPS
        for name, serve in _SERVING[group].items()
    }
)

# Pairs that are no item are counted too: the table and the page show them.
_PAIR = re.compile(r"pair:([A-Z0-9_]{1,40})×([A-Z0-9_]{1,40})", re.ASCII)


def _is_item(item: object) -> bool:
    return isinstance(item, str) and (item in ITEMS or _PAIR.fullmatch(item) is not None)


# What an exchange gave.

_FAULTS = {"refused": "connection-refused", "reset": "connection-reset", "timeout": "read-timeout"}
_HTTP_STATUSES = frozenset(int(item.name) for item in ITEMS.values() if item.group == "http")
_ONE_JOB_CALLS = ("jobs.get", "jobs.cancel", "jobs.create")
_SMALL_BODY = 16 * 1024
_FRACTION = re.compile(r":\d{2}\.\d", re.ASCII)


_SOURCE_COUNTS = IndexedDataSource.counts()
_JOB_COUNTS = IndexingJob.counts()


def outcomes_of(exchanges: Iterable[Exchange]) -> frozenset[str]:
    """The items that these exchanges gave to the code under test."""
    # Polls repeat each other: of equal results the set keeps one, and a cache keeps each answer's.
    found: set[frozenset[str]] = set()
    for exchange in exchanges:
        response = exchange.response
        if response is not None:
            found.add(
                _outcomes_of_response(exchange.request.method, exchange.request.url, response)
            )
        elif isinstance(exchange.error, TransportFault):
            found.add(frozenset((f"fault:{_FAULTS[exchange.error.kind]}",)))
    return frozenset().union(*found)


def _outcomes_of_response(method: str, url: str, response: Response) -> frozenset[str]:
    if response.cut_after is not None:
        return _CUT  # half an answer gives no job
    body = response.body if method != "HEAD" else b""
    # A body that begins with a brace is not encoded. To look for a header that is absent takes as
    # long as all the rest.
    encoding = "" if body[:1] == b"{" else response.content_encoding
    work = _outcomes_of_answer if len(body) <= _SMALL_BODY else _outcomes_of_large_answer
    return work(
        response.status, response.header("content-type"), encoding, body, _call_of(method, url)
    )


_CUT = frozenset(("fault:reset-midway",))


@lru_cache(maxsize=4096)
def _call_of(method: str, url: str) -> str:
    """The name of the call that a request makes, or ``""`` for a request that is none."""
    found = match(method, api_path(url).rstrip("/"))
    return found.call.name if isinstance(found, CallMatch) else ""


def _examined(
    status: int, content_type: str, encoding: str, body: bytes, call: str
) -> frozenset[str]:
    found = set()
    if status in _HTTP_STATUSES:
        found.add(f"http:{status}")
    if call and not call.startswith("jobs.") and f"knowledge_base:{status}" in ITEMS:
        found.add(f"knowledge_base:{status}")
    if 300 <= status < 400 and status != 304:  # 304 leads nowhere else
        found.add("fault:redirect")
    if 200 <= status < 300:
        plain = decoded(body, encoding)
        if plain is None and call and is_broken(body, encoding):
            found.add("fault:invalid-json")
        found.update(_of_success(content_type, plain, call))
    return frozenset(found)


# Few of the large ones are kept, so that a run with many data sources does not fill the memory.
_outcomes_of_answer = lru_cache(maxsize=2048)(_examined)
_outcomes_of_large_answer = lru_cache(maxsize=16)(_examined)


def _of_success(content_type: str, body: bytes | None, call: str) -> Iterator[str]:
    media_type = content_type.partition(";")[0].strip().lower()
    if call and media_type in ("text/html", "application/xhtml+xml"):
        yield "fault:wrong-content-type"
    if body is None:
        return
    if not body.strip():
        if call:
            yield "fault:empty-body"
        return
    answer = answers.read(None, 200, body)
    if answer.is_json:
        yield from _of_body(answer.fields, call)
    elif call and media_type.endswith("json"):
        yield "fault:invalid-json"


def _of_body(fields: Mapping[str, Any], call: str) -> Iterator[str]:
    job = fields.get("job")
    if call in _ONE_JOB_CALLS and not isinstance(job, dict):
        yield "shape:missing-job"
    if None in fields.values():
        yield "shape:explicit-nulls"
    if isinstance(fields.get("signed_url"), str) and fields["signed_url"]:
        yield "shape:signed-url"
    if isinstance(fields.get("jobs"), list) and _has_several_pages(fields):
        yield "shape:several-pages"
    for each in _objects([job]) + _objects(fields.get("jobs")):
        yield from _of_job(each)
    for source in _objects(fields.get("indexed_data_sources")):
        yield from _of_source(source)
    if call and not call.startswith("jobs."):
        yield from _around_a_job(fields, is_new=call == "knowledge_bases.create")


def _has_several_pages(fields: Mapping[str, Any]) -> bool:
    meta = fields.get("meta")
    return isinstance(meta, dict) and _count(meta.get("pages")) > 1


def _around_a_job(fields: Mapping[str, Any], *, is_new: bool) -> Iterator[str]:
    """What an answer says of knowledge bases; ``is_new`` for the answer that made one."""
    if _has_several_pages(fields):
        yield "knowledge_base:several-pages"
    yield from _of_value("database", DatabaseStatus, fields.get("database_status"))
    for base in _knowledge_bases_in(fields):
        yield from _of_knowledge_base(base, is_new=is_new)
    for source in _several(fields, "knowledge_base_data_source"):
        yield from _of_base_source(source)


def _several(fields: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in a field, which an answer has for one object or, in the plural, for a list."""
    return _objects([fields.get(name)]) + _objects(fields.get(f"{name}s"))


def _knowledge_bases_in(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _several(fields, "knowledge_base")
    for agent in _several(fields, "agent"):
        yield from _objects(agent.get("knowledge_bases"))


def _of_knowledge_base(base: dict[str, Any], *, is_new: bool) -> Iterator[str]:
    yield from _of_object(base, ())
    job = base.get("last_indexing_job")
    if isinstance(job, dict):
        yield "knowledge_base:last-job"
        yield from _of_job(job)
    elif not is_new:  # the answer to a POST never has a job
        yield "knowledge_base:no-job-yet"


def _of_base_source(source: dict[str, Any]) -> Iterator[str]:
    yield from _of_object(source, ())
    for kind in SOURCE_KINDS:
        if isinstance(source.get(kind), dict):
            yield f"source:{kind.removesuffix('_data_source')}"
    for part in _objects([source.get("last_datasource_indexing_job")]):
        yield from _of_source(part)


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _of_job(job: dict[str, Any]) -> Iterator[str]:
    status, phase = (
        _name(IndexingJobStatus, job.get("status")),
        _name(IndexingJobPhase, job.get("phase")),
    )
    yield f"pair:{status}×{phase}"
    yield from _of_value("status", IndexingJobStatus, job.get("status"))
    yield from _of_value("phase", IndexingJobPhase, job.get("phase"))
    yield from (
        f"shape:missing-{name}" for name in ("status", "phase") if job.get(name) in (None, "")
    )
    # A job that waits has no counts yet, and the answer to a POST never has any.
    if "PENDING" not in (status, phase) and not job.get("data_source_jobs"):
        yield "shape:absent-counts"
    yield from _of_object(job, _JOB_COUNTS)
    for source in _objects(job.get("data_source_jobs")):
        yield from _of_source(source)


def _of_source(source: dict[str, Any]) -> Iterator[str]:
    yield from _of_value("data_source", DataSourceStatus, source.get("status"))
    if all(source.get(name) in (None, "") for name in _SOURCE_COUNTS):
        yield "shape:absent-counts"
    yield from _of_object(source, _SOURCE_COUNTS)


def _of_object(wire: dict[str, Any], counts: tuple[str, ...]) -> Iterator[str]:
    if None in wire.values():
        yield "shape:explicit-nulls"
    if any(_count(wire.get(name)) > 2**53 for name in counts):
        yield "shape:counts-over-2**53"
    if any(
        name.endswith("_at") and isinstance(value, str) and _FRACTION.search(value)
        for name, value in wire.items()
    ):
        yield "shape:fractional-timestamps"


def _of_value(group: str, enum: type[WireEnum], value: object) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        return
    if not enum.lists(value):
        yield "shape:unknown-value"
    elif (name := enum(value).name) != "UNKNOWN":
        yield f"{group}:{name}"


def _name(enum: type[WireEnum], value: object) -> str:
    """A value's name within a pair.

    A value that the contract doesn't know may be any text: it is kept if it is harmless.
    """
    if value in (None, ""):
        return "UNKNOWN"
    rest = (
        value.removeprefix(enum.prefix())
        if isinstance(value, str) and value.startswith(enum.prefix())
        else ""
    )
    return rest if re.fullmatch("[A-Z0-9_]{1,40}", rest, re.ASCII) else "OTHER"


def _count(value: object) -> int:
    """A count that is written as a number or as digits; 0 for anything else."""
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) else 0


# What a run adds up to.


class CoverageFileError(IndexJobError):
    """A file can't be read as outcome coverage.

    ``path`` is the file, ``problem`` what is wrong with it.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


@dataclasses.dataclass
class Coverage:
    """How many tests there were, and how many of them were given each item.

    Adding up is the same in any order.
    """

    tests: int = 0
    counts: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, items: Iterable[str]) -> None:
        """Add one test, which was given these items. Raises ``ValueError`` for another text."""
        given = frozenset(items)
        wrong = sorted(item for item in given if not _is_item(item))
        if wrong:
            raise ValueError(f"not of outcome coverage: {', '.join(wrong)}")
        self.tests += 1
        self.counts.update(given)

    def merge(self, other: Coverage) -> None:
        """Add what another process counted, of other tests."""
        self.tests += other.tests
        self.counts.update(other.counts)

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads, the same for equal coverages."""
        counts = {item: self.counts[item] for item in sorted(self.counts) if self.counts[item] > 0}
        return {"format": _FORMAT, "version": VERSION, "tests": self.tests, "counts": counts}

    @classmethod
    def from_json(cls, obj: object, *, source: Path | str) -> Self:
        """The coverage of a parsed JSON value.

        Raises ``CoverageFileError``, naming ``source``, for any other.
        """
        path = Path(source)
        if not isinstance(obj, dict) or obj.get("format") != _FORMAT:
            raise CoverageFileError(path, "is no file of outcome coverage")
        version = obj.get("version")
        if type(version) is not int or version != VERSION:
            raise CoverageFileError(
                path, f"is of version {_shown(version)}, not {VERSION}: run the tests again"
            )
        tests, counts = obj.get("tests"), obj.get("counts")
        if type(tests) is not int or not 0 <= tests <= _MOST_TESTS:
            raise CoverageFileError(path, f"is damaged: tests is {_shown(tests)}")
        if not isinstance(counts, dict):
            raise CoverageFileError(path, f"is damaged: counts is {_shown(counts)}")
        for item, count in counts.items():
            if not _is_item(item):
                raise CoverageFileError(
                    path, f"counts {_shown(item)}, which this version does not know"
                )
            if type(count) is not int or not 1 <= count <= tests:
                raise CoverageFileError(
                    path, f"is damaged: {item} is {_shown(count)} of {tests} tests"
                )
        return cls(tests, Counter(counts))

    def percent(self, left_out: Mapping[str, str] = _NOTHING) -> float:
        """The share of items that any test was given, 0 to 100, without those left out."""
        asked = [item for group in self._groups() for item in _items_of(group, left_out)]
        return 100 * sum(self.counts[item] > 0 for item in asked) / len(asked) if asked else 100.0

    def _groups(self) -> list[str]:
        """The groups that count in this run."""
        given = {ITEMS[item].group for item in ITEMS if self.counts[item] > 0}
        is_about_bases = not given.isdisjoint(_KNOWLEDGE_BASE_GROUPS)
        return [group for group in _GROUPS if is_about_bases or group not in _KNOWLEDGE_BASE_GROUPS]

    def table(self, left_out: Mapping[str, str] = _NOTHING, *, width: int = 80) -> list[str]:
        """Lines for people: each group's items, and how many tests were given each.

        For an item that no test was given, the line that would serve it.
        """
        extra = sorted(item for item in self.counts if self.counts[item] > 0 and item not in ITEMS)
        column = max(len(item.partition(":")[2]) for item in (*ITEMS, *extra))
        lines = []
        groups = self._groups()
        for group in groups:
            asked = _items_of(group, left_out)
            given = sum(self.counts[item] > 0 for item in asked)
            lines.append(f"{group}: {given} of {len(asked)} {_GROUPS[group]}")
            for item in _items_of(group):
                lines += _row(ITEMS[item].name, *self._told(item, left_out), column, width)
            for item in extra if group == "pair" else ():
                text = f"{self._seen(item)}, though not expected"
                lines += _row(item.partition(":")[2], text, False, column, width)
        if len(groups) < len(_GROUPS):
            lines += textwrap.wrap(_NOT_COUNTED, max(width, 20))
        return lines

    def _told(self, item: str, left_out: Mapping[str, str]) -> tuple[str, bool]:
        """What to say of an item, and whether that is code."""
        seen = self._seen(item) if self.counts[item] > 0 else ""
        if item in left_out:
            return f"left out: {left_out[item]}{f' (yet {seen})' if seen else ''}", False
        return (seen, False) if seen else (ITEMS[item].serve, True)

    def _seen(self, item: str) -> str:
        count = self.counts[item]
        return f"seen by {count} test{'s' * (count != 1)}"

    def matrix(self) -> dict[str, dict[str, int]]:
        """How many tests were given a job of each status with each phase.

        For example ``{"COMPLETED": {"SUCCEEDED": 3}}``.
        """
        seen: dict[str, dict[str, int]] = {}
        listed = [item for item in ITEMS if item in self.counts]
        for item in dict.fromkeys((*listed, *sorted(self.counts))):
            match = _PAIR.fullmatch(item)
            if match and self.counts[item] > 0:
                seen.setdefault(match[1], {})[match[2]] = self.counts[item]
        return seen


_NOT_COUNTED = (
    f"{', '.join(_KNOWLEDGE_BASE_GROUPS)}: not counted, as no test was given an answer about a"
    " knowledge base"
)


def _items_of(group: str, left_out: Iterable[str] = ()) -> list[str]:
    return [item for item in ITEMS if ITEMS[item].group == group and item not in left_out]


def _row(name: str, text: str, is_code: bool, column: int, width: int) -> list[str]:
    start = f"  {name:<{column}}  "
    if len(start) + len(text) <= width:
        return [start + text]
    if is_code:  # left whole, so that it can be copied
        return [start.rstrip(), f"    {text}"]
    room = max(width - len(start), 20)
    parts = textwrap.wrap(text, room) or [""]
    return [start + parts[0], *(" " * len(start) + part for part in parts[1:])]


def _shown(value: object) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


# Its files: each process writes one, and they are put together afterwards.


def read(path: Path | str) -> Coverage:
    """The coverage in a file. Raises ``CoverageFileError`` for a file that can't be read as one."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise CoverageFileError(
            path, f"can't be read: {error.strerror or type(error).__name__}"
        ) from None
    try:
        parsed = json.loads(content) if len(content) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        head = _HEAD.encode()
        cut = content.startswith(head) or head.startswith(content)
        problem = (
            f"is cut short or damaged ({len(content)} bytes)"
            if cut
            else "is no file of outcome coverage"
        )
        raise CoverageFileError(path, problem) from None
    return Coverage.from_json(parsed, source=path)


def write(path: Path | str, coverage: Coverage) -> None:
    """Write a coverage to a file, whole or not at all.

    Raises ``OSError`` where that can't be done.
    """
    text = json.dumps(coverage.to_json(), indent=2) + "\n"
    write_whole(Path(path), text.encode())


def combine(
    paths: Iterable[Path | str], *, skip_broken: bool = False
) -> tuple[Coverage, list[CoverageFileError]]:
    """The coverages of several files added up; a file named twice counts once.

    Raises ``CoverageFileError`` for the first broken file. With ``skip_broken`` broken files are
    left out, and their errors are given back.
    """
    whole, broken = Coverage(), []
    for path in {Path(path).absolute(): path for path in paths}.values():
        try:
            whole.merge(read(path))
        except CoverageFileError as error:
            if not skip_broken:
                raise
            broken.append(error)
    return whole, broken


# What a project never expects to be given.


def parse_left_out(lines: Sequence[str]) -> dict[str, str]:
    """The items to leave out, each with the reason.

    A line is, for example, ``status:NO_CHANGES: we never re-index``. A star stands for all items of
    a group: ``source:*: we have only buckets``.

    Raises ``ValueError`` for an unknown item, naming those most like it, and for a missing reason.
    """
    left_out: dict[str, str] = {}
    for line in filter(None, (" ".join(line.split()) for line in lines)):
        item, reason = _split(line)
        group, _, name = item.partition(":")
        items = _items_of(group) if name == "*" else [item] if item in ITEMS else []
        if not items:
            raise ValueError(f"{line!r}: {item!r} is no item of outcome coverage{_hint(item)}")
        if not reason:
            raise ValueError(f"{line!r}: a reason is needed: {item}: we never ...")
        left_out |= dict.fromkeys(items, reason)
    return left_out


def _split(line: str) -> tuple[str, str]:
    group, _, rest = line.partition(":")
    if group.strip().lower() not in _GROUPS:
        return group.strip(), rest.strip()
    name, _, reason = rest.partition(":")
    return f"{group.strip()}:{name.strip()}", reason.strip()


def _hint(item: str) -> str:
    # Compared without case and punctuation, with the group or without it; × is hard to type.
    def plain(text: str) -> str:
        return re.sub(r"[\W_]", "", text.lower().replace("×", "x"))

    group, _, name = item.rpartition(":")
    same = [known for known in ITEMS if plain(ITEMS[known].name) == plain(name)]
    mine = [known for known in same if ITEMS[known].group == group.strip().lower()]
    near = (mine or same) or difflib.get_close_matches(item, ITEMS, n=3, cutoff=0.5)
    return (
        f" (did you mean {' or '.join(near[:3])}?)" if near else f". Groups: {', '.join(_GROUPS)}"
    )
