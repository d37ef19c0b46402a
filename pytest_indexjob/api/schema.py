"""The shapes of the seven calls' answers, as JSON Schema: derived from the models, so that each fact stands once.

Source: the published OpenAPI for paths, wrappers, links, meta and errors; the field tables of the
models for the rest. Every field may be absent (the service omits zeros), unknown ones are allowed,
and a uuid may have any form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_indexjob.api import models
from pytest_indexjob.api.calls import CALLS, CallMatch, match
from pytest_indexjob.api.calls import path_pattern as path_pattern
from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.models import INT64_MAX, IndexedDataSource, IndexingJob, WireEnum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Operation(NamedTuple):
    """One call: ``name`` is the client's method, ``path`` a template, ``body`` and ``error`` the answers' shapes."""

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
        """What an answer with this HTTP status holds, or ``None`` where the contract does not say."""
        if 200 <= status < 300:
            return self.body
        return self.error if status >= 400 else None


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    shape: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": True}
    return shape | ({"required": list(required)} if required else {})


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Schema = {"type": "string"}
_UUID: Schema = {"type": "string", "format": "uuid"}
_INT64: Schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": INT64_MAX}
_URI: Schema = {"type": "string", "format": "uri"}

# A model's reader says what the wire holds. Those of text and of nested parts need the field's name
# as well.
_BY_READER: dict[Any, Schema] = {
    models._read_uint64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"},
    models._read_int64: _INT64,
    models._read_time: {"type": "string", "format": "date-time"},
    models._read_bool: {"type": "boolean"},
    models._read_texts: _array(_UUID),
    models._read_text: _TEXT,
}


def _field_shape(name: str, default: object, reader: object) -> Schema:
    if isinstance(default, WireEnum):
        return {"type": "string", "enum": [member.value for member in type(default)]}
    if reader is models._read_data_sources:
        return _array(_DATA_SOURCE)
    return _UUID if reader is models._read_text and name.endswith("uuid") else _BY_READER[reader]


def _model_shape(
    model: type[IndexingJob | IndexedDataSource], required: Sequence[str] = ()
) -> Schema:
    fields = {
        name: _field_shape(name, default, reader) for name, default, reader, _ in model._fields()
    }
    return _object(fields, required)


_DATA_SOURCE = _model_shape(IndexedDataSource)
_JOB = _model_shape(IndexingJob, ("uuid",))
_ERROR = _object({"id": _TEXT, "message": _TEXT, "request_id": _TEXT}, ("id", "message"))
_LINKS = _object({"pages": _object(dict.fromkeys(("first", "previous", "next", "last"), _URI))})
_META = _object(dict.fromkeys(("page", "pages", "total"), _INT64))

_ONE_JOB = _object({"job": _JOB}, ("job",))
# A list is never required: an empty one may be omitted.
_JOBS = _object({"jobs": _array(_JOB), "links": _LINKS, "meta": _META})
_DATA_SOURCES = _object({"indexed_data_sources": _array(_DATA_SOURCE)})
_SIGNED_URL = _object({"signed_url": _URI}, ("signed_url",))

_BODIES = {
    "jobs.get": _ONE_JOB,
    "jobs.list": _JOBS,
    "jobs.create": _ONE_JOB,
    "jobs.cancel": _ONE_JOB,
    "jobs.data_sources": _DATA_SOURCES,
    "jobs.details_signed_url": _SIGNED_URL,
    "jobs.list_for_knowledge_base": _JOBS,
}
CONTRACT: tuple[Operation, ...] = tuple(
    Operation(call.short_name, call.method, call.path, _BODIES[call.name], _ERROR) for call in CALLS
)
_OPERATIONS = dict(zip(CALLS, CONTRACT, strict=True))


def operation_of(method: str, path: str) -> Operation | None:
    """The call that a method and a path (a query may follow) make, or ``None`` for one that is no call of the API."""
    found = match(method.upper(), path)
    return _OPERATIONS[found.call] if isinstance(found, CallMatch) else None


def json_schema(operation: Operation, *, status: int = 200) -> Schema:
    """The JSON Schema (draft 2020-12) of an answer's body, for use with jsonschema. A new one, to be changed freely.

    ``status`` is the answer's HTTP status; one of which the contract says nothing allows any body.
    """
    # By way of its text, as a deep copy would still share the parts that stand in several places.
    shape: Schema = json.loads(json.dumps(operation.shape(status) or {}))
    return {"$schema": DIALECT, "title": f"{operation.call}: {status}"} | shape


def _reads(read: Callable[[object, str], object]) -> Callable[[str], bool]:
    def is_read(text: str) -> bool:
        try:
            read(text, "$")
        except DecodeError:
            return False
        return True

    return is_read


# Whether a string is of a format. Formats not named here are not checked: a uuid may have any form.
FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _reads(models._read_time),
    "uint64": _reads(models._read_uint64),
}


def nearest_value(value: str, values: Sequence[str]) -> str:
    """The one of an enum's known values that is most like an unknown one, or ``""``."""
    for enum in models._ENUMS:
        if values[0].startswith(enum.prefix()):
            near = enum.nearest(value)
            return near.value if near else ""
    return ""
