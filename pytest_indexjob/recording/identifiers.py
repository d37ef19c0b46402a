"""The uuids of the jobs, knowledge bases and other resources that a recording is about.

What a recording asks for by a path, or makes by a POST, is what the recording is about. What its
answers only tell of (the items of a list, a job's knowledge base) counts where there is nothing
else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_indexjob.api.answers import read
from pytest_indexjob.api.calls import CallMatch, api_path, match

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_indexjob.exchange import Interaction

# The resource whose uuid follows a segment of a call's path.
_BY_SEGMENT = {
    "indexing_jobs": "jobs",
    "knowledge_bases": "knowledge_bases",
    "knowledge-base": "knowledge_bases",
    "data_sources": "data_sources",
    "scheduled-indexing": "schedules",
    "agents": "agents",
}
# The resource of an object, or of a list of objects, by the field that holds it.
_BY_FIELD = {
    "job": "jobs",
    "jobs": "jobs",
    "last_indexing_job": "jobs",
    "knowledge_base": "knowledge_bases",
    "knowledge_bases": "knowledge_bases",
    "knowledge_base_data_source": "data_sources",
    "knowledge_base_data_sources": "data_sources",
    "indexing_info": "schedules",
    "agent": "agents",
    "agents": "agents",
}
# The resource that a field names by its uuid, or by a list of uuids.
_BY_NAME = {
    "knowledge_base_uuid": "knowledge_bases",
    "data_source_uuid": "data_sources",
    "data_source_uuids": "data_sources",
}
_DEEPEST = 20  # levels of an answer, which may be hostile
RESOURCES = tuple(dict.fromkeys(_BY_SEGMENT.values()))


def uuids_of(interactions: Sequence[Interaction], resource: str) -> tuple[str, ...]:
    """The uuids of a resource that a recording is about, in the recording's order."""
    found = _asked_or_made(interactions, resource)
    return tuple(dict.fromkeys(found)) or tuple(dict.fromkeys(_told(interactions, resource)))


def _asked_or_made(interactions: Sequence[Interaction], resource: str) -> Iterator[str]:
    for request, response in interactions:
        found = match(request.method, api_path(request.url).rstrip("/"))
        if not isinstance(found, CallMatch):
            continue
        yield from _in_path(found, resource)
        if found.call.name == f"{resource}.create":
            yield from _in_json(read(None, 200, response.body).fields, resource)


def _in_path(found: CallMatch, resource: str) -> Iterator[str]:
    segments = found.call.path.split("/")
    places = [at for at, segment in enumerate(segments) if segment.startswith("{")]
    for at, argument in zip(places, found.arguments, strict=True):
        if _BY_SEGMENT.get(segments[at - 1]) == resource:
            yield argument


def _told(interactions: Sequence[Interaction], resource: str) -> Iterator[str]:
    for _, response in interactions:
        yield from _in_json(read(None, 200, response.body).fields, resource)


def _in_json(value: Any, resource: str, holder: str = "", depth: int = 0) -> Iterator[str]:
    """The uuids in a part of an answer; ``holder`` is the field that holds the part."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for each in value:
            yield from _in_json(each, resource, holder, depth + 1)
    elif isinstance(value, str) and value and _BY_NAME.get(holder) == resource:
        yield value
    elif hasattr(value, "items"):
        uuid = value.get("uuid")
        if isinstance(uuid, str) and uuid and _BY_FIELD.get(holder) == resource:
            yield uuid
        for name, each in value.items():
            yield from _in_json(each, resource, name, depth + 1)
