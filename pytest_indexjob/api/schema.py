"""The shapes of the calls' answers, as JSON Schema, derived from the models.

Source: the published OpenAPI for paths, wrappers, links, meta and errors; the field tables of the
models for the rest. Every field may be absent (the service omits zeros), unknown ones are allowed,
and a uuid may have any form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from pytest_indexjob.api.calls import CALLS, JOB_CALLS, CallMatch, match
from pytest_indexjob.api.calls import path_pattern as path_pattern
from pytest_indexjob.api.knowledge_bases import (
    DatabaseStatus,
    IndexingSchedule,
    KnowledgeBase,
    KnowledgeBaseDataSource,
    UploadUrl,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.wire import (
    INT64,
    TEXT,
    TIME,
    UINT64,
    URL,
    UUID,
    Schema,
    WireEnum,
    array,
    enum_of,
    json_object,
    object_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Operation(NamedTuple):
    """One call with the shapes of its answers.

    ``name`` is the client's method, ``path`` a template, ``body`` and ``error`` are JSON Schemas.
    """

    name: str
    method: str
    path: str
    body: Schema
    error: Schema

    @property
    def call(self) -> str:
        """The call in words: ``GET /v2/gen-ai/indexing_jobs/{uuid}``."""
        return f"{self.method} {self.path}"

    def shape(self, status: int) -> Schema | None:
        """The shape of an answer with this HTTP status.

        ``None`` where the contract does not say.
        """
        if 200 <= status < 300:
            return self.body
        return self.error if status >= 400 else None


_DATA_SOURCE = object_of(IndexedDataSource).schema
_JOB = object_of(IndexingJob, required=("uuid",)).schema
_ERROR = json_object(dict.fromkeys(("id", "message", "request_id"), TEXT.schema), ("id", "message"))
_LINKS = json_object(
    {"pages": json_object(dict.fromkeys(("first", "previous", "next", "last"), URL.schema))}
)
_META = json_object(dict.fromkeys(("page", "pages", "total"), INT64.schema))

_ONE_JOB = json_object({"job": _JOB}, ("job",))
# A list is never required: an empty one may be omitted.
_JOBS = json_object({"jobs": array(_JOB), "links": _LINKS, "meta": _META})
_DATA_SOURCES = json_object({"indexed_data_sources": array(_DATA_SOURCE)})
_SIGNED_URL = json_object({"signed_url": URL.schema}, ("signed_url",))

_KNOWLEDGE_BASE = object_of(KnowledgeBase).schema
_ONE_KNOWLEDGE_BASE = json_object({"knowledge_base": _KNOWLEDGE_BASE})
_KNOWLEDGE_BASES = json_object(
    {"knowledge_bases": array(_KNOWLEDGE_BASE), "links": _LINKS, "meta": _META}
)
_KB_SOURCE = object_of(KnowledgeBaseDataSource).schema
_ONE_KB_SOURCE = json_object({"knowledge_base_data_source": _KB_SOURCE})
_SCHEDULE = json_object({"indexing_info": object_of(IndexingSchedule).schema})
# Of an agent only what knowledge bases need is known here.
_AGENT = json_object({"uuid": UUID.schema, "knowledge_bases": array(_KNOWLEDGE_BASE)})

_BODIES = {
    "jobs.get": _ONE_JOB,
    "jobs.list": _JOBS,
    "jobs.create": _ONE_JOB,
    "jobs.cancel": _ONE_JOB,
    "jobs.data_sources": _DATA_SOURCES,
    "jobs.details_signed_url": _SIGNED_URL,
    "jobs.list_for_knowledge_base": _JOBS,
    "knowledge_bases.create": _ONE_KNOWLEDGE_BASE,
    "knowledge_bases.list": _KNOWLEDGE_BASES,
    "knowledge_bases.get": json_object(
        {"knowledge_base": _KNOWLEDGE_BASE, "database_status": enum_of(DatabaseStatus).schema},
        ("knowledge_base",),
    ),
    "knowledge_bases.update": _ONE_KNOWLEDGE_BASE,
    "knowledge_bases.delete": json_object({"uuid": UUID.schema}),
    "data_sources.create": _ONE_KB_SOURCE,
    "data_sources.list": json_object(
        {"knowledge_base_data_sources": array(_KB_SOURCE), "links": _LINKS, "meta": _META}
    ),
    "data_sources.update": _ONE_KB_SOURCE,
    "data_sources.delete": json_object(
        dict.fromkeys(("data_source_uuid", "knowledge_base_uuid"), UUID.schema)
    ),
    "uploads.create": json_object(
        {"request_id": TEXT.schema, "uploads": array(object_of(UploadUrl).schema)}
    ),
    "schedules.create": _SCHEDULE,
    "schedules.get": _SCHEDULE,
    "schedules.delete": _SCHEDULE,
    "agents.list": json_object({"agents": array(_AGENT), "links": _LINKS, "meta": _META}),
    **dict.fromkeys(
        (
            "agents.create",
            "agents.get",
            "agents.update",
            "agents.delete",
            "agents.attach_all",
            "agents.attach",
            "agents.detach",
        ),
        json_object({"agent": _AGENT}),
    ),
}
CONTRACT: tuple[Operation, ...] = tuple(
    Operation(
        call.short_name if call in JOB_CALLS else call.name,
        call.method,
        call.path,
        _BODIES[call.name],
        _ERROR,
    )
    for call in CALLS
)
_OPERATIONS = dict(zip(CALLS, CONTRACT, strict=True))


def operation_of(method: str, path: str) -> Operation | None:
    """The call that a method and a path make, or ``None``; a query may follow the path."""
    found = match(method.upper(), path)
    return _OPERATIONS[found.call] if isinstance(found, CallMatch) else None


def json_schema(operation: Operation, *, status: int = 200) -> Schema:
    """The JSON Schema (draft 2020-12) of an answer's body, for use with jsonschema.

    ``status`` is the answer's HTTP status. Where the contract says nothing of a status, any body
    is valid. The schema is a copy, which the caller may change.
    """
    # By way of its text, as a deep copy would still share the parts that stand in several places.
    shape: Schema = json.loads(json.dumps(operation.shape(status) or {}))
    return {"$schema": DIALECT, "title": f"{operation.call}: {status}"} | shape


# Whether a string is of a format. Formats not named here are not checked: a uuid may have any form.
FORMATS: dict[str, Callable[[str], bool]] = {
    kind.schema["format"]: kind.holds for kind in (TIME, UINT64)
}


def known_fields() -> dict[str, list[Schema]]:
    """The schemas of every field of the contract that holds one value, or a list of such."""
    found: dict[str, list[Schema]] = {}
    waiting = [shape for operation in CONTRACT for shape in (operation.body, operation.error)]
    while waiting:
        for name, schema in waiting.pop().get("properties", {}).items():
            items = schema.get("items", schema)
            if "properties" in items:
                waiting.append(items)
            if items not in found.setdefault(name, []):
                found[name].append(items)
    return found


def nearest_value(value: str, values: Sequence[str]) -> str:
    """The one of an enum's known values that is most like an unknown one, or ``""``."""
    for enum in WireEnum.__subclasses__():
        if enum.lists(values[0]):
            near = enum.nearest(value)
            return near.value if near else ""
    return ""
