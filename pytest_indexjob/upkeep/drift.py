"""Where recorded answers differ from the contract: ours, or an OpenAPI document of the user's.

Recordings are hostile input, and may hold secrets: no value of theirs is quoted but what looks like
a word of an enum, no name but what looks like a field's, and no depth is walked that the contract
does not have.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import api_path
from pytest_indexjob.api.errors import DecodeError, IndexJobError
from pytest_indexjob.api.json_body import parse_json
from pytest_indexjob.api.schema import FORMATS, nearest_value, operation_of
from pytest_indexjob.upkeep.openapi import NEEDS_EXTRA, Call, calls_of, indexing_calls, mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jsonschema import FormatChecker, ValidationError
    from jsonschema.protocols import Validator

    from pytest_indexjob.exchange import Interaction, Request, Response
    from pytest_indexjob.recording.cassette import Recording

Severity = Literal["breaking", "notable", "info"]
Kind = Literal["unknown-field", "unknown-value", "changed-type", "missing-field", "unknown-call"]

_SEVERITIES: tuple[Severity, ...] = ("breaking", "notable", "info")
# Absence alone is no drift, as the service omits what is empty; without one of these an answer
# means nothing. A list may be omitted for being empty.
_EXPECTED: dict[str, dict[str, Severity]] = {
    "$": {
        "job": "breaking",
        "signed_url": "breaking",
        "jobs": "info",
        "indexed_data_sources": "info",
        "knowledge_base": "breaking",
        "knowledge_bases": "info",
        "knowledge_base_data_source": "breaking",
        "knowledge_base_data_sources": "info",
        "uploads": "breaking",
        "indexing_info": "breaking",
        "agent": "breaking",
        "agents": "info",
    },
    "$.job": {"uuid": "breaking"},
    "$.jobs[]": {"uuid": "breaking"},
    "$.knowledge_base": {"uuid": "breaking"},
    "$.knowledge_bases[]": {"uuid": "breaking"},
    "$.knowledge_base_data_source": {"uuid": "breaking"},
    "$.knowledge_base_data_sources[]": {"uuid": "breaking"},
    "$.uploads[]": {"presigned_url": "breaking", "object_key": "breaking"},
    "$.agent": {"uuid": "breaking"},
    "$.agents[]": {"uuid": "breaking"},
}

# The keywords whose violation is a difference. `required` is not among them, as absence is none.
_KEYWORDS = (
    "additionalProperties",
    "anyOf",
    "enum",
    "format",
    "items",
    "maximum",
    "minimum",
    "properties",
    "type",
)
_SORTS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}
_MOST_UNKNOWN_FIELDS = 20
_HIDDEN = "(a name not shown)"

# Words and names that can be shown: a key or a token has more digits, or is longer, or has no such
# form.
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_ENUM_VALUE = re.compile(r"[A-Z]{1,24}|[A-Z]+(?:_[A-Z0-9]+)+")
_LONGEST_WORD = 64
_MOST_DIGITS = 4
_PATH_SEGMENT = re.compile(r"[a-z_-]{1,24}|v\d")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,80}")


class Difference(NamedTuple):
    """One way in which a cassette's answers differ from the contract. ``seen`` counts how often.

    ``breaking``: code that relies on the contract may fail on it. ``notable``: something that such
    code does not know. ``info``: nothing to act on by itself. ``path`` is the JSON path, ``call``
    the method and the path's template.
    """

    severity: Severity
    kind: Kind
    path: str
    call: str
    detail: str
    cassette: Path
    seen: int


class Mismatch(NamedTuple):
    """One way in which one answer differs from the contract, before it is counted."""

    severity: Severity
    kind: Kind
    path: str
    call: str
    detail: str


def can_compare() -> bool:
    """Whether the libraries of the extra ``drift`` are installed."""
    return all(importlib.util.find_spec(name) for name in ("jsonschema", "referencing"))


def drift(
    recordings: Iterable[Recording], *, schema: Mapping[str, Any] | None = None
) -> list[Difference]:
    """Every way in which the recordings' answers differ from the contract, the gravest first.

    ``schema`` is an OpenAPI document to compare with, as ``load_openapi`` gives it; our own
    contract unless given. Raises ``IndexJobError`` for a document that can't serve and where
    jsonschema is not installed, and nothing for any recording.
    """
    find = _our_call if schema is None else calls_of(indexing_calls(schema, "the OpenAPI document"))
    seen: Counter[tuple[Mismatch, Path]] = Counter()
    for recording in recordings:
        for interaction, times in Counter(recording.interactions).items():
            for mismatch in _mismatches(interaction, find):
                seen[mismatch, recording.path] += times
    found = [Difference(*mismatch, path, count) for (mismatch, path), count in seen.items()]
    return sorted(
        found, key=lambda it: (_SEVERITIES.index(it.severity), str(it.cassette), *it[1:5])
    )


def mismatches(interaction: Interaction) -> list[Mismatch]:
    """The ways in which one recorded answer differs from our contract."""
    return list(_mismatches(interaction, _our_call))


def _our_call(method: str, path: str) -> Call | None:
    operation = operation_of(method, path)
    return operation and Call(operation.call, operation.shape)


def _mismatches(
    interaction: Interaction, find: Callable[[str, str], Call | None]
) -> Iterator[Mismatch]:
    request, response = interaction
    call = find(request.method, api_path(request.url))
    if call is None:
        yield _unknown_call(request)
        return
    shape = call.shape(response.status)
    if shape is None:
        if response.status >= 400 or response.status < 300:
            detail = f"the contract has no answer with HTTP status {response.status}"
            yield Mismatch("notable", "unknown-value", "$", call.text, detail)
        return
    for found in _body_mismatches(response, shape):
        yield Mismatch(found.severity, found.kind, found.path, call.text, found.detail)


def _unknown_call(request: Request) -> Mismatch:
    ours = operation_of(request.method, api_path(request.url))
    if ours is not None:
        return Mismatch(
            "notable", "unknown-call", "$", ours.call, "the document does not have this call"
        )
    return Mismatch(
        "info",
        "unknown-call",
        "$",
        shown_call(request),
        "no call of the indexing-job API: not compared",
    )


def shown_call(request: Request) -> str:
    """A request in words that can be shown.

    Parts of its path that could be an identifier or a secret are left out.
    """
    method = request.method if re.fullmatch(r"[A-Z]{1,12}", request.method) else "?"
    try:
        parts = urlsplit(request.url)
        host = parts.hostname or ""
    except ValueError:
        return f"{method} (no URL)"
    segments = parts.path.split("/")
    path = "/".join(
        part if not part or _PATH_SEGMENT.fullmatch(part) else "..." for part in segments[:12]
    )
    return f"{method} {host if _HOST.fullmatch(host) else '?'}{path}"


class _Found(NamedTuple):
    """A mismatch at one place of a body."""

    severity: Severity
    kind: Kind
    path: str
    detail: str


def _body_mismatches(response: Response, shape: Mapping[str, Any]) -> Iterator[_Found]:
    body = response.plain_body
    if body is None:
        yield _Found(
            "info",
            "changed-type",
            "$",
            "the body's content encoding can't be undone here: not compared",
        )
        return
    try:
        parsed = parse_json(body)
    except DecodeError:
        # Whatever stands before the service answers errors in its own way.
        severity: Severity = "breaking" if response.status < 400 else "notable"
        yield _Found(severity, "changed-type", "$", f"JSON was expected, not {_sort_of_body(body)}")
        return
    yield from _compare(parsed, shape)


def _sort_of_body(body: bytes) -> str:
    return f"{len(body)} bytes of something else" if body.strip() else "an empty body"


def _compare(body: Any, shape: Mapping[str, Any]) -> Iterator[_Found]:
    """How a body differs from its schema."""
    yield from _missing_fields(body, shape, "$")
    validator_class, formats = _comparison()
    try:
        errors = list(_leaves(validator_class(shape, format_checker=formats).iter_errors(body)))
    except RecursionError:
        yield _Found("breaking", "changed-type", "$", "it nests too deep to be compared")
        return
    of_wrong_type = {tuple(it.absolute_path) for it in errors if it.validator == "type"}
    for error in errors:
        # A value of another type has no format, no range and no place in an enum.
        if error.validator == "type" or tuple(error.absolute_path) not in of_wrong_type:
            yield from _told(error)


def _missing_fields(value: object, shape: Mapping[str, Any], path: str) -> Iterator[_Found]:
    """The fields that are missing although the answer means nothing without them."""
    if isinstance(value, list):
        for item in value:
            yield from _missing_fields(item, mapping(shape, "items"), f"{path}[]")
    if not isinstance(value, dict):
        return
    properties = mapping(shape, "properties")
    for name, severity in _EXPECTED.get(path, {}).items():
        if name not in properties:
            continue
        place = f"{path}.{name}"
        if value.get(name) is None:
            yield _Found(severity, "missing-field", place, _missing(severity))
        else:
            yield from _missing_fields(value[name], mapping(properties, name), place)


def _missing(severity: Severity) -> str:
    if severity == "info":
        return "it is missing, as an empty list may be"
    return "it is missing: without it the answer says nothing"


@cache
def _comparison() -> tuple[type[Validator], FormatChecker]:
    """The validator for answers, and its formats.

    Raises ``IndexJobError`` where jsonschema is not installed.
    """
    try:
        from jsonschema import Draft4Validator, Draft202012Validator, FormatChecker
        from jsonschema.validators import create
    except ImportError:
        raise IndexJobError(NEEDS_EXTRA) from None

    keywords = {name: Draft202012Validator.VALIDATORS[name] for name in _KEYWORDS}
    validator_class = create(
        meta_schema=Draft202012Validator.META_SCHEMA,
        validators=keywords | {"properties": _with_unknown(keywords["properties"])},
        # 1.0 is an integer since draft 6, but clients in many languages can't read it as one.
        type_checker=Draft4Validator.TYPE_CHECKER,
    )
    formats = FormatChecker(formats=())
    for name, holds in FORMATS.items():
        formats.checks(name)(partial(_is_of_format, holds))
    return validator_class, formats


def _is_of_format(holds: Callable[[str], bool], value: object) -> bool:
    return not isinstance(value, str) or holds(value)


def _with_unknown(properties: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
    """The keyword ``properties``, which also tells the fields that the schema does not have."""
    from jsonschema import ValidationError

    def properties_and_unknown(
        validator: Validator, known: Mapping[str, Any], value: object, schema: Mapping[str, Any]
    ) -> Iterator[Any]:
        yield from properties(validator, known, value, schema) or ()
        if not isinstance(value, dict) or not known or mapping(schema, "additionalProperties"):
            return
        # Bounded: a hostile answer may have any number of them.
        unknown = sorted({_shown_name(name) for name in value if name not in known})
        for name in unknown[:_MOST_UNKNOWN_FIELDS]:
            yield ValidationError("unknown field", path=[name])

    return properties_and_unknown


def _leaves(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """The errors; in the place of a choice of which nothing fits, those of what fits best.

    A value that is of none of the types remains an error of the choice.
    """
    from jsonschema.exceptions import relevance

    for error in errors:
        choices = {it.schema_path[0] for it in error.context or ()}
        of_wrong_type = {
            it.schema_path[0]
            for it in error.context or ()
            if it.validator == "type" and not it.path
        }
        if choices == of_wrong_type:
            yield error
        else:
            nearest = min(error.context, key=relevance).schema_path[0]
            yield from _leaves(it for it in error.context if it.schema_path[0] == nearest)


def _told(error: ValidationError) -> Iterator[_Found]:
    """An error of jsonschema in our words, as its own quote values."""
    value: Any = error.instance
    shape: Any = error.schema
    path = "".join(
        "[]" if isinstance(part, int) else f".{_shown_name(part)}" for part in error.absolute_path
    )
    path = f"${path}"
    if error.validator in ("type", "anyOf"):
        yield from _told_type(value, shape, path)
    elif error.validator == "properties":
        yield _Found("notable", "unknown-field", path, "the contract does not have this field")
    elif error.validator == "enum":
        detail = _unknown_value(value, shape["enum"])
        yield _Found("notable", "unknown-value", path, detail)
    elif error.validator == "format":
        severity: Severity = "breaking" if value else "notable"
        sort = f"another string, of {len(value)} characters" if value else "an empty one"
        detail = f"{_wanted(shape)} was expected, not {sort}"
        yield _Found(severity, "changed-type", path, detail)
    else:
        detail = f"a number beyond the {error.validator}, {error.validator_value}"
        yield _Found("breaking", "changed-type", path, detail)


def _told_type(value: object, shape: Mapping[str, Any], path: str) -> Iterator[_Found]:
    parent, _, name = path.rpartition(".")
    if value is not None:
        detail = f"{_wanted(shape)} was expected, not {_sort(value)}"
        yield _Found("breaking", "changed-type", path, detail)
    elif name not in _EXPECTED.get(parent, {}):  # which is told as missing
        detail = "null, where what is empty is left out by the contract"
        yield _Found("notable", "changed-type", path, detail)


def _sort(value: object) -> str:
    """What sort of value it is; never the value."""
    return _SORTS[type(value)]


def _wanted(shape: Mapping[str, Any]) -> str:
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(map(_wanted, shape["anyOf"])))
    types, form = shape.get("type", "string"), shape.get("format")
    names = [it for it in ([types] if isinstance(types, str) else types) if it != "null"]
    text = " or ".join(names or ["null"])
    sort = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    return f"{sort} of format {form}" if form else sort


def _can_be_shown(word: str, form: re.Pattern[str]) -> bool:
    # The length first: what follows takes time by it.
    if len(word) > _LONGEST_WORD or sum(map(str.isdigit, word)) > _MOST_DIGITS:
        return False
    return form.fullmatch(word) is not None


def _shown_name(name: str) -> str:
    return name if _can_be_shown(name, _FIELD_NAME) else _HIDDEN


def _unknown_value(value: object, allowed: Sequence[object]) -> str:
    if not isinstance(value, str):
        return f"{_sort(value)} that is none of the enum's values"
    if not value:
        return "an empty string, where what is empty is left out"
    if not _can_be_shown(value, _ENUM_VALUE):
        return f"a string of {len(value)} characters that is none of the enum's values"
    known = [it for it in allowed if isinstance(it, str)]
    near = nearest_value(value, known) if known else ""
    return f"{value} is none of the enum's values{f'; the nearest is {near}' if near else ''}"


def differences_text(differences: Sequence[Difference]) -> str:
    """The differences as lines to read."""
    if not differences:
        return "no difference: the recorded answers are by the contract"
    return "\n".join(
        f"{it.severity}: {it.kind} at {it.path} of {it.call}: {it.detail} ({it.seen} x in"
        f" {printable(it.cassette)})"
        for it in differences
    )


def differences_json(differences: Sequence[Difference]) -> str:
    """The differences as a JSON array of objects, one a difference, named as the fields."""
    return json.dumps(
        [it._asdict() | {"cassette": str(it.cassette)} for it in differences], indent=2
    )


def printable(path: Path) -> str:
    """A path that any terminal can show on one line."""
    return "".join(it if it.isprintable() else ascii(it)[1:-1] for it in str(path))
