"""An indexing job as the service describes it, both ways on the wire.

Source: the published reference and OpenAPI (fields, formats, enum values), and bodies of the live
service. ``wire`` says how each kind of value is read and written.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import Any, Self

from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.outcomes import DataSourceStatus, IndexingJobPhase, IndexingJobStatus
from pytest_indexjob.api.wire import (
    BOOL,
    INT64,
    TEXT,
    TIME,
    UINT64,
    UUID,
    WireModel,
    enum_of,
    field,
    list_of,
    object_of,
    read_list,
    read_object,
    shown,
    unknown_fields,
)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IndexedDataSource(WireModel):
    """One data source's part in a job.

    Counts are ``int`` (0 to 2**64-1), bytes are bytes, times aware or ``None``.
    """

    data_source_uuid: str = field(UUID)
    status: DataSourceStatus = field(enum_of(DataSourceStatus))
    started_at: datetime | None = field(TIME)
    completed_at: datetime | None = field(TIME)
    total_file_count: int = field(UINT64)
    indexed_file_count: int = field(UINT64)
    indexed_item_count: int = field(UINT64)
    failed_item_count: int = field(UINT64)
    skipped_item_count: int = field(UINT64)
    removed_item_count: int = field(UINT64)
    total_bytes: int = field(UINT64)
    total_bytes_indexed: int = field(UINT64)
    error_msg: str = field(TEXT)
    error_details: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IndexingJob(WireModel):
    """An indexing job.

    Fields are named as on the wire; ``extra`` holds the fields that the contract does not know.

    ``tokens`` is deprecated by the service in favour of ``total_tokens``. The counts that end in
    ``_item_count``, ``_file_count`` and ``total_bytes`` are totals over ``data_source_jobs``.
    """

    uuid: str = field(UUID)
    knowledge_base_uuid: str = field(UUID)
    status: IndexingJobStatus = field(enum_of(IndexingJobStatus))
    phase: IndexingJobPhase = field(enum_of(IndexingJobPhase))
    created_at: datetime | None = field(TIME)
    started_at: datetime | None = field(TIME)
    finished_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    total_datasources: int = field(INT64)
    completed_datasources: int = field(INT64)
    total_tokens: int = field(UINT64)
    tokens: int = field(INT64)
    is_report_available: bool = field(BOOL)
    data_source_uuids: tuple[str, ...] = field(list_of(UUID))
    data_source_jobs: tuple[IndexedDataSource, ...] = field(list_of(object_of(IndexedDataSource)))
    extra: dict[str, Any] = unknown_fields()

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended: its status or its phase says so.

        Either may be missing or unknown.
        """
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
                name: INT64.read(meta.get(name) or 0, f"$.meta.{name}")
                for name in ("page", "pages", "total")
            },
            next=_page_number(pages["next"]) if pages.get("next") else None,
        )


def _page_number(link: object) -> int:
    # Only the number is taken from the link, so that a hostile one can't send the token elsewhere.
    match = re.search(
        r"[?&]page=(\d{1,18})(?:[&#]|\Z)", TEXT.read(link, "$.links.pages.next"), re.ASCII
    )
    if match is None:
        raise DecodeError(
            "$.links.pages.next", f"a link with a page number was expected, not {shown(link)}"
        )
    return int(match.group(1))


def utc(seconds: float) -> datetime:
    """The aware time, in UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
