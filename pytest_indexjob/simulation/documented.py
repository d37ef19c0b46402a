"""The published reference's example as a source: for contract tests of generated clients, which need no state."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import CallMatch, match
from pytest_indexjob.api.models import DataSourceStatus, IndexedDataSource, IndexingJob
from pytest_indexjob.exchange import Request, Response

# The reference's own values: one for each type.
_UUID = "123e4567-e89b-12d3-a456-426614174000"
_MOMENT = "2023-01-01T00:00:00Z"
_TEXT = "example string"
_NUMBER = 123
_UINT64 = "12345"


def _example_source() -> dict[str, Any]:
    counts = [field.name for field in dataclasses.fields(IndexedDataSource) if field.default == 0]
    return {
        "data_source_uuid": _UUID,
        "started_at": _MOMENT,
        "completed_at": _MOMENT,
        "error_msg": _TEXT,
        "error_details": _TEXT,
        "status": DataSourceStatus.UNKNOWN.value,
        **dict.fromkeys(counts, _UINT64),
    }


def example_job() -> dict[str, Any]:
    """The job of the reference's example, as on the wire: every field is there."""
    times = ("created_at", "started_at", "finished_at", "updated_at")
    return {
        "uuid": _UUID,
        "knowledge_base_uuid": _UUID,
        **dict.fromkeys(times, _MOMENT),
        "completed_datasources": _NUMBER,
        "total_datasources": _NUMBER,
        "tokens": _NUMBER,
        "total_tokens": _UINT64,
        "is_report_available": True,
        "phase": IndexingJob().phase.value,
        "status": IndexingJob().status.value,
        "data_source_uuids": [_TEXT],
        "data_source_jobs": [_example_source()],
    }


def _bodies() -> dict[str, Any]:
    job = {"job": example_job()}
    page = {
        "jobs": [example_job()],
        "links": {"pages": dict.fromkeys(("first", "previous", "next", "last"), _TEXT)},
        "meta": dict.fromkeys(("page", "pages", "total"), _NUMBER),
    }
    return {
        "jobs.get": job,
        "jobs.create": job,
        "jobs.cancel": job,
        "jobs.list": page,
        "jobs.list_for_knowledge_base": page,
        "jobs.data_sources": {"indexed_data_sources": [_example_source()]},
        "jobs.details_signed_url": {"signed_url": _TEXT},
    }


class DocumentedExample:
    """Answers every call with the reference's example, whatever the uuid, the token and the body."""

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
