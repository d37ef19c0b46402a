"""Strategies for Hypothesis: jobs, their JSON, their whole lives, knowledge bases, and faults.

Needs ``pip install 'pytest-indexjob[hypothesis]'``. An example shrinks to what matters, and its
``repr`` is code that can be pasted into a test, after ``import datetime`` and the names of this
package that stand in it. The parts of a knowledge base are in
``pytest_indexjob.api.knowledge_bases``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar

from pytest_indexjob.api.calls import CALLS
from pytest_indexjob.api.knowledge_bases import (
    NUMBER,
    SOURCE_KINDS,
    KnowledgeBase,
    KnowledgeBaseDataSource,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.outcomes import (
    OUTCOMES,
    DataSourceStatus,
    IndexingJobPhase,
    IndexingJobStatus,
    Outcome,
)
from pytest_indexjob.api.wire import (
    BOOL,
    INT64,
    TEXT,
    TIME,
    UINT64,
    UINT64_MAX,
    UUID,
    Kind,
    WireEnum,
    WireModel,
)
from pytest_indexjob.simulation import faults
from pytest_indexjob.simulation.scenarios import Scenario, Step

try:
    from hypothesis import strategies as st
except ImportError:
    raise ImportError(
        "pytest_indexjob.strategies needs Hypothesis: pip install 'pytest-indexjob[hypothesis]'"
    ) from None

# A fault's name, how many calls it strikes, and which (`None`: any), as `Simulator.inject` takes
# them.
Misbehaviour = tuple[str, int, str | None]

_E = TypeVar("_E", bound=WireEnum)


def indexing_jobs() -> st.SearchStrategy[IndexingJob]:
    """Jobs that the contract allows: known and unknown values, any counts and times.

    Their parts need not agree with each other (a job may finish before it starts). ``lifecycles``
    gives jobs whose parts do.
    """
    return _INDEXING_JOBS


def data_sources() -> st.SearchStrategy[IndexedDataSource]:
    """Data sources that the contract allows, with parts that need not agree with each other."""
    return _DATA_SOURCES


def wire_jobs() -> st.SearchStrategy[dict[str, Any]]:
    """Jobs as parsed JSON, without the ``job`` around them, in any form that must be read.

    Fields omitted, ``null`` and ``""``; uint64 as strings and as numbers, up to their limits; times
    with fractions and offsets; unknown fields and unknown values.
    """
    return _WIRE_JOBS


def lifecycles(*, endless: bool = False) -> st.SearchStrategy[Scenario]:
    """Whole lives of jobs, for ``indexjob_simulator.start(scenario)``.

    They end within an hour, in any of the ends that a job can come to; with ``endless`` some never
    end. Every answer is valid by the published OpenAPI, and at no moment does a job contradict
    itself.
    """
    return _ENDLESS_LIFECYCLES if endless else _LIFECYCLES


def knowledge_bases() -> st.SearchStrategy[KnowledgeBase]:
    """Knowledge bases that are valid by the published OpenAPI, with a last job or without one.

    The last job's parts need not agree with each other.
    """
    return _KNOWLEDGE_BASES


def knowledge_base_data_sources() -> st.SearchStrategy[KnowledgeBaseDataSource]:
    """Data sources of a knowledge base, of every kind, valid by the published OpenAPI."""
    return _BASE_SOURCES


def misbehaviours() -> st.SearchStrategy[list[Misbehaviour]]:
    """Faults: lists of ``(fault, times, on)``.

    They are for ``indexjob_simulator.inject(fault, times=times, on=on)``.

    Each strikes 1 to 5 calls, so that some outlast a client that tries a call four times.
    """
    return _MISBEHAVIOURS


# Values of fields. A draw takes some 30 us, so each value takes one draw. The simplest value is the
# field's default, which a repr leaves out: so an example shrinks to the fields that matter.

_MOMENT = datetime(2025, 10, 31, 1, 8, 33, tzinfo=UTC)  # the start of a job that was seen live
# What Go's zero time and an unset clock look like, and the last moment of RFC 3339.
_ODD_MOMENTS = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
# The reference's own example has quotes around it. Code must not choke on the others either.
_ODD_UUIDS = ('"123e4567-e89b-12d3-a456-426614174000"', "not a uuid", "../é")


# Hypothesis draws evenly from ranges of less than 24 bits, so these say how often each kind comes.
_WHOLE = 4_000_000
_FRACTIONS = 7_000_000
_LAST_TIME = 8_000_000
_LAST_UUID = 15


def _time(number: int) -> datetime | None:
    if number <= _WHOLE:
        return _MOMENT + timedelta(seconds=number - 1) if number else None
    if number <= _FRACTIONS:
        # A fraction, and an offset of whole quarters of an hour, as those of the world's clocks
        # are.
        zone = timezone(timedelta(minutes=15 * (number % 97 - 48)))
        return (
            _MOMENT + timedelta(seconds=number - _WHOLE, microseconds=number * 7919 % 10**6)
        ).astimezone(zone)
    return _ODD_MOMENTS[number % len(_ODD_MOMENTS)]


def _uuid(number: int) -> str:
    # Version 1, as the live service's are: code that insists on version 4 is wrong.
    odd = number - _LAST_UUID + len(_ODD_UUIDS) - 1
    if odd >= 0:
        return _ODD_UUIDS[odd]
    return f"{number:08x}-b5f6-11f0-9c3a-0a58a9feac02" if number else ""


_TIMES = st.integers(0, _LAST_TIME).map(_time)
_UUIDS = st.integers(0, _LAST_UUID).map(_uuid)
# Every character that UTF-8 has, as is `st.text`'s default. Where Hypothesis finds them by codec,
# its first run in a folder takes seconds, and fails its own health check on a busy machine.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_JSON = st.none() | st.booleans() | st.integers() | _TEXTS | st.lists(st.integers(), max_size=2)
# Fields that the service had in 2025-08, and made-up ones. Not `sampled_from`: the keys that it
# gives depend on those before, so that none of them could be taken out.
_UNKNOWN_NAMES = ("total_items_indexed", "total_items_failed", "embedding_model", "costs", "")
_UNKNOWN_FIELDS = st.dictionaries(
    st.integers(0, len(_UNKNOWN_NAMES) - 1).map(_UNKNOWN_NAMES.__getitem__), _JSON, max_size=2
)


def _members(enum: type[_E]) -> tuple[_E, ...]:
    """Each value of the contract, and some that the service may send one day."""
    return (*enum, enum(f"{enum.prefix()}ARCHIVED"), enum("paused"))


# Models.

_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    UUID: _UUIDS,
    UINT64: st.integers(0, UINT64.maximum),
    INT64: st.integers(0, INT64.maximum),
    TIME: _TIMES,
    TEXT: _TEXTS,
    BOOL: st.booleans(),
    NUMBER: st.floats(0, 1),
}


def _values(kind: Kind) -> st.SearchStrategy[Any]:
    if kind.items:
        return st.lists(_values(kind.items), max_size=3).map(tuple)
    if kind.enum:
        return st.sampled_from([*kind.enum])
    return _models(kind.model) if kind.model else _VALUES[kind]


def _fields(
    model: type[WireModel], drawn_apart: Sequence[str] = ()
) -> tuple[tuple[str, st.SearchStrategy[Any]], ...]:
    """A strategy for each field but those that are drawn apart."""
    fields = [
        (name, _values(kind)) for name, kind in model.kinds().items() if name not in drawn_apart
    ]
    return (*fields, ("extra", _UNKNOWN_FIELDS))


_SOURCE_FIELDS = _fields(IndexedDataSource, ("status",))
_JOB_FIELDS = _fields(IndexingJob, ("status", "phase", "data_source_jobs"))
# Most statuses come with the phase that the service sends beside them. The simplest job has
# neither.
_STANDINGS = (
    (IndexingJobStatus.UNKNOWN, IndexingJobPhase.UNKNOWN),
    *(2 * tuple((outcome.status, outcome.phase) for outcome in OUTCOMES.values())),
    *itertools.product(_members(IndexingJobStatus), _members(IndexingJobPhase)),
)
_STANDING = st.sampled_from(_STANDINGS)
_SOURCE_STATUSES = st.sampled_from(_members(DataSourceStatus))
_SOURCE_NUMBERS = st.sampled_from((0, 1, 0, 1, 2, 3))
_CHOICES = st.binary(max_size=16)


def _some(draw: st.DrawFn, fields: Sequence[tuple[str, st.SearchStrategy[Any]]]) -> dict[str, Any]:
    """Values for some of the fields, for four on average. The bytes of one draw choose which."""
    chosen = sorted({byte % len(fields) for byte in draw(_CHOICES)})
    return {fields[at][0]: draw(fields[at][1]) for at in chosen}


def _models(model: type[Any]) -> st.SearchStrategy[Any]:
    """A model with some of its fields."""
    fields = _fields(model)
    return st.composite(lambda draw: model(**_some(draw, fields)))()


@st.composite
def _source(draw: st.DrawFn, statuses: st.SearchStrategy[DataSourceStatus]) -> IndexedDataSource:
    return IndexedDataSource(status=draw(statuses), **_some(draw, _SOURCE_FIELDS))


@st.composite
def _job(
    draw: st.DrawFn,
    standings: st.SearchStrategy[tuple[IndexingJobStatus, IndexingJobPhase]],
    sources: st.SearchStrategy[IndexedDataSource],
) -> IndexingJob:
    status, phase = draw(standings)
    fields = _some(draw, _JOB_FIELDS)
    # Each drawn as a whole, so that shrinking can take it out as a whole.
    drawn = tuple(draw(sources) for _ in range(draw(_SOURCE_NUMBERS)))
    return IndexingJob(status=status, phase=phase, data_source_jobs=drawn, **fields)


_DATA_SOURCES = _source(_SOURCE_STATUSES)
_INDEXING_JOBS = _job(_STANDING, _DATA_SOURCES)

# Knowledge bases, with values of the contract alone.

_VALID_SOURCES = _source(st.sampled_from([*DataSourceStatus]))
_VALID_STANDINGS = [(outcome.status, outcome.phase) for outcome in OUTCOMES.values()]
_VALID_JOBS = _job(st.sampled_from(_VALID_STANDINGS), _VALID_SOURCES)
_VALID_UUIDS = _UUIDS.filter(bool)
_BASE_NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0189-.", min_size=3, max_size=63)
_BASE_FIELDS = (
    *_fields(KnowledgeBase, ("uuid", "name", "last_indexing_job")),
    ("name", _BASE_NAMES),
)
_BASE_SOURCE_FIELDS = _fields(
    KnowledgeBaseDataSource, ("uuid", "last_datasource_indexing_job", *SOURCE_KINDS)
)
_SOURCES_OF_KINDS = st.one_of(
    [
        st.tuples(st.just(name), _values(KnowledgeBaseDataSource.kinds()[name]))
        for name in SOURCE_KINDS
    ]
)


@st.composite
def _knowledge_base(draw: st.DrawFn) -> KnowledgeBase:
    fields = _some(draw, _BASE_FIELDS)
    job = draw(st.none() | _VALID_JOBS)
    return KnowledgeBase(uuid=draw(_VALID_UUIDS), last_indexing_job=job, **fields)


@st.composite
def _base_source(draw: st.DrawFn) -> KnowledgeBaseDataSource:
    kind, value = draw(_SOURCES_OF_KINDS)
    fields = _some(draw, _BASE_SOURCE_FIELDS)
    part = draw(st.none() | _VALID_SOURCES)
    return KnowledgeBaseDataSource(
        uuid=draw(_VALID_UUIDS), last_datasource_indexing_job=part, **{kind: value}, **fields
    )


_KNOWLEDGE_BASES = _knowledge_base()
_BASE_SOURCES = _base_source()

# The wire. Here too the simplest value is an absent field.

_LEFT_OUT = object()
_ABSENT = st.sampled_from((_LEFT_OUT, None, ""))


def _wire_time(moment: datetime, fraction: str, offset: str, separator: str) -> str:
    return f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}{fraction and '.'}{fraction}{offset}"


_WHOLE_SECONDS = st.integers(1, _WHOLE).map(_time)
_WIRE_TIMES = st.one_of(
    st.builds(
        _wire_time, _WHOLE_SECONDS, st.just(""), st.just("Z"), st.just("T")
    ),  # as the live service's are
    st.builds(
        _wire_time,
        _WHOLE_SECONDS,
        st.text("0123456789", max_size=9),
        st.sampled_from(("Z", "z", "+00:00", "-00:00", "+02:00", "+05:45", "-08:00")),
        st.sampled_from("Tt "),
    ),
    # A leap second, Go's zero time, and the last moment of RFC 3339.
    st.sampled_from(
        ("2016-12-31T23:59:60Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z")
    ),
)


def _wire_values(kind: Kind) -> st.SearchStrategy[Any]:
    """What may stand in a field of this kind."""
    if kind.enum:
        return st.sampled_from((_LEFT_OUT, *map(str, _members(kind.enum)), None, ""))
    if kind.maximum is not None:
        counts = st.integers(0, kind.maximum)
        odd = st.sampled_from((_LEFT_OUT, None, "", 0, "0", kind.maximum, str(kind.maximum)))
        return st.one_of(odd, counts.map(str), counts)
    if kind is BOOL:
        return st.sampled_from((_LEFT_OUT, True, False, None))
    if kind.items:
        return st.one_of(
            st.sampled_from((_LEFT_OUT, None)), st.lists(_UUIDS.filter(bool), max_size=3)
        )
    return st.one_of(_ABSENT, {TIME: _WIRE_TIMES, UUID: _UUIDS}.get(kind, _TEXTS))


def _wire_fields(model: type[WireModel]) -> tuple[tuple[str, st.SearchStrategy[Any]], ...]:
    fields = [
        (name, _wire_values(kind))
        for name, kind in model.kinds().items()
        if name != "data_source_jobs"
    ]
    return (*fields, ("extra", _UNKNOWN_FIELDS))


_WIRE_SOURCE_FIELDS = _wire_fields(IndexedDataSource)
_WIRE_JOB_FIELDS = _wire_fields(IndexingJob)
_WIRE_SOURCE_NUMBERS: st.SearchStrategy[Any] = st.sampled_from((_LEFT_OUT, 1, 2, 3, 0, None))


def _wire_object(
    draw: st.DrawFn, fields: Sequence[tuple[str, st.SearchStrategy[Any]]]
) -> dict[str, Any]:
    wire = _some(draw, fields)
    unknown: dict[str, Any] = wire.pop("extra", {})
    return {name: value for name, value in wire.items() if value is not _LEFT_OUT} | unknown


_WIRE_SOURCES = st.composite(_wire_object)(_WIRE_SOURCE_FIELDS)


def _wire_job(draw: st.DrawFn) -> dict[str, Any]:
    wire = _wire_object(draw, _WIRE_JOB_FIELDS)
    number = draw(_WIRE_SOURCE_NUMBERS)
    if number is _LEFT_OUT:
        return wire
    sources = None if number is None else [draw(_WIRE_SOURCES) for _ in range(number)]
    return wire | {"data_source_jobs": sources}


_WIRE_JOBS = st.composite(_wire_job)()

# Lives.


class _End(NamedTuple):
    """An end of a job: counts that its data sources may have, and that the first must have."""

    outcome: Outcome
    may: tuple[str, ...]
    must: tuple[str, ...] = ()


_ENDS = (
    _End(OUTCOMES["completed"], ("indexed", "skipped", "removed"), ("indexed",)),
    _End(OUTCOMES["no-changes"], ("skipped",), ("skipped",)),
    _End(OUTCOMES["partial"], ("indexed", "failed", "skipped", "removed"), ("indexed", "failed")),
    _End(OUTCOMES["partial"], ("indexed", "skipped", "removed"), ("indexed", "skipped")),
    _End(OUTCOMES["failed"], ("failed", "skipped"), ("failed",)),
    _End(OUTCOMES["error"], ("left",)),
    _End(OUTCOMES["cancelled"], ("indexed", "failed", "skipped", "removed", "left")),
)
_SOME_FILES = st.integers(0, 2**60)  # four of them are still a uint64
_AT_LEAST_ONE = st.integers(1, 2**60)
_BYTES_OF_A_FILE = 1000
_GAPS = st.integers(1, 500)  # seconds: seven of them make less than the hour that `wait` allows
_SHARES = st.integers(0, 100)  # percent
_CHOICE_OF_ENDS = st.sampled_from(_ENDS)
_MOST_SOURCES = 3


def _final_counts(draw: st.DrawFn, end: _End) -> list[dict[str, int]]:
    number = draw(st.integers(1 if end.must else 0, _MOST_SOURCES))
    return [
        {
            name: draw(_AT_LEAST_ONE if name in end.must and not at else _SOME_FILES)
            for name in end.may
        }
        for at in range(number)
    ]


def _source_at(end: _End, final: Mapping[str, int], share: int) -> IndexedDataSource:
    """A data source when a share of its work, in percent, is done."""
    done = {name: count * share // 100 for name, count in final.items() if name != "left"}
    files = sum(count for name, count in final.items() if name != "removed")
    size = min(files * _BYTES_OF_A_FILE, UINT64_MAX)
    indexed, failed = done.get("indexed", 0), done.get("failed", 0)
    return IndexedDataSource(
        status=_final_status(end, final) if share == 100 else DataSourceStatus.IN_PROGRESS,
        total_file_count=files,
        indexed_file_count=indexed,
        indexed_item_count=indexed,
        failed_item_count=failed,
        skipped_item_count=done.get("skipped", 0),
        removed_item_count=done.get("removed", 0),
        total_bytes=size,
        total_bytes_indexed=size * indexed // files if files else 0,
        error_msg="FILE_PARSE" if failed else "",
        error_details="some files could not be read" if failed else "",
    )


def _final_status(end: _End, final: Mapping[str, int]) -> DataSourceStatus:
    partly = final.get("failed", 0) or (
        end.outcome.status is IndexingJobStatus.PARTIAL and final.get("skipped", 0)
    )
    if end.outcome.status is IndexingJobStatus.FAILED:
        return DataSourceStatus.FAILED
    if final.get("left", 0):
        return DataSourceStatus.CANCELLED
    if final.get("indexed", 0) or final.get("removed", 0):
        return DataSourceStatus.PARTIALLY_UPDATED if partly else DataSourceStatus.UPDATED
    return DataSourceStatus.FAILED if final.get("failed", 0) else DataSourceStatus.NOT_UPDATED


def _progress(draw: st.DrawFn, number: int) -> Iterable[tuple[int, ...]]:
    """Shares of work done, of each data source at each of some moments: never less than before."""
    jumps = (
        draw(st.lists(st.tuples(*(_SHARES for _ in range(number))), max_size=3)) if number else []
    )
    return itertools.accumulate(jumps, lambda before, now: tuple(map(max, before, now)))


def _lifecycle(draw: st.DrawFn, endless: bool) -> Scenario:
    end = draw(_CHOICE_OF_ENDS)
    final = _final_counts(draw, end)
    fractions = draw(st.booleans())
    states: list[tuple[IndexingJobStatus, IndexingJobPhase, tuple[int, ...]]] = []
    if draw(st.booleans()):
        states.append((IndexingJobStatus.PENDING, IndexingJobPhase.PENDING, ()))
    # No totals at first, then counts that jump.
    running = itertools.chain([()], _progress(draw, len(final)))
    states += [
        (IndexingJobStatus.IN_PROGRESS, IndexingJobPhase.RUNNING, shares) for shares in running
    ]
    if not (endless and draw(st.booleans())):
        states.append((end.outcome.status, end.outcome.phase, (100,) * len(final)))
    moments = itertools.accumulate((draw(_GAPS) for _ in states[1:]), initial=0)
    steps = tuple(
        Step(
            at=at,
            status=status,
            phase=phase,
            data_sources=tuple(map(_source_at, itertools.repeat(end), final, shares)),
        )
        for at, (status, phase, shares) in zip(moments, states, strict=True)
    )
    return Scenario(name="lifecycle", steps=steps, fractions=fractions)


_LIFECYCLES = st.composite(_lifecycle)(endless=False)
_ENDLESS_LIFECYCLES = st.composite(_lifecycle)(endless=True)

_MISBEHAVIOURS = st.lists(
    st.tuples(
        st.sampled_from(faults.names()),
        st.integers(1, 5),
        st.sampled_from((None, *(call.usual_name for call in CALLS if call.resource == "jobs"))),
    ),
    max_size=5,
)
