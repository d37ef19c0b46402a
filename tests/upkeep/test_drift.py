"""The contract's shapes, and where recorded answers differ from them or from an OpenAPI
document."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path

import brotli
import jsonschema
import pytest
from conftest import COMPLETED, JOB_URL, JOB_UUID, job_answer
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import IndexedDataSource, IndexingJob, IndexJobError
from pytest_indexjob.api.calls import API_URL, KNOWLEDGE_BASES_PATH, named
from pytest_indexjob.api.schema import CONTRACT, FORMATS, json_schema, nearest_value, operation_of
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import Recording, load
from pytest_indexjob.recording.library import shipped_folder
from pytest_indexjob.upkeep.drift import differences_json, differences_text, drift
from pytest_indexjob.upkeep.openapi import load_openapi

EXCERPT = Path(__file__).parents[1] / "data" / "openapi-excerpt.yaml"
JOBS_URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
KNOWLEDGE_BASE_URL = "https://api.digitalocean.com/v2/gen-ai/knowledge_bases/a/indexing_jobs"
CALLS = {
    "get": ("GET", JOB_URL),
    "list": ("GET", f"{JOBS_URL}?page=1"),
    "create": ("POST", JOBS_URL),
    "cancel": ("PUT", f"{JOB_URL}/cancel"),
    "data_sources": ("GET", f"{JOB_URL}/data_sources"),
    "details_signed_url": ("GET", f"{JOB_URL}/details_signed_url"),
    "list_for_knowledge_base": ("GET", KNOWLEDGE_BASE_URL),
}
GET_CALL = "GET /v2/gen-ai/indexing_jobs/{uuid}"


def recording(*answers, method="GET", url=JOB_URL, path=Path("it.yaml")):
    return Recording(
        path, tuple(Interaction(Request(method, url), answer) for answer in answers), {}
    )


def answer(body, status=200, *headers):
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def found(*answers, schema=None, **where):
    return [
        (it.severity, it.kind, it.path, it.detail)
        for it in drift([recording(*answers, **where)], schema=schema)
    ]


def shipped():
    return [load(path) for path in sorted(shipped_folder().glob("*.yaml"))]


BREAKS_ON_PURPOSE = {
    ("missing-job", "missing-field", "$.job"),
    ("future-status", "unknown-value", "$.job.status"),
    ("future-status", "unknown-value", "$.job.phase"),
    ("future-status", "unknown-value", "$.job.data_source_jobs[].status"),
}


def json_values():
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    return st.recursive(
        plain, lambda it: st.lists(it) | st.dictionaries(names(), it), max_leaves=12
    )


def names():
    fields = [name for model in (IndexingJob, IndexedDataSource) for name in model.kinds()]
    return (
        st.sampled_from(["job", "jobs", "links", "meta", "pages", "next", "signed_url", *fields])
        | st.text()
    )


# The contract's shapes


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_known_by_its_method_and_path(name):
    method, url = CALLS[name]
    path = url.removeprefix("https://api.digitalocean.com")
    assert operation_of(method, path).name == operation_of(method.lower(), path).name == name
    assert operation_of("DELETE", path) is None
    assert operation_of(method, f"{path.partition('?')[0]}/more/and/more") is None
    assert sorted(it.name for it in CONTRACT if "." not in it.name) == sorted(CALLS)


@pytest.mark.slow
def test_the_schemas_take_what_the_service_sends_and_nothing_of_another_type():
    for it in CONTRACT:
        jsonschema.Draft202012Validator.check_schema(json_schema(it))
        jsonschema.Draft202012Validator.check_schema(json_schema(it, status=404))
    assert "properties" not in json_schema(CONTRACT[0], status=304)
    for item in [
        item for it in shipped() for item in it.interactions if it.path.stem not in PURPOSES
    ]:
        operation = operation_of(
            item.request.method, item.request.url.removeprefix("https://api.digitalocean.com")
        )
        jsonschema.validate(
            json.loads(item.response.body), json_schema(operation, status=item.response.status)
        )
    schema = jsonschema.Draft202012Validator(json_schema(CONTRACT[0]))
    assert schema.is_valid({"job": {"uuid": "a", "new": {}}, "more": 1})
    wrong = [
        {},
        {"job": {}},
        {"job": {"uuid": 1}},
        {"job": {"uuid": "a", "total_tokens": 1}},
        {"job": {"uuid": "a", "tokens": "1"}},
        {"job": {"uuid": "a", "tokens": -1}},
        {"job": {"uuid": "a", "status": "COMPLETED"}},
        {"job": {"uuid": "a", "is_report_available": "true"}},
        {"job": {"uuid": "a", "data_source_uuids": "a"}},
        {"job": {"uuid": "a", "data_source_jobs": [{"total_bytes": 1}]}},
    ]
    assert [it for it in wrong if schema.is_valid(it)] == []


PURPOSES = {name for name, *_ in BREAKS_ON_PURPOSE}


def test_every_field_of_the_models_has_a_shape_and_a_schema_is_one_s_own():
    job = json_schema(CONTRACT[0])["properties"]["job"]["properties"]
    assert list(job) == list(IndexingJob.kinds())
    assert job["total_tokens"]["format"] == "uint64"
    assert job["started_at"] == {"type": "string", "format": "date-time"}
    source = job["data_source_jobs"]["items"]["properties"]
    assert list(source) == list(IndexedDataSource.kinds())
    source.clear()
    job["uuid"].clear()
    assert (
        json_schema(CONTRACT[0])["properties"]["job"]["properties"]["knowledge_base_uuid"]["type"]
        == "string"
    )
    assert json_schema(CONTRACT[4])["properties"]["indexed_data_sources"]["items"]["properties"]


def test_formats_and_nearest_values():
    assert FORMATS["uint64"](str(2**64 - 1))
    assert not FORMATS["uint64"](str(2**64))
    assert FORMATS["date-time"]("2025-10-31T01:14:12.5+01:00")
    assert not FORMATS["date-time"]("2025-10-31")
    phases = ["BATCH_JOB_PHASE_UNKNOWN"]
    assert nearest_value("BATCH_JOB_PHASE_COMPLETED", phases) == "BATCH_JOB_PHASE_SUCCEEDED"
    assert nearest_value("ZZZ", phases) == nearest_value("A", ["OTHER"]) == ""


# Drift


def test_the_shipped_recordings_differ_only_where_that_is_their_point():
    differences = drift(shipped())
    assert {(it.cassette.stem, it.kind, it.path) for it in differences} == BREAKS_ON_PURPOSE
    assert {it.seen for it in differences} == {1}
    assert differences[0].severity == "breaking"


JOB_DIFFERENCES = {
    "unknown-field": (
        {"total_items_failed": "3"},
        ("notable", "unknown-field", "total_items_failed"),
    ),
    "unknown-status": (
        {"status": "INDEX_JOB_STATUS_RUNNING"},
        ("notable", "unknown-value", "status"),
    ),
    "unknown-phase": ({"phase": "a b"}, ("notable", "unknown-value", "phase")),
    "empty-enum": ({"phase": ""}, ("notable", "unknown-value", "phase")),
    "uint64-a-number": ({"total_tokens": 5}, ("breaking", "changed-type", "total_tokens")),
    "uint64-negative": ({"total_tokens": "-5"}, ("breaking", "changed-type", "total_tokens")),
    "uint64-too-large": (
        {"total_tokens": str(2**64)},
        ("breaking", "changed-type", "total_tokens"),
    ),
    "uint64-empty": ({"total_tokens": ""}, ("notable", "changed-type", "total_tokens")),
    "int64-a-string": ({"tokens": "5"}, ("breaking", "changed-type", "tokens")),
    "int64-a-boolean": ({"tokens": True}, ("breaking", "changed-type", "tokens")),
    "int64-a-fraction": ({"tokens": 1.5}, ("breaking", "changed-type", "tokens")),
    "int64-a-negative-fraction": ({"tokens": -1.5}, ("breaking", "changed-type", "tokens")),
    "status-a-number": ({"status": 4}, ("breaking", "changed-type", "status")),
    "status-null": ({"status": None}, ("notable", "changed-type", "status")),
    "int64-a-float": ({"tokens": 1.0}, ("breaking", "changed-type", "tokens")),
    "int64-too-large": ({"tokens": 2**63}, ("breaking", "changed-type", "tokens")),
    "int64-negative": ({"tokens": -1}, ("breaking", "changed-type", "tokens")),
    "time": ({"created_at": "yesterday"}, ("breaking", "changed-type", "created_at")),
    "time-a-number": ({"created_at": 1761876513}, ("breaking", "changed-type", "created_at")),
    "boolean": (
        {"is_report_available": "true"},
        ("breaking", "changed-type", "is_report_available"),
    ),
    "null": ({"created_at": None}, ("notable", "changed-type", "created_at")),
    "list": ({"data_source_uuids": {}}, ("breaking", "changed-type", "data_source_uuids")),
    "item": ({"data_source_uuids": [1]}, ("breaking", "changed-type", "data_source_uuids[]")),
    "source-field": (
        {"data_source_jobs": [{"x": 1}]},
        ("notable", "unknown-field", "data_source_jobs[].x"),
    ),
    "source": ({"data_source_jobs": ["a"]}, ("breaking", "changed-type", "data_source_jobs[]")),
    "uuid": ({"uuid": None}, ("breaking", "missing-field", "uuid")),
    "uuid-a-number": ({"uuid": 7}, ("breaking", "changed-type", "uuid")),
}


@pytest.mark.parametrize(("fields", "expected"), JOB_DIFFERENCES.values(), ids=JOB_DIFFERENCES)
def test_each_difference_of_a_job(fields, expected):
    severity, kind, place = expected
    [(*difference, _)] = found(job_answer(**fields))
    assert difference == [severity, kind, f"$.job.{place}"]


def test_what_the_service_may_send_is_no_difference():
    assert (
        found(
            job_answer(
                created_at="2025-10-31T01:14:12.123456+02:00", uuid="'no uuid'", total_tokens="0"
            )
        )
        == []
    )
    assert (
        found(
            answer({"jobs": [], "links": {"pages": {"next": "x"}}, "meta": {"total": 0}}),
            url=JOBS_URL,
        )
        == []
    )
    assert found(answer({"indexed_data_sources": []}), url=f"{JOB_URL}/data_sources") == []
    assert found(answer({"signed_url": "x"}), url=f"{JOB_URL}/details_signed_url") == []
    assert found(answer({"id": "a", "message": "b", "request_id": "c"}, 404)) == []
    assert found(answer(b"", 304)) == []
    assert (
        found(COMPLETED, url=f"http://localhost:8080/prefix/v2/gen-ai/indexing_jobs/{JOB_UUID}")
        == []
    )


@pytest.mark.parametrize(
    ("name", "path", "severity"),
    [
        ("get", "$.job", "breaking"),
        ("create", "$.job", "breaking"),
        ("cancel", "$.job", "breaking"),
        ("details_signed_url", "$.signed_url", "breaking"),
        ("list", "$.jobs", "info"),
        ("list_for_knowledge_base", "$.jobs", "info"),
        ("data_sources", "$.indexed_data_sources", "info"),
    ],
)
def test_a_missing_wrapper(name, path, severity):
    method, url = CALLS[name]
    for body in ({}, {path[2:]: None}):
        [difference] = found(answer(body), method=method, url=url)
        assert difference[:3] == (severity, "missing-field", path)


AROUND_A_JOB = [
    ("knowledge_bases.create", "knowledge_base", "breaking"),
    ("knowledge_bases.get", "knowledge_base", "breaking"),
    ("knowledge_bases.list", "knowledge_bases", "info"),
    ("data_sources.create", "knowledge_base_data_source", "breaking"),
    ("data_sources.list", "knowledge_base_data_sources", "info"),
    ("uploads.create", "uploads", "breaking"),
    ("schedules.get", "indexing_info", "breaking"),
    ("agents.attach", "agent", "breaking"),
    ("agents.list", "agents", "info"),
]


@pytest.mark.parametrize(("name", "wrapper", "severity"), AROUND_A_JOB)
def test_a_missing_wrapper_of_a_call_around_a_job(name, wrapper, severity):
    call = named(name)
    url = API_URL + call.path_with(*["some-uuid"] * call.path.count("{"))
    for body in ({}, {wrapper: None}):
        [difference] = found(answer(body), method=call.method, url=url)
        assert difference[:3] == (severity, "missing-field", f"$.{wrapper}")
    if wrapper not in ("uploads", "indexing_info"):
        item = [{}] if wrapper.endswith("s") else {}
        place = f"$.{wrapper}[].uuid" if wrapper.endswith("s") else f"$.{wrapper}.uuid"
        [difference] = found(answer({wrapper: item}), method=call.method, url=url)
        assert difference[:3] == ("breaking", "missing-field", place)


def test_what_only_a_hostile_service_says_of_a_knowledge_base():
    base = {"uuid": "kb", "tags": "x", "last_indexing_job": {"status": "INDEX_JOB_STATUS_NEW"}}
    body = {"knowledge_base": base, "database_status": "ASLEEP"}
    url = f"{API_URL}{KNOWLEDGE_BASES_PATH}/kb"
    assert {difference[:3] for difference in found(answer(body), url=url)} == {
        ("breaking", "changed-type", "$.knowledge_base.tags"),
        ("notable", "unknown-value", "$.knowledge_base.last_indexing_job.status"),
        ("notable", "unknown-value", "$.database_status"),
    }


def test_a_job_of_a_list_without_its_uuid():
    [difference] = found(answer({"jobs": [{"uuid": "a"}, {}, {}]}), url=JOBS_URL)[:1]
    assert difference[:3] == ("breaking", "missing-field", "$.jobs[].uuid")


def test_bodies_that_are_not_json():
    [server, proxy] = found(answer(b"<html>", 200), answer(b"", 502))
    assert server == (
        "breaking",
        "changed-type",
        "$",
        "JSON was expected, not 6 bytes of something else",
    )
    assert proxy == ("notable", "changed-type", "$", "JSON was expected, not an empty body")
    assert found(answer([])) == [
        ("breaking", "changed-type", "$", "an object was expected, not an array")
    ]
    assert found(answer(b'{"job": {"uuid": "a", "tokens": NaN}}'))[0][1] == "changed-type"
    assert found(answer(b"[" * 100_000))[0][1] == "changed-type"


def test_compressed_bodies_are_read():
    body = b'{"job": {"uuid": "a", "new": 1}}'
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": [gzip.compress(body)],
        "deflate": [zlib.compress(body), raw.compress(body) + raw.flush()],
        "br": [brotli.compress(body)],
        "gzip, br": [brotli.compress(gzip.compress(body)), body],
        "Identity": [body],
    }
    for encoding, bodies in packed.items():
        for content in bodies:
            assert found(answer(content, 200, ("Content-Encoding", encoding)))[0][2] == "$.job.new"
    cut = gzip.compress(body)[:-9]
    for encoding, content in (("other", b"\xff"), ("br", b"\xff"), ("gzip", cut)):
        [difference] = found(answer(content, 200, ("content-encoding", encoding)))
        assert difference[0] == "info"
        assert "not compared" in difference[3]


def test_calls_of_something_else_are_told_without_what_could_be_a_secret():
    for url, shown in {
        "https://hooks.example.com/services/T0123/abcDEF?token=hunter2": (
            "GET hooks.example.com/services/.../..."
        ),
        "https://user:hunter2@api.digitalocean.com/v2/gen-ai/workspaces/hunter2": (
            "GET api.digitalocean.com/v2/gen-ai/workspaces/..."
        ),
        "http://[": "GET (no URL)",
        "hunter2\n": "GET ?...",
    }.items():
        [difference] = drift([recording(COMPLETED, url=url)])
        assert (difference.severity, difference.kind, difference.call) == (
            "info",
            "unknown-call",
            shown,
        )
    [difference] = drift([recording(COMPLETED, method="get me\x1b")])
    assert difference.call.startswith("? ")


def test_no_value_and_no_odd_name_is_told():
    token = "dop_v1_" + "0123456789abcdef" * 4
    odd = job_answer(
        **{token: 1, "a\x1b[2J": 1, "x" * 99: 1}, status=token, phase="\x1b", total_tokens=token
    )
    text = differences_text(drift([recording(odd)]))
    assert token not in text
    assert "\x1b" not in text
    assert "x" * 50 not in text
    assert text.count("(a name not shown)") == 1


def test_any_number_of_unknown_fields_stays_readable():
    assert len(found(job_answer(**{f"{'abcdefghij'[n % 10]}{n}": 1 for n in range(5000)}))) == 20


def test_a_body_that_nests_deep_is_told_or_compared():
    for depth in (10, *range(800, 1000), 5000):  # Python's limit is at 1000 less what it is in
        nested = b"[" * depth + b"]" * depth
        [difference] = found(answer(b'{"job": {"uuid": "a", "status": ' + nested + b"}}"))
        assert difference[:2] == ("breaking", "changed-type")


@pytest.mark.parametrize(
    "arguments",
    [
        ["drift", "completed"],
        ["drift", "completed", "--spec", str(EXCERPT)],
    ],
)
def test_without_its_libraries_one_line_says_what_to_install(arguments):
    code = (
        "import sys; sys.modules.update(jsonschema=None, referencing=None);"
        " from pytest_indexjob.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pytest-indexjob: comparing with the contract needs jsonschema and referencing:"
        " pip install 'pytest-indexjob[drift]'\n"
    )


def test_an_audit_without_the_libraries_looks_for_all_else():
    code = (
        "import sys; sys.modules.update(jsonschema=None, referencing=None);"
        " from pytest_indexjob.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", "completed", "partial"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("pip install 'pytest-indexjob[drift]'") == 1


def test_equal_differences_are_one_with_a_count_the_gravest_first():
    new, wrong = job_answer(new=1), job_answer(tokens="1")
    differences = drift([recording(new, new, wrong), recording(new, path=Path("b.yaml"))])
    assert [(it.severity, it.path, it.seen, it.cassette.name) for it in differences] == [
        ("breaking", "$.job.tokens", 1, "it.yaml"),
        ("notable", "$.job.new", 1, "b.yaml"),
        ("notable", "$.job.new", 2, "it.yaml"),
    ]


def test_the_reports():
    differences = drift(
        [recording(job_answer(phase="BATCH_JOB_PHASE_COMPLETED"), path=Path("a\nb.yaml"))]
    )
    assert (
        differences_text(differences)
        == f"notable: unknown-value at $.job.phase of {GET_CALL}: BATCH_JOB_PHASE_COMPLETED is none"
        " of the enum's values; the nearest is BATCH_JOB_PHASE_SUCCEEDED (1 x in a\\nb.yaml)"
    )
    [parsed] = json.loads(differences_json(differences))
    assert parsed["cassette"] == "a\nb.yaml"
    assert (parsed["seen"], parsed["call"], parsed["kind"]) == (1, GET_CALL, "unknown-value")
    assert differences_text([]) == "no difference: the recorded answers are by the contract"
    assert json.loads(differences_json([])) == []


@given(
    body=json_values() | st.binary(max_size=40),
    status=st.sampled_from([200, 204, 304, 404, 500]),
    data=st.data(),
)
def test_no_body_whatever_raises(body, status, data):
    method, url = data.draw(st.sampled_from([*CALLS.values(), ("GET", "x")]))
    wrapper = data.draw(
        st.sampled_from([None, "job", "jobs", "indexed_data_sources", "signed_url", "links"])
    )
    if wrapper and not isinstance(body, bytes):
        body = {wrapper: body}
    one = recording(answer(body, status), method=method, url=url)
    for schema in (None, SCHEMA):
        differences = drift([one], schema=schema)
        assert json.loads(differences_json(differences)) is not None
        assert differences_text(differences).isprintable() or len(differences) > 1


# OpenAPI documents

SCHEMA = load_openapi(EXCERPT)


def test_a_document_is_cut_down_to_the_calls_and_has_no_references_left():
    assert "$ref" not in json.dumps(SCHEMA)
    assert sorted(SCHEMA["paths"]) == [
        "/v2/gen-ai/indexing_jobs",
        "/v2/gen-ai/indexing_jobs/{job}",
        "/v2/gen-ai/indexing_jobs/{job}/data_sources",
    ]
    assert list(SCHEMA["paths"]["/v2/gen-ai/indexing_jobs/{job}"]["get"]["responses"]) == [
        "200",
        "404",
        "5XX",
    ]


def test_recordings_are_compared_with_the_document_given():
    good = {
        "uuid": "a",
        "status": "INDEX_JOB_STATUS_COMPLETED",
        "finished_at": None,
        "labels": {"a": "b"},
    }
    for progress in (0, 0.5, "NONE"):
        assert found(answer({"job": good | {"progress": progress}}), schema=SCHEMA) == []
    bad = {
        "status": "INDEX_JOB_STATUS_PARTIAL",
        "phase": "x",
        "tokens": 2**63,
        "total_tokens": None,
        "progress": 2,
        "labels": {"a": 1},
    }
    assert {it[:3] for it in found(answer({"job": bad}), schema=SCHEMA)} == {
        ("breaking", "missing-field", "$.job.uuid"),
        ("notable", "unknown-value", "$.job.status"),
        ("notable", "unknown-field", "$.job.phase"),
        ("breaking", "changed-type", "$.job.tokens"),
        ("notable", "changed-type", "$.job.total_tokens"),
        ("breaking", "changed-type", "$.job.progress"),
        ("breaking", "changed-type", "$.job.labels.a"),
    }
    assert found(answer({"id": 1}, 404), schema=SCHEMA)[0][:3] == (
        "breaking",
        "changed-type",
        "$.id",
    )
    assert found(answer({"id": 1}, 503), schema=SCHEMA)[0][:3] == (
        "breaking",
        "changed-type",
        "$.id",
    )
    assert found(answer({"id": 1}, 429), schema=SCHEMA)[0][1:] == (
        "unknown-value",
        "$",
        "the contract has no answer with HTTP status 429",
    )
    assert found(answer([1]), url=JOBS_URL, schema=SCHEMA) == []
    assert found(answer({"id": 1}, 418), url=JOBS_URL, schema=SCHEMA)[0][2] == "$.id"


def test_a_call_that_the_document_lacks():
    [lacking] = drift([recording(COMPLETED, method="POST", url=JOBS_URL)], schema=SCHEMA)
    assert (lacking.severity, lacking.kind, lacking.call) == (
        "notable",
        "unknown-call",
        "POST /v2/gen-ai/indexing_jobs",
    )


def test_json_documents_are_read_too(tmp_path):
    path = tmp_path / "it.json"
    path.write_text(json.dumps(SCHEMA, indent=1))
    assert load_openapi(path) == SCHEMA


def document(schema, **more):
    answers = {"200": {"content": {"application/json": {"schema": schema}}}}
    return {"paths": {"/v2/gen-ai/indexing_jobs/{uuid}": {"get": {"responses": answers}}}, **more}


LOOP = {
    "a": {"items": {"$ref": "#/components/b"}},
    "b": {"$ref": "#/components/a"},
    "c": {"$ref": "#/components/c"},
}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            document({"$ref": "#/components/a"}, components=LOOP),
            r"leads in a circle: '#/components/a'",
        ),
        (
            document({"$ref": "#/components/c"}, components=LOOP),
            r"leads in a circle: '#/components/c'",
        ),
        (document({"$ref": "#"}), r"a part of it contains itself"),
        (document({"$ref": "other.yaml#/a"}), r"leads out of it: 'other.yaml#/a'. Bundle it"),
        (document({"$ref": "https://example.com/a"}), r"leads out of it"),
        (document({"$ref": "#/components/z"}), r"leads nowhere: '#/components/z'"),
        (document({"$ref": "#/list/1"}, list=[0]), r"leads nowhere"),
        (document({"$ref": "#/list/first"}, list=[0]), r"leads nowhere"),
        (document({"$ref": "#/number/x"}, number=1), r"leads nowhere"),
        (document({"$ref": "#anchor"}), r"leads nowhere: '#anchor'"),
        (
            {"paths": {"/v2/gen-ai/indexing_jobs": {"$ref": "#/x"}}, "x": {"$ref": "#/x"}},
            r"leads in a circle: '#/x'",
        ),
        ({"paths": {"/other": {"get": {"responses": {}}}}}, r"has no call of the indexing-job API"),
        ({"paths": {"/v2/gen-ai/indexing_jobs": 3}}, r"has no call of the indexing-job API"),
        ({"paths": []}, r"this is no OpenAPI document"),
        ([], r"this is no OpenAPI document"),
    ],
)
def test_a_document_that_can_t_serve(tmp_path, content, problem):
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(content))
    with pytest.raises(IndexJobError, match=problem) as raised:
        load_openapi(path)
    assert str(raised.value).startswith(str(path))
    with pytest.raises(IndexJobError, match=problem):
        drift([], schema=content)


def test_a_file_that_is_no_document(tmp_path):
    path = tmp_path / "openapi.yaml"
    with pytest.raises(IndexJobError, match="can't be read: No such file"):
        load_openapi(path)
    for content in (
        b"\xff",
        b"a: [",
        b"!!python/object/apply:os.abort []",
        b"[" * 100_000,
        b"{[]: 1}: 2",
    ):
        path.write_bytes(content)
        with pytest.raises(IndexJobError, match=r"can't be read|neither YAML|deeper"):
            load_openapi(path)
    path.write_text(
        "paths: {/v2/gen-ai/indexing_jobs: &a {get: {responses: {200: {content: {json: {schema:"
        " *a}}}}}}}"
    )
    with pytest.raises(IndexJobError, match="a part of it contains itself"):
        load_openapi(path)


def test_a_document_that_takes_too_long_to_read(tmp_path):
    path = tmp_path / "openapi.yaml"
    path.write_bytes(b"- a\n" * 12_500_000)
    with pytest.raises(IndexJobError, match="can't be used: it has 50000000 bytes"):
        load_openapi(path)


NAMED = {"type": "object", "properties": {"uuid": {"type": "string"}}}
COUNTED = {"type": "object", "properties": {"tokens": {"type": "integer", "format": "int32"}}}


def found_in_job(job, schema, **more):
    one_job = {"type": "object", "properties": {"job": schema}}
    return [it[1:3] for it in found(answer({"job": job}), schema=document(one_job, **more))]


def test_of_several_schemas_the_nearest_tells():
    choice = {"anyOf": [{"type": "array"}, NAMED, {"type": "string", "enum": ["a"]}]}
    assert found_in_job({"uuid": "a"}, choice) == found_in_job("a", choice) == []
    assert found_in_job({"uuid": 1}, choice) == [("changed-type", "$.job.uuid")]
    assert found_in_job({"uuid": "a", "x": 1}, choice) == [("unknown-field", "$.job.x")]
    [none] = found(answer({"job": 1}), schema=document({"properties": {"job": choice}}))
    assert none[3] == "an array or an object or a string was expected, not an integer"
    # A value may fit both, and what stands beside the choice holds for each.
    both = {"oneOf": [{"required": ["uuid"]}, {"type": "object"}], **NAMED}
    assert found_in_job({"uuid": "a"}, both) == []
    assert found_in_job({"uuid": "a", "x": 1}, both) == [("unknown-field", "$.job.x")]
    nullable = {"properties": {"last": {"nullable": True, "oneOf": [COUNTED, NAMED]}}}
    assert found_in_job({"uuid": "a", "last": None}, {"allOf": [NAMED, nullable]}) == []


def test_parts_of_a_schema_know_each_other_s_fields():
    nested = {"allOf": [NAMED, {"allOf": [COUNTED]}]}
    assert found_in_job({"uuid": "a", "tokens": 1}, nested) == []
    assert found_in_job({"uuid": "a", "tokens": 2**31}, nested) == [
        ("changed-type", "$.job.tokens")
    ]


def test_a_field_in_the_words_of_openapi_3_1():
    schema = {"type": "object", "properties": {"uuid": {"type": ["string", "null"]}, "x": True}}
    assert found_in_job({"uuid": "a", "x": 1}, schema) == []
    assert found_in_job({"uuid": [], "x": 1}, schema) == [("changed-type", "$.job.uuid")]


def test_enums_hold_null_where_the_field_may_and_any_type():
    mode = {"type": "string", "nullable": True, "enum": ["FAST"]}
    level = {"type": "integer", "enum": [1, 2]}
    schema = {"type": "object", "properties": {"mode": mode, "level": level}}
    assert found_in_job({"mode": None, "level": 1}, schema) == []
    assert found_in_job({"mode": "SLOW", "level": 3}, schema) == [
        ("unknown-value", "$.job.level"),
        ("unknown-value", "$.job.mode"),
    ]


def test_a_choice_of_choices_is_read_in_a_moment():
    schema = NAMED
    for _ in range(20):
        schema = {"anyOf": [{"allOf": [schema, schema]}, schema]}
    assert found_in_job({"uuid": 1}, schema) == [("changed-type", "$.job.uuid")]


def test_references_are_json_pointers():
    for reference in ("#/a~1b/0", "#/a%7E1b/0", "#/a~1b/%30"):
        assert found_in_job({"uuid": 1}, {"$ref": reference}, **{"a/b": [NAMED]}) == [
            ("changed-type", "$.job.uuid")
        ]


def test_a_reference_into_a_list_and_a_deep_document():
    first = document({"$ref": "#/list/0"}, list=[{"type": "array"}])
    assert found(COMPLETED, schema=first)[0][3] == "an array was expected, not an object"
    deep = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(IndexJobError, match="nests deeper"):
        drift([], schema=document(deep))


@given(
    schema=json_values()
    | st.dictionaries(
        st.sampled_from(
            ["type", "enum", "format", "properties", "items", "allOf", "oneOf", "minimum", "$ref"]
        ),
        json_values(),
    )
)
def test_no_schema_raises_but_an_error_of_ours(schema):
    one = recording(COMPLETED, answer({"job": 1}), answer([1.5, "a", True, {"b": None}]))
    for content in (
        document(schema),
        {"paths": schema},
        {"paths": {"/v2/gen-ai/indexing_jobs": schema}},
    ):
        with contextlib.suppress(IndexJobError):
            drift([one], schema=content)
