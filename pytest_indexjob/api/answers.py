"""What an answer says: the one reading of a body, for the client and for all who look on.

Source: the published OpenAPI for the wrappers (``job``, ``jobs`` with ``meta`` and ``links``,
``indexed_data_sources``, ``signed_url``) and for the fields of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from pytest_indexjob.api.calls import Call
from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.json_body import parse_json
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob, IndexingJobPage
from pytest_indexjob.api.wire import list_of, object_of, read_object


class ErrorBody(NamedTuple):
    """The fields of an error answer, each ``""`` where the body does not have it."""

    id: str = ""
    message: str = ""
    request_id: str = ""


class Answer:
    """What one answer says. Nothing is read before somebody asks for it.

    Raises nothing for a body that can't be read: ``problem`` then says why, and what the answer
    would have held is ``None``.
    """

    def __init__(self, call: Call | None, status: int, body: bytes, content_type: str = "") -> None:
        self.call = call
        self.status = status
        self._body = body
        self._content_type = content_type

    @cached_property
    def _parsed(self) -> object:
        try:
            return parse_json(self._body, self._content_type)
        except DecodeError as error:
            return error

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return not isinstance(self._parsed, DecodeError)

    @property
    def json(self) -> object:
        """The body's JSON. Raises ``DecodeError`` for a body that is not JSON."""
        if isinstance(self._parsed, DecodeError):
            raise self._parsed
        return self._parsed

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields of the body's JSON object; none for any other body."""
        return self._parsed if isinstance(self._parsed, dict) else {}

    @cached_property
    def value(self) -> Any:
        """What the call answers with: a job, a page of jobs, data sources or a URL.

        Raises ``DecodeError`` with the JSON path of what is wrong.
        """
        fields = read_object(self.json, "$")
        if self.call and self.call.name not in _WRAPPERS:  # no call of jobs: kept as it came
            return fields
        wrapper = _WRAPPERS.get(self.call.name if self.call else "") or _wrapper_in(fields)
        return _READERS[wrapper](fields)

    @property
    def problem(self) -> DecodeError | None:
        """Why the answer to a call that was granted can't be read."""
        try:
            _ = self.value
        except DecodeError as error:
            return error
        return None

    def _as(self, kind: type[Any]) -> Any:
        granted = 200 <= self.status < 300
        return self.value if granted and not self.problem and isinstance(self.value, kind) else None

    @property
    def job(self) -> IndexingJob | None:
        """The job, if the answer holds one that can be read."""
        job: IndexingJob | None = self._as(IndexingJob)
        return job

    @property
    def page(self) -> IndexingJobPage | None:
        """The page of jobs, if the answer holds one that can be read."""
        page: IndexingJobPage | None = self._as(IndexingJobPage)
        return page

    @property
    def data_sources(self) -> tuple[IndexedDataSource, ...] | None:
        """The data sources, if the answer holds some that can be read."""
        sources: tuple[IndexedDataSource, ...] | None = self._as(tuple)
        return sources

    @property
    def signed_url(self) -> str:
        """Where the report is, or ``""``."""
        return self._as(str) or ""

    @property
    def error(self) -> ErrorBody | None:
        """What the service says of a call that was not granted, or ``None`` of any other."""
        if self.status < 300:
            return None
        return ErrorBody(*(str(self.fields.get(name) or "") for name in ErrorBody._fields))


def read(call: Call | None, status: int, body: bytes, content_type: str = "") -> Answer:
    """What an answer says. ``body`` is without its content encoding.

    Where the ``call`` is not known, the wrapper in the body tells what the answer holds.
    """
    return Answer(call, status, body, content_type)


def job_in(fields: Mapping[str, Any]) -> IndexingJob:
    """The job of a JSON object. Raises ``DecodeError`` where there is none that can be read."""
    if fields.get("job") is None:
        raise DecodeError("$.job", "the answer holds no job")
    return IndexingJob.from_wire(fields["job"], "$.job")


def _data_sources_in(fields: Mapping[str, Any]) -> tuple[IndexedDataSource, ...]:
    sources = fields.get("indexed_data_sources") or []
    read_sources: tuple[IndexedDataSource, ...] = _SOURCES.read(sources, "$.indexed_data_sources")
    return read_sources


def _signed_url_in(fields: Mapping[str, Any]) -> str:
    url = fields.get("signed_url")
    if not isinstance(url, str) or not url:
        raise DecodeError("$.signed_url", "a URL was expected")
    return url


_SOURCES = list_of(object_of(IndexedDataSource))
# The field that wraps what a call answers with.
_WRAPPERS = {
    "jobs.get": "job",
    "jobs.list": "jobs",
    "jobs.create": "job",
    "jobs.cancel": "job",
    "jobs.data_sources": "indexed_data_sources",
    "jobs.details_signed_url": "signed_url",
    "jobs.list_for_knowledge_base": "jobs",
}
_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "job": job_in,
    "jobs": IndexingJobPage.from_wire,
    "indexed_data_sources": _data_sources_in,
    "signed_url": _signed_url_in,
}


def _wrapper_in(fields: Mapping[str, Any]) -> str:
    return next((wrapper for wrapper in _READERS if wrapper in fields), "job")
