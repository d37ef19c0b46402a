"""The published reference's example as a source, for contract tests of generated clients."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import CallMatch, match
from pytest_indexjob.api.knowledge_bases import (
    NUMBER,
    DatabaseStatus,
    FileUpload,
    KnowledgeBase,
    KnowledgeBaseDataSource,
    ScheduledIndexing,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.wire import BOOL, INT64, TEXT, TIME, UINT64, UUID, Kind, WireModel
from pytest_indexjob.exchange import Request, Response

# The reference's own values: one for each kind.
_TEXT = "example string"
_NUMBER = 123
_EXAMPLES: dict[Kind, Any] = {
    UUID: "123e4567-e89b-12d3-a456-426614174000",
    TIME: "2023-01-01T00:00:00Z",
    TEXT: _TEXT,
    INT64: _NUMBER,
    UINT64: "12345",
    BOOL: True,
    NUMBER: 123.0,
}


def _example_value(kind: Kind) -> Any:
    if kind.enum:
        return next(iter(kind.enum)).value
    if kind.model:
        return _example_object(kind.model)
    if kind.items is UUID:  # the reference gives a text here
        return [_TEXT]
    return [_example_value(kind.items)] if kind.items else _EXAMPLES[kind]


def _example_object(model: type[WireModel]) -> dict[str, Any]:
    return {name: _example_value(kind) for name, kind in model.kinds().items()}


def example_job() -> dict[str, Any]:
    """The job of the reference's example, as on the wire: every field is there."""
    return _example_object(IndexingJob)


def _bodies() -> dict[str, Any]:
    job = {"job": example_job()}
    rest = {
        "links": {"pages": dict.fromkeys(("first", "previous", "next", "last"), _TEXT)},
        "meta": dict.fromkeys(("page", "pages", "total"), _NUMBER),
    }
    page = {"jobs": [example_job()], **rest}
    base = _example_object(KnowledgeBase)
    one_base = {"knowledge_base": base}
    source = _example_object(KnowledgeBaseDataSource)
    one_source = {"knowledge_base_data_source": source}
    schedule = {"indexing_info": _example_object(ScheduledIndexing)}
    agent = {"uuid": _EXAMPLES[UUID], "name": _TEXT, "knowledge_bases": [base]}
    one_agent = {"agent": agent}
    return {
        "jobs.get": job,
        "jobs.create": job,
        "jobs.cancel": job,
        "jobs.list": page,
        "jobs.list_for_knowledge_base": page,
        "jobs.data_sources": {"indexed_data_sources": [_example_object(IndexedDataSource)]},
        "jobs.details_signed_url": {"signed_url": _TEXT},
        "knowledge_bases.create": one_base,
        "knowledge_bases.list": {"knowledge_bases": [base], **rest},
        "knowledge_bases.get": {
            **one_base,
            "database_status": DatabaseStatus.CREATING.value,
        },
        "knowledge_bases.update": one_base,
        "knowledge_bases.delete": {"uuid": _EXAMPLES[UUID]},
        "data_sources.create": one_source,
        "data_sources.list": {"knowledge_base_data_sources": [source], **rest},
        "data_sources.update": one_source,
        "data_sources.delete": {
            "data_source_uuid": _EXAMPLES[UUID],
            "knowledge_base_uuid": _EXAMPLES[UUID],
        },
        "uploads.create": {"request_id": _TEXT, "uploads": [_example_object(FileUpload)]},
        "schedules.create": schedule,
        "schedules.get": schedule,
        "schedules.delete": schedule,
        "agents.create": one_agent,
        "agents.list": {"agents": [agent], **rest},
        "agents.get": one_agent,
        "agents.update": one_agent,
        "agents.delete": one_agent,
        "agents.attach_all": one_agent,
        "agents.attach": one_agent,
        "agents.detach": one_agent,
    }


class DocumentedExample:
    """Answers every call with the reference's example, whatever was asked."""

    def __init__(self) -> None:
        self._bodies = {call: json.dumps(body).encode() for call, body in _bodies().items()}

    def handle(self, request: Request) -> Response:
        """The example of that call, or 404 for what is none."""
        found = match(request.method, urlsplit(request.url).path)
        body = self._bodies[found.call.name] if isinstance(found, CallMatch) else None
        headers = (("Content-Type", "application/json"),)
        if body is None:
            return Response(404, headers, b'{"id": "not_found", "message": "no such call"}')
        return Response(200, headers, body)
