"""Where recorded answers differ from the contract: ours, or an OpenAPI document of the user's.

Recordings are hostile input, and may hold secrets: no value of theirs is quoted but what looks like
a word of an enum, no name but what looks like a field's, and no depth is walked that the contract
does not have.
"""

from __future__ import annotations

import json
import operator
import re
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pytest_indexjob.api.calls import api_path
from pytest_indexjob.api.errors import DecodeError, IndexJobError
from pytest_indexjob.api.json_body import parse_json
from pytest_indexjob.api.schema import FORMATS, nearest_value, operation_of, path_pattern
from pytest_indexjob.recording.limits import LimitError, check_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

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
    },
    "$.job": {"uuid": "breaking"},
    "$.jobs[]": {"uuid": "breaking"},
}

_LARGEST_BODY = 64 * 2**20
_DEEPEST = 100
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

_INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


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
    """One way in which one answer differs from the contract: a ``Difference`` before it is counted."""

    severity: Severity
    kind: Kind
    path: str
    call: str
    detail: str


class _Call(NamedTuple):
    """A call as some contract describes it: ``shape`` gives an answer's schema by status, ``None`` for none."""

    text: str
    shape: Callable[[int], Mapping[str, Any] | None]


def drift(
    recordings: Iterable[Recording], *, schema: Mapping[str, Any] | None = None
) -> list[Difference]:
    """Every way in which the recordings' answers differ from the contract, the gravest first, each counted.

    ``schema`` is an OpenAPI document to compare with, as ``load_openapi`` gives it; our own
    contract unless given. Raises ``IndexJobError`` for a document that can't serve, and nothing for
    any recording.
    """
    find = (
        _our_call if schema is None else _calls_of(_indexing_calls(schema, "the OpenAPI document"))
    )
    seen: Counter[tuple[Mismatch, Path]] = Counter()
    for recording in recordings:
        for interaction in recording.interactions:
            seen.update((mismatch, recording.path) for mismatch in _mismatches(interaction, find))
    found = [Difference(*mismatch, path, count) for (mismatch, path), count in seen.items()]
    return sorted(
        found, key=lambda it: (_SEVERITIES.index(it.severity), str(it.cassette), *it[1:5])
    )


def mismatches(interaction: Interaction) -> list[Mismatch]:
    """The ways in which one recorded answer differs from our contract."""
    return list(_mismatches(interaction, _our_call))


def plain_body(response: Response) -> bytes | None:
    """An answer's body without its content encoding, or ``None`` where it can't be decoded here."""
    encoding = response.header("content-encoding").strip().lower()
    if encoding in ("", "identity"):
        return response.body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    for window in (47, -15):  # gzip or zlib by their headers, then deflate without any
        decoder = zlib.decompressobj(window)
        try:
            # Bounded: a few bytes can stand for any number.
            body = decoder.decompress(response.body, _LARGEST_BODY)
        except zlib.error:
            continue
        return body if decoder.eof else None
    return None


def _our_call(method: str, path: str) -> _Call | None:
    operation = operation_of(method, path)
    return operation and _Call(operation.call, operation.shape)


def _mismatches(
    interaction: Interaction, find: Callable[[str, str], _Call | None]
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
    """A request in words that can be shown: parts of its path that could be an identifier or a secret are left out."""
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
    body = plain_body(response)
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
    yield from _compare(parsed, shape, "$", 0)


def _sort_of_body(body: bytes) -> str:
    return f"{len(body)} bytes of something else" if body.strip() else "an empty body"


def _compare(value: object, shape: Mapping[str, Any], path: str, depth: int) -> Iterator[_Found]:
    """How a value differs from its schema.

    The depth is bounded by the schema's, which has no cycles.
    """
    alternatives = _alternatives(shape)
    if depth > _DEEPEST or not alternatives:
        return
    each = [list(_compare_one(value, alternative, path, depth)) for alternative in alternatives]
    # None fits: the one that fits best tells most.
    yield from min(each, key=len)


def _parts(shape: Mapping[str, Any], word: str) -> list[Mapping[str, Any]]:
    parts = shape.get(word)
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _alternatives(shape: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas that a value may be of: ``oneOf`` and ``anyOf`` laid flat, each one once."""
    flat: dict[int, Mapping[str, Any]] = {}
    waiting, seen = [shape], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        choices = _parts(part, "oneOf") + _parts(part, "anyOf")
        waiting.extend(choices)
        if not choices:
            flat[id(part)] = _merged(part)
    return list(flat.values())


def _merged(shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with the parts of its ``allOf``, at any depth, laid over one another."""
    if not _parts(shape, "allOf"):
        return shape
    merged: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    waiting, seen = [shape], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        waiting.extend(_parts(part, "allOf"))
        properties = _mapping(part, "properties") | properties
        merged = dict(part) | merged
    merged.pop("allOf", None)
    return merged | ({"properties": properties} if properties else {})


def _mapping(shape: object, word: str) -> dict[str, Any]:
    value = shape.get(word) if isinstance(shape, dict) else None
    return value if isinstance(value, dict) else {}


def _types(shape: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The JSON types that a schema names, and whether null is one."""
    given = shape.get("type")
    types = [
        it for it in (given if isinstance(given, list) else [given]) if it and isinstance(it, str)
    ]
    return [it for it in types if it != "null"], shape.get("nullable") is True or "null" in types


def _compare_one(
    value: object, shape: Mapping[str, Any], path: str, depth: int
) -> Iterator[_Found]:
    types, nullable = _types(shape)
    if value is None:
        if types and not nullable:
            yield _Found(
                "notable",
                "changed-type",
                path,
                "null, where what is empty is left out by the contract",
            )
        return
    if not types and "properties" in shape:
        types = ["object"]
    if (
        types
        and _type_of(value) not in types
        and not (_type_of(value) == "integer" and "number" in types)
    ):
        yield _Found(
            "breaking",
            "changed-type",
            path,
            f"{_wanted(shape, types)} was expected, not {_sort(value)}",
        )
    elif isinstance(value, dict):
        yield from _compare_object(value, shape, path, depth)
    elif isinstance(value, list):
        items = _mapping(shape, "items")
        for item in value if items else ():
            yield from _compare(item, items, f"{path}[]", depth + 1)
    elif isinstance(value, str):
        yield from _compare_text(value, shape, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _compare_number(value, shape, path)


def _type_of(value: object) -> str:
    names = {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "number",
    }
    return names.get(type(value), "null")


def _sort(value: object) -> str:
    """What sort of value it is; never the value."""
    return {"object": "an object", "array": "an array", "integer": "an integer"}.get(
        _type_of(value), f"a {_type_of(value)}"
    )


def _wanted(shape: Mapping[str, Any], types: Sequence[str]) -> str:
    form = shape.get("format")
    names = " or ".join(types)
    sort = f"{'an' if names[0] in 'aeiou' else 'a'} {names}"
    return f"{sort} of format {form}" if isinstance(form, str) else sort


def _can_be_shown(word: str, form: re.Pattern[str]) -> bool:
    # The length first: what follows takes time by it.
    if len(word) > _LONGEST_WORD or sum(map(str.isdigit, word)) > _MOST_DIGITS:
        return False
    return form.fullmatch(word) is not None


def _shown_name(name: str) -> str:
    return name if _can_be_shown(name, _FIELD_NAME) else _HIDDEN


def _compare_object(
    value: dict[str, Any], shape: Mapping[str, Any], path: str, depth: int
) -> Iterator[_Found]:
    properties = _mapping(shape, "properties")
    for name, severity in _EXPECTED.get(path, {}).items():
        if name in properties and value.get(name) is None:
            yield _Found(severity, "missing-field", f"{path}.{name}", _missing(severity))
    others = _mapping(shape, "additionalProperties")
    unknown: list[str] = []
    for name, item in value.items():
        known = properties.get(name)
        if isinstance(known, dict):
            if item is not None or name not in _EXPECTED.get(path, {}):
                yield from _compare(item, known, f"{path}.{name}", depth + 1)
        elif others:
            yield from _compare(item, others, f"{path}.{_shown_name(name)}", depth + 1)
        elif properties and known is None:
            unknown.append(name)
    # Bounded: a hostile answer may have any number of them.
    for name in sorted({_shown_name(name) for name in unknown})[:_MOST_UNKNOWN_FIELDS]:
        yield _Found(
            "notable", "unknown-field", f"{path}.{name}", "the contract does not have this field"
        )


def _missing(severity: Severity) -> str:
    if severity == "info":
        return "it is missing, as an empty list may be"
    return "it is missing: without it the answer says nothing"


def _compare_text(value: str, shape: Mapping[str, Any], path: str) -> Iterator[_Found]:
    allowed, form = shape.get("enum"), shape.get("format")
    is_of = FORMATS.get(form) if isinstance(form, str) else None
    if isinstance(allowed, list) and value not in allowed:
        if value:
            yield _Found("notable", "unknown-value", path, _unknown_value(value, allowed))
        else:
            yield _Found(
                "notable", "unknown-value", path, "an empty string, where what is empty is left out"
            )
    elif is_of is not None and not is_of(value):
        severity: Severity = "breaking" if value else "notable"
        sort = f"another string, of {len(value)} characters" if value else "an empty one"
        yield _Found(
            severity, "changed-type", path, f"{_wanted(shape, ['string'])} was expected, not {sort}"
        )


def _unknown_value(value: str, allowed: Sequence[object]) -> str:
    if not _can_be_shown(value, _ENUM_VALUE):
        return f"a string of {len(value)} characters that is none of the enum's values"
    known = [it for it in allowed if isinstance(it, str)]
    near = nearest_value(value, known) if known else ""
    return f"{value} is none of the enum's values{f'; the nearest is {near}' if near else ''}"


def _compare_number(value: float, shape: Mapping[str, Any], path: str) -> Iterator[_Found]:
    form = shape.get("format")
    least, most = _INTEGER_RANGES.get(form, (None, None)) if isinstance(form, str) else (None, None)
    for limit, given, is_out in (("minimum", least, operator.lt), ("maximum", most, operator.gt)):
        bound = shape.get(limit, given)
        if isinstance(bound, int | float) and not isinstance(bound, bool) and is_out(value, bound):
            yield _Found("breaking", "changed-type", path, f"a number beyond the {limit}, {bound}")


def load_openapi(path: Path) -> Mapping[str, Any]:
    """The indexing-job calls of an OpenAPI document in a file (YAML or JSON), references resolved, the rest left out.

    Raises ``IndexJobError`` where the file can't be read, holds none of these calls, or where a
    reference that they need leads nowhere, out of the document, or in a circle.
    """
    return _indexing_calls(_read_document(path), str(path))


def _read_document(path: Path) -> object:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise IndexJobError(
            f"{path}: this OpenAPI document can't be read: {_reason(error)}"
        ) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_limits(text, most_nodes=2_000_000)
        return yaml.load(text, Loader=loader)  # noqa: S506  # both loaders are safe ones; JSON is YAML
    except LimitError as error:
        raise IndexJobError(f"{path}: this OpenAPI document can't be used: {error}") from None
    except Exception as error:  # noqa: BLE001  # PyYAML has no list of what `!!bool x` and the like raise
        mark = getattr(error, "problem_mark", None)
        where = f"{path}{f':{mark.line + 1}' if mark else ''}"
        raise IndexJobError(
            f"{where}: this OpenAPI document is neither YAML nor JSON, or nests too deep"
        ) from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__


class _Resolver:
    """Copies parts of a document with each reference replaced by what it leads to, each part once."""

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self._document = document
        self._name = name
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()

    def error(self, problem: str) -> IndexJobError:
        return IndexJobError(f"{self._name}: this OpenAPI document can't be used: {problem}")

    def resolve(self, node: Any, depth: int = 0) -> Any:
        """The node with all references in it resolved.

        Parts of the document that are shared stay so.
        """
        if not isinstance(node, dict | list):
            return node
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._open:
            raise self.error("a part of it holds itself")
        if depth > _DEEPEST:
            raise self.error(f"it nests deeper than {_DEEPEST}")
        self._open.add(id(node))
        resolved = self._resolved(node, depth)
        self._open.discard(id(node))
        self._done[id(node)] = resolved
        return resolved

    def _resolved(self, node: Any, depth: int) -> Any:
        if isinstance(node, list):
            return [self.resolve(item, depth + 1) for item in node]
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = self.target(reference)
            if id(target) in self._open:
                raise self.error(f"a reference leads in a circle{self._shown(reference)}")
            return self.resolve(target, depth + 1)
        return {name: self.resolve(item, depth + 1) for name, item in node.items()}

    def follow(self, node: Any) -> Any:
        """The node, or what it leads to if it is a reference, with the references inside left as they are."""
        followed: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            if node["$ref"] in followed:
                raise self.error(f"a reference leads in a circle{self._shown(node['$ref'])}")
            followed.add(node["$ref"])
            node = self.target(node["$ref"])
        return node

    def target(self, reference: str) -> Any:
        """What a reference within the document leads to."""
        if not reference.startswith("#"):
            raise self.error(
                f"a reference leads out of it{self._shown(reference)}. Bundle it into one file"
                " first"
            )
        node: Any = self._document
        for token in unquote(reference[1:]).split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and re.fullmatch(r"[0-9]{1,6}", key) and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                raise self.error(f"a reference leads nowhere{self._shown(reference)}")
        return node

    @staticmethod
    def _shown(reference: object) -> str:
        return f": {reference[:120]!r}" if isinstance(reference, str) else ""


def _indexing_calls(document: object, name: str) -> Mapping[str, Any]:
    """An OpenAPI document cut down to the answers of the indexing-job calls, which have no reference left in them.

    Only what these need is resolved: the whole service's document has circles elsewhere.
    """
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise IndexJobError(
            f"{name}: this is no OpenAPI document: a mapping with `paths` was expected"
        )
    resolver = _Resolver(document, name)
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        if isinstance(path, str) and "indexing_jobs" in path.split("/"):
            paths[path] = _operations(resolver, item)
    if not any(paths.values()):
        raise IndexJobError(f"{name}: this OpenAPI document has no call of the indexing-job API")
    return {"openapi": document.get("openapi"), "paths": paths}


def _operations(resolver: _Resolver, item: Any) -> dict[str, Any]:
    item = resolver.follow(item)
    operations = {}
    for method in ("get", "post", "put", "patch", "delete"):
        operation = resolver.follow(item.get(method)) if isinstance(item, dict) else None
        if isinstance(operation, dict) and isinstance(operation.get("responses"), dict):
            answers = operation["responses"].items()
            operations[method] = {
                "responses": {str(status): _answer(resolver, it) for status, it in answers}
            }
    return operations


def _answer(resolver: _Resolver, answer: Any) -> dict[str, Any]:
    # Headers, examples and links are left out with the references they may hold.
    content = _mapping(resolver.follow(answer), "content")
    media = next(
        (it for sort, it in content.items() if "json" in str(sort) and isinstance(it, dict)), None
    )
    if media is None:
        return {}
    return {"content": {"application/json": {"schema": resolver.resolve(media.get("schema"))}}}


def _calls_of(document: Mapping[str, Any]) -> Callable[[str, str], _Call | None]:
    """How to find a call of a document by its method and path."""
    calls = [
        (
            method.upper(),
            path_pattern(path),
            _Call(f"{method.upper()} {path}", _shapes(operation["responses"])),
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]

    def find(method: str, path: str) -> _Call | None:
        return next(
            (call for its, pattern, call in calls if its == method and pattern.fullmatch(path)),
            None,
        )

    return find


def _shapes(responses: Mapping[str, Any]) -> Callable[[int], Mapping[str, Any] | None]:
    def shape(status: int) -> Mapping[str, Any] | None:
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in responses:
                schema = _mapping(_mapping(responses[key], "content"), "application/json").get(
                    "schema"
                )
                # An answer without a schema allows any body.
                return schema if isinstance(schema, dict) else {}
        return None

    return shape


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
