"""A knowledge base, its data sources and its schedule as the service describes them.

Source: the published OpenAPI (fields, formats, enum values). ``tags`` is of the published
reference.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from typing import Any

from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.wire import (
    BOOL,
    INT64,
    TEXT,
    TIME,
    UINT64,
    UUID,
    Kind,
    WireEnum,
    WireModel,
    enum_of,
    field,
    list_of,
    object_of,
    shown,
    unknown_fields,
)


class DatabaseStatus(WireEnum):
    """How the database of a knowledge base stands (the OpenAPI's ``dbaasClusterStatus``)."""

    CREATING = "CREATING"
    ONLINE = "ONLINE"
    POWEROFF = "POWEROFF"
    REBUILDING = "REBUILDING"
    REBALANCING = "REBALANCING"
    DECOMMISSIONED = "DECOMMISSIONED"
    FORKING = "FORKING"
    MIGRATING = "MIGRATING"
    RESIZING = "RESIZING"
    RESTORING = "RESTORING"
    POWERING_ON = "POWERING_ON"
    UNHEALTHY = "UNHEALTHY"
    UPGRADING = "UPGRADING"

    @classmethod
    def prefix(cls) -> str:
        """The wire values have no common beginning."""
        return ""


class ChunkingAlgorithm(WireEnum):
    """How documents are cut into chunks (the OpenAPI's ``apiChunkingAlgorithm``)."""

    UNKNOWN = "CHUNKING_ALGORITHM_UNKNOWN"
    SECTION_BASED = "CHUNKING_ALGORITHM_SECTION_BASED"
    HIERARCHICAL = "CHUNKING_ALGORITHM_HIERARCHICAL"
    SEMANTIC = "CHUNKING_ALGORITHM_SEMANTIC"
    FIXED_LENGTH = "CHUNKING_ALGORITHM_FIXED_LENGTH"


class CrawlingOption(WireEnum):
    """How far a crawler follows links (the OpenAPI's ``apiCrawlingOption``)."""

    UNKNOWN = "UNKNOWN"
    SCOPED = "SCOPED"
    PATH = "PATH"
    DOMAIN = "DOMAIN"
    SUBDOMAINS = "SUBDOMAINS"
    SITEMAP = "SITEMAP"


def _read_number(value: object, path: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, str) or not math.isfinite(number):
        raise DecodeError(path, f"a number was expected, not {shown(value)}")
    return number


NUMBER = Kind(name="number", read=_read_number, write=float, schema={"type": "number"}, absent=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class BucketDataSource(WireModel):
    """A folder of a bucket of Spaces or of S3. The keys of S3 are never in an answer."""

    bucket_name: str = field(TEXT)
    item_path: str = field(TEXT)
    region: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WebCrawlerDataSource(WireModel):
    """Pages of a site."""

    base_url: str = field(TEXT)
    crawling_option: CrawlingOption = field(enum_of(CrawlingOption))
    embed_media: bool = field(BOOL)
    exclude_tags: tuple[str, ...] = field(list_of(TEXT))
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FileUploadDataSource(WireModel):
    """A file that was uploaded."""

    original_file_name: str = field(TEXT)
    size_in_bytes: int = field(UINT64)
    stored_object_key: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DropboxDataSource(WireModel):
    """A folder of Dropbox. Its refresh token is never in an answer."""

    folder: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GoogleDriveDataSource(WireModel):
    """A folder of Google Drive. Its refresh token is never in an answer."""

    folder_id: str = field(TEXT)
    folder_name: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ChunkingOptions(WireModel):
    """Sizes in tokens."""

    child_chunk_size: int = field(INT64)
    max_chunk_size: int = field(INT64)
    parent_chunk_size: int = field(INT64)
    semantic_threshold: float = field(NUMBER)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RerankingConfiguration(WireModel):
    """Whether and by which model what was found is ranked again."""

    enabled: bool = field(BOOL)
    model: str = field(TEXT)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class KnowledgeBaseDataSource(WireModel):
    """A data source of a knowledge base. One of the fields that end in ``_data_source`` is set."""

    uuid: str = field(UUID)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    spaces_data_source: BucketDataSource | None = field(object_of(BucketDataSource))
    web_crawler_data_source: WebCrawlerDataSource | None = field(object_of(WebCrawlerDataSource))
    file_upload_data_source: FileUploadDataSource | None = field(object_of(FileUploadDataSource))
    aws_data_source: BucketDataSource | None = field(object_of(BucketDataSource))
    dropbox_data_source: DropboxDataSource | None = field(object_of(DropboxDataSource))
    google_drive_data_source: GoogleDriveDataSource | None = field(object_of(GoogleDriveDataSource))
    bucket_name: str = field(TEXT)
    item_path: str = field(TEXT)
    region: str = field(TEXT)
    chunking_algorithm: ChunkingAlgorithm = field(enum_of(ChunkingAlgorithm))
    chunking_options: ChunkingOptions | None = field(object_of(ChunkingOptions))
    last_datasource_indexing_job: IndexedDataSource | None = field(object_of(IndexedDataSource))
    extra: dict[str, Any] = unknown_fields()

    @property
    def kind(self) -> str:
        """The name of the field that says where the documents are, or ``""`` for none."""
        return next((name for name in SOURCE_KINDS if getattr(self, name) is not None), "")


SOURCE_KINDS = tuple(
    name for name in KnowledgeBaseDataSource.kinds() if name.endswith("_data_source")
)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class KnowledgeBase(WireModel):
    """A knowledge base. ``last_indexing_job`` is ``None`` until there was a job."""

    uuid: str = field(UUID)
    name: str = field(TEXT)
    project_id: str = field(TEXT)
    region: str = field(TEXT)
    embedding_model_uuid: str = field(UUID)
    database_id: str = field(TEXT)
    tags: tuple[str, ...] = field(list_of(TEXT))
    is_public: bool = field(BOOL)
    user_id: str = field(TEXT)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    added_to_agent_at: datetime | None = field(TIME)
    reranking_config: RerankingConfiguration | None = field(object_of(RerankingConfiguration))
    last_indexing_job: IndexingJob | None = field(object_of(IndexingJob))
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ScheduledIndexing(WireModel):
    """When a knowledge base is indexed by itself. ``days`` are as cron counts them.

    ``time`` is ``HH:MM`` in UTC.
    """

    uuid: str = field(UUID)
    knowledge_base_uuid: str = field(UUID)
    days: tuple[int, ...] = field(list_of(INT64))
    time: str = field(TEXT)
    is_active: bool = field(BOOL)
    next_run_at: datetime | None = field(TIME)
    last_ran_at: datetime | None = field(TIME)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    deleted_at: datetime | None = field(TIME)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FileUpload(WireModel):
    """Where the bytes of one file are to be sent with PUT."""

    presigned_url: str = field(TEXT)
    object_key: str = field(TEXT)
    original_file_name: str = field(TEXT)
    expires_at: datetime | None = field(TIME)
    extra: dict[str, Any] = unknown_fields()


DATABASE_STATUS = enum_of(DatabaseStatus)
