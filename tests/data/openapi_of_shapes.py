"""Writes an OpenAPI document of the calls: the paths of the table of calls, the answers' shapes of
openapi-shapes.yaml, and of each body what the simulator checks. schemathesis reads it."""

import json
import re
import sys
from pathlib import Path

import yaml

from pytest_indexjob.api.calls import CALLS

SHAPES = yaml.safe_load(Path(__file__).with_name("openapi-shapes.yaml").read_text())
TEXT = {"type": "string"}
UUID = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": "^[A-Za-z0-9.-]{3,63}$"}
PAGE = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def body(required=(), **properties):
    # null stands for what is absent, as in protobuf's JSON.
    shapes = {
        name: shape if name in required else {"anyOf": [shape, {"type": "null"}]}
        for name, shape in properties.items()
    }
    return {"type": "object", "properties": shapes, "required": list(required)}


def texts(*names):
    return dict.fromkeys(names, TEXT)


SOURCE_KINDS = {
    "spaces_data_source": body(**texts("bucket_name", "item_path", "region")),
    "web_crawler_data_source": body(base_url=TEXT, embed_media={"type": "boolean"}),
}
# A source of one kind has nothing of the other.
NOTHING = {kind: {"type": "null"} for kind in SOURCE_KINDS}
SOURCE = {
    "oneOf": [body((kind,), **{**NOTHING, kind: shape}) for kind, shape in SOURCE_KINDS.items()]
}
SIZES = ("max_chunk_size", "child_chunk_size", "parent_chunk_size")
SIZE = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
TAGS = {"type": "array", "items": TEXT}
SETTABLE = texts("project_id", "database_id")
BODIES = {
    "jobs.create": body(
        ("knowledge_base_uuid",),
        knowledge_base_uuid=UUID,
        data_source_uuids={"type": "array", "items": UUID},
    ),
    "jobs.cancel": body(),
    "knowledge_bases.create": body(
        ("name",),
        name=NAME,
        region=TEXT,
        tags=TAGS,
        datasources={"type": "array", "items": SOURCE},
        **SETTABLE,
    ),
    "knowledge_bases.update": body(name=NAME, tags=TAGS, **SETTABLE),
    "data_sources.create": SOURCE,
    "data_sources.update": body(chunking_options=body(**dict.fromkeys(SIZES, SIZE))),
    "schedules.create": body(
        ("knowledge_base_uuid", "days", "time"),
        knowledge_base_uuid=UUID,
        days={"type": "array", "minItems": 1, "items": {"type": "integer", "enum": [*range(8)]}},
        time={"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
    ),
    "uploads.create": body(
        ("files",),
        files={
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": body(
                ("file_name", "file_size"),
                file_name=UUID,
                file_size={"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
            ),
        },
    ),
}
ERROR = {"$ref": "#/components/schemas/error"}


def answer(schema, description):
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def operation(call):
    shape = {"$ref": f"#/components/schemas/{SHAPES['answers'][call.name]}"}
    refused = {status: answer(ERROR, "refused") for status in ("400", "401", "404", "405", "409")}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": UUID}
        for name in re.findall(r"\{(\w+)\}", call.path)
    ]
    if call.name in ("jobs.list", "knowledge_bases.list", "data_sources.list"):
        parameters += [
            {"name": name, "in": "query", "schema": PAGE} for name in ("page", "per_page")
        ]
    described = {
        "operationId": call.name,
        "parameters": parameters,
        "security": [{"token": []}],
        "responses": {"200": answer(shape, "done"), **refused},
    }
    if call.name in BODIES:
        content = {"application/json": {"schema": BODIES[call.name]}}
        described["requestBody"] = {"required": call.method == "POST", "content": content}
    return described


def document():
    paths = {}
    for call in CALLS:
        if call.name in SHAPES["answers"]:
            paths.setdefault(call.path, {})[call.method.lower()] = operation(call)
    components = {
        "schemas": SHAPES["$defs"],
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    info = {"title": "Indexing jobs and knowledge bases", "version": "1"}
    whole = {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}
    return json.dumps(whole, indent=1).replace("#/$defs/", "#/components/schemas/")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
