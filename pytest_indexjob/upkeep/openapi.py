"""What an OpenAPI document says of the indexing-job calls: their answers, as JSON Schemas.

The document is the user's, and may be of OpenAPI 3.0 or 3.1. Only what the calls need is read: the
whole service's document has circles elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.api.schema import path_pattern
from pytest_indexjob.recording.limits import LimitError, check_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NEEDS_EXTRA = (
    "comparing with the contract needs jsonschema and referencing:"
    " pip install 'pytest-indexjob[drift]'"
)
_DEEPEST = 100
_METHODS = ("get", "post", "put", "patch", "delete")
_TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
_INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


class Call(NamedTuple):
    """A call as a contract describes it.

    ``text`` is the method and the path's template. ``shape`` gives the JSON Schema of an answer by
    its HTTP status, ``None`` where the contract does not say.
    """

    text: str
    shape: Callable[[int], Mapping[str, Any] | None]


def load_openapi(path: Path) -> Mapping[str, Any]:
    """The indexing-job calls of an OpenAPI document in a file (YAML or JSON), the rest left out.

    The schemas are as ``indexing_calls`` gives them. Raises ``IndexJobError`` where the file can't
    be read or holds none of these calls, where a reference that they need leads nowhere, out of the
    document, or in a circle, and where referencing is not installed.
    """
    return indexing_calls(_read_document(path), str(path))


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


def indexing_calls(document: object, name: str) -> Mapping[str, Any]:
    """An OpenAPI document cut down to the answers of the indexing-job calls.

    Each schema is a JSON Schema without references, of the keywords that are compared. ``name`` is
    the document's in errors. Raises ``IndexJobError`` as ``load_openapi`` does.
    """
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise IndexJobError(
            f"{name}: this is no OpenAPI document: a mapping with `paths` was expected"
        )
    references = _References(document, name)
    schemas = _Schemas()
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        if isinstance(path, str) and "indexing_jobs" in path.split("/"):
            paths[path] = _operations(references, schemas, item)
    if not any(paths.values()):
        raise IndexJobError(f"{name}: this OpenAPI document has no call of the indexing-job API")
    return {"openapi": document.get("openapi"), "paths": paths}


def _operations(references: _References, schemas: _Schemas, item: Any) -> dict[str, Any]:
    item = references.follow(item)
    operations = {}
    for method in _METHODS:
        operation = references.follow(item.get(method)) if isinstance(item, dict) else None
        if isinstance(operation, dict) and isinstance(operation.get("responses"), dict):
            responses = {
                str(status): _response(references, schemas, response)
                for status, response in operation["responses"].items()
            }
            operations[method] = {"responses": responses}
    return operations


def _response(references: _References, schemas: _Schemas, response: Any) -> dict[str, Any]:
    # Headers, examples and links are left out with the references they may hold.
    content = mapping(references.follow(response), "content")
    media = next(
        (it for kind, it in content.items() if "json" in str(kind) and isinstance(it, dict)), None
    )
    if media is None:
        return {}
    schema = schemas.json_schema(references.resolve(media.get("schema")))
    return {"content": {"application/json": {"schema": schema}}}


def calls_of(document: Mapping[str, Any]) -> Callable[[str, str], Call | None]:
    """How to find a call by its method and path in what ``indexing_calls`` gives."""
    calls = [
        (
            method.upper(),
            path_pattern(path),
            Call(f"{method.upper()} {path}", _shapes(operation["responses"])),
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]

    def find(method: str, path: str) -> Call | None:
        return next(
            (call for its, pattern, call in calls if its == method and pattern.fullmatch(path)),
            None,
        )

    return find


def _shapes(responses: Mapping[str, Any]) -> Callable[[int], Mapping[str, Any] | None]:
    def shape(status: int) -> Mapping[str, Any] | None:
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in responses:
                # An answer without a schema allows any body.
                content = mapping(responses[key], "content")
                return mapping(mapping(content, "application/json"), "schema")
        return None

    return shape


def mapping(parent: object, key: str) -> dict[str, Any]:
    """The mapping at a key of a mapping, or an empty one where there is none."""
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


class _References:
    """The references of a document, which lead to parts of the same document."""

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        try:
            from referencing import Registry, Specification
        except ImportError:
            raise IndexJobError(NEEDS_EXTRA) from None

        resource = Specification.OPAQUE.create_resource(document)
        registry: Registry[Any] = Registry()
        self._resolver = registry.with_resource("", resource).resolver()
        self._name = name
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()

    def follow(self, node: Any) -> Any:
        """The node, or what it leads to; the references inside are left as they are."""
        followed: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            reference = node["$ref"]
            if reference in followed:
                raise self._error(f"a reference leads in a circle: {reference[:120]!r}")
            followed.add(reference)
            node = self._target(reference)
        return node

    def resolve(self, node: Any, depth: int = 0) -> Any:
        """A copy of the node in which each reference is replaced by what it leads to.

        Each part of the document is copied once, so that parts that are shared stay so.
        """
        if not isinstance(node, dict | list):
            return node
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._open:
            raise self._error("a part of it contains itself")
        if depth > _DEEPEST:
            raise self._error(f"it nests deeper than {_DEEPEST}")
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
            target = self._target(reference)
            if id(target) in self._open:
                raise self._error(f"a reference leads in a circle: {reference[:120]!r}")
            return self.resolve(target, depth + 1)
        return {name: self.resolve(item, depth + 1) for name, item in node.items()}

    def _target(self, reference: str) -> Any:
        from referencing.exceptions import Unresolvable

        shown = repr(reference[:120])
        if not reference.startswith("#"):
            raise self._error(
                f"a reference leads out of it: {shown}. Bundle it into one file first"
            )
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, TypeError, ValueError):  # referencing asks for a key of any value
            raise self._error(f"a reference leads nowhere: {shown}") from None

    def _error(self, problem: str) -> IndexJobError:
        return IndexJobError(f"{self._name}: this OpenAPI document can't be used: {problem}")


class _Schemas:
    """The schemas of a document as JSON Schemas, each once, of the keywords that are compared.

    The parts of ``allOf`` become one schema, as a field is unknown only where no part has it.
    ``oneOf`` becomes ``anyOf``: a value that fits several schemas is no drift. ``nullable`` becomes
    a type and a value of the enum. A value that a keyword can't have is left out.
    """

    def __init__(self) -> None:
        self._done: dict[int, tuple[object, dict[str, Any]]] = {}

    def json_schema(self, shape: object) -> dict[str, Any]:
        """The JSON Schema of a schema that has no references left, and no circles."""
        if not isinstance(shape, dict):
            return {}
        if id(shape) not in self._done:
            each = [self._plain(alternative) for alternative in _alternatives(shape)]
            schema = each[0] if len(each) == 1 else {"anyOf": each}
            # With the shape, as the id of an object that is gone is given to another.
            self._done[id(shape)] = shape, schema
        return self._done[id(shape)][1]

    def _plain(self, shape: Mapping[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        properties = mapping(shape, "properties")
        types = _types(shape)
        if not types and properties:
            types = ["object"]
        nullable = shape.get("nullable") is True
        if types:
            schema["type"] = [*types, "null"] if nullable else types
        if isinstance(shape.get("enum"), list):
            schema["enum"] = [*shape["enum"], None] if nullable else shape["enum"]
        if isinstance(shape.get("format"), str):
            schema["format"] = shape["format"]
        least, most = _INTEGER_RANGES.get(schema.get("format", ""), (None, None))
        for limit, usual in (("minimum", least), ("maximum", most)):
            bound = shape.get(limit, usual)
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                schema[limit] = bound
        if properties:
            schema["properties"] = {
                name: self.json_schema(each) for name, each in properties.items()
            }
        for keyword in ("items", "additionalProperties"):
            if part := mapping(shape, keyword):
                schema[keyword] = self.json_schema(part)
        return schema


def _types(shape: Mapping[str, Any]) -> list[str]:
    given = shape.get("type")
    types = given if isinstance(given, list) else [given]
    return [it for it in types if isinstance(it, str) and it in _TYPES]


def _alternatives(shape: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas that a value may be of, with what stands beside the choice laid over each."""
    found: list[Mapping[str, Any]] = []
    waiting: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [(shape, {})]
    seen: set[int] = set()
    for part, around in waiting:
        if id(part) in seen:
            continue
        seen.add(id(part))
        whole = _overlaid(part, around)
        choices = _parts(whole, "anyOf") + _parts(whole, "oneOf")
        beside = {name: it for name, it in whole.items() if name not in ("anyOf", "oneOf")}
        waiting.extend((choice, beside) for choice in choices)
        if not choices:
            found.append(beside)
    return found


def _overlaid(shape: Mapping[str, Any], around: Mapping[str, Any]) -> dict[str, Any]:
    """Two schemas, and the parts of ``allOf`` at any depth, in one; the first word holds."""
    overlaid: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    waiting, seen = [shape, around], set()
    for part in waiting:
        if id(part) in seen:
            continue
        seen.add(id(part))
        waiting.extend(_parts(part, "allOf"))
        properties = mapping(part, "properties") | properties
        overlaid = dict(part) | overlaid
    overlaid.pop("allOf", None)
    return overlaid | ({"properties": properties} if properties else {})


def _parts(shape: Mapping[str, Any], keyword: str) -> list[Mapping[str, Any]]:
    parts = shape.get(keyword)
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
