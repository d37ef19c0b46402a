"""What stands around a job: knowledge bases, their data sources, uploads and schedules.

Source: the published OpenAPI for the fields. What a data source's kind holds is kept as it came.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.wire import (
    BOOL,
    INT64,
    OBJECT,
    TEXT,
    TIME,
    URL,
    UUID,
    WireEnum,
    WireModel,
    enum_of,
    field,
    list_of,
    object_of,
    unknown_fields,
)


class DatabaseStatus(WireEnum):
    """How the database of a knowledge base stands (the reference's ``dbaasClusterStatus``)."""

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
        """Nothing: these values have no prefix."""
        return ""


class ChunkingAlgorithm(WireEnum):
    """How documents are cut into chunks (the reference's ``apiChunkingAlgorithm``)."""

    UNKNOWN = "CHUNKING_ALGORITHM_UNKNOWN"
    SECTION_BASED = "CHUNKING_ALGORITHM_SECTION_BASED"
    HIERARCHICAL = "CHUNKING_ALGORITHM_HIERARCHICAL"
    SEMANTIC = "CHUNKING_ALGORITHM_SEMANTIC"
    FIXED_LENGTH = "CHUNKING_ALGORITHM_FIXED_LENGTH"


SOURCE_KINDS = (
    "spaces_data_source",
    "web_crawler_data_source",
    "file_upload_data_source",
    "aws_data_source",
    "dropbox_data_source",
    "google_drive_data_source",
)
# Fields of a data source that no answer shows again.
SECRET_FIELDS = frozenset(("key_id", "secret_key", "refresh_token"))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class KnowledgeBase(WireModel):
    """A knowledge base. ``last_indexing_job`` is ``None`` until there was a job."""

    uuid: str = field(UUID)
    name: str = field(TEXT)
    project_id: str = field(UUID)
    region: str = field(TEXT)
    embedding_model_uuid: str = field(UUID)
    database_id: str = field(UUID)
    tags: tuple[str, ...] = field(list_of(TEXT))
    is_public: bool = field(BOOL)
    user_id: str = field(TEXT)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    added_to_agent_at: datetime | None = field(TIME)
    reranking_config: dict[str, Any] | None = field(OBJECT)
    last_indexing_job: IndexingJob | None = field(object_of(IndexingJob))
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class KnowledgeBaseDataSource(WireModel):
    """A data source of a knowledge base: one of the six kinds is there, as a JSON object."""

    uuid: str = field(UUID)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    spaces_data_source: dict[str, Any] | None = field(OBJECT)
    web_crawler_data_source: dict[str, Any] | None = field(OBJECT)
    file_upload_data_source: dict[str, Any] | None = field(OBJECT)
    aws_data_source: dict[str, Any] | None = field(OBJECT)
    dropbox_data_source: dict[str, Any] | None = field(OBJECT)
    google_drive_data_source: dict[str, Any] | None = field(OBJECT)
    chunking_algorithm: ChunkingAlgorithm = field(enum_of(ChunkingAlgorithm))
    chunking_options: dict[str, Any] | None = field(OBJECT)
    last_datasource_indexing_job: IndexedDataSource | None = field(object_of(IndexedDataSource))
    extra: dict[str, Any] = unknown_fields()

    @property
    def kind(self) -> str:
        """Which of the six kinds it is: ``spaces_data_source``, ...; ``""`` for none."""
        return next((kind for kind in SOURCE_KINDS if getattr(self, kind) is not None), "")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class UploadUrl(WireModel):
    """Where the bytes of one file can be PUT to."""

    presigned_url: str = field(URL)
    object_key: str = field(TEXT)
    original_file_name: str = field(TEXT)
    expires_at: datetime | None = field(TIME)
    extra: dict[str, Any] = unknown_fields()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IndexingSchedule(WireModel):
    """When a knowledge base is indexed by itself.

    ``days`` are counted as cron counts them (Monday is 1), ``time`` is ``HH:MM`` in UTC.
    """

    uuid: str = field(UUID)
    knowledge_base_uuid: str = field(UUID)
    days: tuple[int, ...] = field(list_of(INT64))
    time: str = field(TEXT)
    is_active: bool = field(BOOL)
    next_run_at: datetime | None = field(TIME)
    last_ran_at: datetime | None = field(TIME)
    deleted_at: datetime | None = field(TIME)
    created_at: datetime | None = field(TIME)
    updated_at: datetime | None = field(TIME)
    extra: dict[str, Any] = unknown_fields()
