"""An indexing job as the service describes it, both ways on the wire.

Source: the published reference and OpenAPI (fields, formats, enum values), and bodies of the live
service (omission of zeros, whole-second timestamps). Reading is lenient where the service has been
seen to differ or to change: ``null`` and ``""`` count as absent, unknown fields and enum values are
kept. It is strict where a value can't mean what it should.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from pytest_indexjob.api.errors import DecodeError

UINT64_MAX = 2**64 - 1
INT64_MAX = 2**63 - 1


class WireEnum(StrEnum):
    """A string enum of the service: members bear the wire value's last part, unknown values make members too."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # A value that the service added later: visible, equal to itself, and written back as it
        # came.
        member = str.__new__(cls, value)
        member._name_ = value.removeprefix(cls.prefix())
        member._value_ = value
        return member

    @classmethod
    def prefix(cls) -> str:
        """What every wire value begins with, such as ``INDEX_JOB_STATUS_``."""
        return next(iter(cls)).value.removesuffix("UNKNOWN")

    @property
    def is_known(self) -> bool:
        """Whether the published contract lists this value."""
        return self._value_ in type(self)._value2member_map_

    @classmethod
    def parse(cls, value: object) -> Self:
        """The member for a member, a wire string or a short name (``"NO_CHANGES"``, ``"no-changes"``).

        Raises ``ValueError``, naming the valid ones and the nearest, for anything else.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and not isinstance(value, WireEnum):
            if value in cls._value2member_map_:
                return cls(value)
            short = value.upper().replace("-", "_")
            if short in cls.__members__:
                return cls[short]
        raise ValueError(
            f"{value!r} is no {cls.__name__}{cls.hint(value)}. Valid: {', '.join(cls.__members__)}"
        )

    @classmethod
    def hint(cls, value: object) -> str:
        """A clause that names the nearest real value, or nothing."""
        near = cls.nearest(str(value))
        return f" (the service never sends it; did you mean {near.name}?)" if near else ""

    @classmethod
    def nearest(cls, value: str) -> Self | None:
        """The real member most like a value, or ``None`` where none is."""
        if value in cls._value2member_map_:
            return cls(value)
        short = value.upper().replace("-", "_")
        for other in _ENUMS:
            short = short.removeprefix(other.prefix())
        alias = _NEVER_SENT.get(short, {}).get(cls.__name__)
        # PARTIALLY_COMPLETED says PARTIAL, though more of its letters are those of COMPLETED.
        names = [alias] if alias else [name for name in cls.__members__ if short.startswith(name)]
        names = names or difflib.get_close_matches(short, cls.__members__, n=1, cutoff=0.5)
        return cls[names[0]] if names else None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}.{self.name}"
            if self.is_known
            else f"{type(self).__name__}({self.value!r})"
        )


class IndexingJobStatus(WireEnum):
    """How a job stands or ended (the reference's ``APIIndexingJobStatus``)."""

    UNKNOWN = "INDEX_JOB_STATUS_UNKNOWN"
    PARTIAL = "INDEX_JOB_STATUS_PARTIAL"
    IN_PROGRESS = "INDEX_JOB_STATUS_IN_PROGRESS"
    COMPLETED = "INDEX_JOB_STATUS_COMPLETED"
    FAILED = "INDEX_JOB_STATUS_FAILED"
    NO_CHANGES = "INDEX_JOB_STATUS_NO_CHANGES"
    PENDING = "INDEX_JOB_STATUS_PENDING"
    CANCELLED = "INDEX_JOB_STATUS_CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether a job with this status will not change any more.

        An unknown status is not known to be an end.
        """
        return self in _TERMINAL_STATUSES


class IndexingJobPhase(WireEnum):
    """Where the batch job behind an indexing job stands (the reference's ``APIIndexingJobPhase``)."""

    UNKNOWN = "BATCH_JOB_PHASE_UNKNOWN"
    PENDING = "BATCH_JOB_PHASE_PENDING"
    RUNNING = "BATCH_JOB_PHASE_RUNNING"
    SUCCEEDED = "BATCH_JOB_PHASE_SUCCEEDED"
    FAILED = "BATCH_JOB_PHASE_FAILED"
    ERROR = "BATCH_JOB_PHASE_ERROR"
    CANCELLED = "BATCH_JOB_PHASE_CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this phase will not change any more.

        An unknown phase is not known to be an end.
        """
        return self in _TERMINAL_PHASES


class DataSourceStatus(WireEnum):
    """How one data source of a job stands or ended (the reference's ``APIIndexedDataSourceStatus``)."""

    UNKNOWN = "DATA_SOURCE_STATUS_UNKNOWN"
    IN_PROGRESS = "DATA_SOURCE_STATUS_IN_PROGRESS"
    UPDATED = "DATA_SOURCE_STATUS_UPDATED"
    PARTIALLY_UPDATED = "DATA_SOURCE_STATUS_PARTIALLY_UPDATED"
    NOT_UPDATED = "DATA_SOURCE_STATUS_NOT_UPDATED"
    FAILED = "DATA_SOURCE_STATUS_FAILED"
    CANCELLED = "DATA_SOURCE_STATUS_CANCELLED"


_ENUMS: tuple[type[WireEnum], ...] = (IndexingJobStatus, IndexingJobPhase, DataSourceStatus)
_TERMINAL_STATUSES = frozenset(
    (
        IndexingJobStatus.PARTIAL,
        IndexingJobStatus.COMPLETED,
        IndexingJobStatus.FAILED,
        IndexingJobStatus.NO_CHANGES,
        IndexingJobStatus.CANCELLED,
    )
)
_TERMINAL_PHASES = frozenset(
    (
        IndexingJobPhase.SUCCEEDED,
        IndexingJobPhase.FAILED,
        IndexingJobPhase.ERROR,
        IndexingJobPhase.CANCELLED,
    )
)
# Words that public code expects though the service has another one for it.
_NEVER_SENT: dict[str, dict[str, str]] = {
    "COMPLETED": {"IndexingJobPhase": "SUCCEEDED", "DataSourceStatus": "UPDATED"},
    "COMPLETE": {"IndexingJobPhase": "SUCCEEDED", "DataSourceStatus": "UPDATED"},
    "SUCCEEDED": {"IndexingJobStatus": "COMPLETED", "DataSourceStatus": "UPDATED"},
    "SUCCESS": {
        "IndexingJobStatus": "COMPLETED",
        "IndexingJobPhase": "SUCCEEDED",
        "DataSourceStatus": "UPDATED",
    },
    "RUNNING": {"IndexingJobStatus": "IN_PROGRESS", "DataSourceStatus": "IN_PROGRESS"},
    "IN_PROGRESS": {"IndexingJobPhase": "RUNNING"},
    "ERROR": {"IndexingJobStatus": "FAILED", "DataSourceStatus": "FAILED"},
    "PARTIAL": {"IndexingJobPhase": "SUCCEEDED", "DataSourceStatus": "PARTIALLY_UPDATED"},
    "NO_CHANGES": {"IndexingJobPhase": "SUCCEEDED", "DataSourceStatus": "NOT_UPDATED"},
}

_E = TypeVar("_E", bound=WireEnum)
_DIGITS = re.compile(r"[0-9]{1,20}\Z")
_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_count(value: object, path: str, maximum: int) -> int:
    # The service sends uint64 as strings and int64 as numbers; hand-written fixtures mix them up.
    if isinstance(value, int) and not isinstance(value, bool):
        count = value
    elif isinstance(value, str) and _DIGITS.match(value):
        count = int(value)
    else:
        raise DecodeError(
            path, f"a count was expected, a whole number of 0 to {maximum}, not {_shown(value)}"
        )
    if not 0 <= count <= maximum:
        raise DecodeError(path, f"a count was expected, 0 to {maximum}, not {_shown(value)}")
    return count


def _read_uint64(value: object, path: str) -> int:
    return _read_count(value, path, UINT64_MAX)


def _read_int64(value: object, path: str) -> int:
    return _read_count(value, path, INT64_MAX)


def _read_time(value: object, path: str) -> datetime:
    match = _RFC_3339.match(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        date, minute, second, fraction, offset = match.groups()
        leap = second == "60"
        text = f"{date}T{minute}:{'59' if leap else second}.{(fraction or '0')[:6]:0<6}{offset.upper()}"
        return datetime.fromisoformat(text) + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        raise DecodeError(path, f"an RFC 3339 time was expected, not {_shown(value)}") from None


def _read_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(path, f"a string was expected, not {_shown(value)}")
    return value


def _read_bool(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise DecodeError(path, f"a boolean was expected, not {_shown(value)}")
    return value


def read_list(value: object, path: str) -> list[Any]:
    """A JSON array as it is. Raises ``DecodeError`` for anything else."""
    if not isinstance(value, list | tuple):
        raise DecodeError(path, f"a list was expected, not {_shown(value)}")
    return list(value)


def read_object(value: object, path: str) -> dict[str, Any]:
    """A JSON object as it is. Raises ``DecodeError`` for anything else."""
    if not isinstance(value, dict):
        raise DecodeError(path, f"an object was expected, not {_shown(value)}")
    return value


def _reader(enum: type[_E]) -> Any:
    def read_enum(value: object, path: str) -> _E:
        return enum(_read_text(value, path))

    return read_enum


def _read_texts(value: object, path: str) -> tuple[str, ...]:
    return tuple(
        _read_text(item, f"{path}[{at}]") for at, item in enumerate(read_list(value, path))
    )


def _read_data_sources(value: object, path: str) -> tuple[IndexedDataSource, ...]:
    return tuple(
        IndexedDataSource.from_wire(item, f"{path}[{at}]")
        for at, item in enumerate(read_list(value, path))
    )


def _write_time(value: datetime) -> str:
    # As protobuf's JSON does: no fraction, or three digits, or six.
    timespec = (
        "seconds"
        if not value.microsecond
        else "microseconds"
        if value.microsecond % 1000
        else "milliseconds"
    )
    text = value.isoformat(timespec=timespec)
    return f"{text[:-6]}Z" if value.utcoffset() == timedelta(0) else text


def _write_data_sources(value: tuple[IndexedDataSource, ...]) -> list[dict[str, Any]]:
    return [item.to_wire() for item in value]


def _field(read: Any, write: Any, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"read": read, "write": write})


def _uint64() -> Any:
    return _field(_read_uint64, str, 0)


def _int64() -> Any:
    return _field(_read_int64, int, 0)


def _time() -> Any:
    return _field(_read_time, _write_time, None)


def _text() -> Any:
    return _field(_read_text, str, "")


def _enum(enum: type[WireEnum]) -> Any:
    return _field(_reader(enum), str, next(iter(enum)))


class _WireModel:
    """Reading and writing by the table of fields that a model's annotations make."""

    extra: dict[str, Any]
    _table: ClassVar[tuple[tuple[str, Any, Any, Any], ...]]

    @classmethod
    def _fields(cls) -> tuple[tuple[str, Any, Any, Any], ...]:
        try:
            return cls.__dict__["_table"]  # type: ignore[no-any-return]
        except KeyError:
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            cls._table = tuple(
                (field.name, field.default, field.metadata["read"], field.metadata["write"])
                for field in fields
                if field.metadata
            )
            return cls._table

    @classmethod
    def from_wire(cls, obj: object, path: str = "$") -> Self:
        """The model for a parsed JSON object.

        Raises ``DecodeError`` with the JSON path of the first bad value.
        """
        rest = dict(read_object(obj, path))
        values = {}
        for name, _, read, _ in cls._fields():
            value = rest.pop(name, None)
            # protobuf's JSON omits what is empty; hand-written fixtures send null or "": all three
            # mean absent.
            if value is not None and value != "":
                values[name] = read(value, f"{path}.{name}")
        return cls(**values, extra=rest)  # type: ignore[call-arg]  # each subclass is a dataclass with it

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that the service would send: defaults omitted, uint64 as strings, unknown fields kept."""
        wire = {
            name: write(value)
            for name, default, _, write in self._fields()
            if (value := getattr(self, name)) != default
        }
        return wire | self.extra

    def __repr__(self) -> str:
        parts = [
            f"{name}={value!r}"
            for name, default, _, _ in self._fields()
            if (value := getattr(self, name)) != default
        ]
        if self.extra:
            parts.append(f"extra={self.extra!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IndexedDataSource(_WireModel):
    """One data source's part in a job.

    Counts are ``int`` (0 to 2**64-1), bytes are bytes, times aware or ``None``.
    """

    data_source_uuid: str = _text()
    status: DataSourceStatus = _enum(DataSourceStatus)
    started_at: datetime | None = _time()
    completed_at: datetime | None = _time()
    total_file_count: int = _uint64()
    indexed_file_count: int = _uint64()
    indexed_item_count: int = _uint64()
    failed_item_count: int = _uint64()
    skipped_item_count: int = _uint64()
    removed_item_count: int = _uint64()
    total_bytes: int = _uint64()
    total_bytes_indexed: int = _uint64()
    error_msg: str = _text()
    error_details: str = _text()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IndexingJob(_WireModel):
    """An indexing job. Fields are named as on the wire; ``extra`` holds those that the contract does not know.

    ``tokens`` is deprecated by the service in favour of ``total_tokens``. The counts that end in
    ``_item_count``, ``_file_count`` and ``total_bytes`` are totals over ``data_source_jobs``.
    """

    uuid: str = _text()
    knowledge_base_uuid: str = _text()
    status: IndexingJobStatus = _enum(IndexingJobStatus)
    phase: IndexingJobPhase = _enum(IndexingJobPhase)
    created_at: datetime | None = _time()
    started_at: datetime | None = _time()
    finished_at: datetime | None = _time()
    updated_at: datetime | None = _time()
    total_datasources: int = _int64()
    completed_datasources: int = _int64()
    total_tokens: int = _uint64()
    tokens: int = _int64()
    is_report_available: bool = _field(_read_bool, bool, False)
    data_source_uuids: tuple[str, ...] = _field(_read_texts, list, ())
    data_source_jobs: tuple[IndexedDataSource, ...] = _field(
        _read_data_sources, _write_data_sources, ()
    )
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended: its status or its phase says so (either may be missing or unknown)."""
        return self.status.is_terminal or self.phase.is_terminal

    @property
    def duration(self) -> float | None:
        """Seconds from ``started_at`` to ``finished_at``, or ``None`` where one is missing."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def _total(self, name: str) -> int:
        return sum(getattr(source, name) for source in self.data_source_jobs)

    @property
    def indexed_item_count(self) -> int:
        """Items indexed, over all data sources."""
        return self._total("indexed_item_count")

    @property
    def failed_item_count(self) -> int:
        """Items failed, over all data sources."""
        return self._total("failed_item_count")

    @property
    def skipped_item_count(self) -> int:
        """Items skipped (unchanged ones count here), over all data sources."""
        return self._total("skipped_item_count")

    @property
    def removed_item_count(self) -> int:
        """Items removed, over all data sources."""
        return self._total("removed_item_count")

    @property
    def indexed_file_count(self) -> int:
        """Files indexed, over all data sources."""
        return self._total("indexed_file_count")

    @property
    def total_file_count(self) -> int:
        """Files, over all data sources."""
        return self._total("total_file_count")

    @property
    def total_bytes(self) -> int:
        """Bytes of all files, over all data sources."""
        return self._total("total_bytes")

    @property
    def total_bytes_indexed(self) -> int:
        """Bytes indexed, over all data sources."""
        return self._total("total_bytes_indexed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexingJobPage:
    """One page of a list of jobs.

    ``next`` is the number of the next page, or ``None`` on the last.
    """

    jobs: tuple[IndexingJob, ...] = ()
    page: int = 0
    pages: int = 0
    total: int = 0
    next: int | None = None

    @classmethod
    def from_wire(cls, obj: object) -> Self:
        """The page for a parsed JSON object.

        Raises ``DecodeError`` with the JSON path of the first bad value.
        """
        body = read_object(obj, "$")
        meta = read_object(body.get("meta") or {}, "$.meta")
        pages = read_object(
            read_object(body.get("links") or {}, "$.links").get("pages") or {}, "$.links.pages"
        )
        jobs = enumerate(read_list(body.get("jobs") or [], "$.jobs"))
        return cls(
            jobs=tuple(IndexingJob.from_wire(job, f"$.jobs[{at}]") for at, job in jobs),
            **{
                name: _read_int64(meta.get(name) or 0, f"$.meta.{name}")
                for name in ("page", "pages", "total")
            },
            next=_page_number(pages["next"]) if pages.get("next") else None,
        )


def _page_number(link: object) -> int:
    # Only the number is taken from the link, so that a hostile one can't send the token elsewhere.
    match = re.search(
        r"[?&]page=(\d{1,18})(?:[&#]|\Z)", _read_text(link, "$.links.pages.next"), re.ASCII
    )
    if match is None:
        raise DecodeError(
            "$.links.pages.next", f"a link with a page number was expected, not {_shown(link)}"
        )
    return int(match.group(1))


def utc(seconds: float) -> datetime:
    """The aware time, in UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
