"""The assertions, over every form that they take."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from types import MappingProxyType, SimpleNamespace

import aiohttp
import dirty_equals
import httpx
import pydo
import pydo.aio
import pytest
import requests
from gradient import AsyncGradient, Gradient
from gradient.types.knowledge_bases import IndexingJobRetrieveResponse

from pytest_indexjob import (
    DatabaseStatus,
    DecodeError,
    IndexingJob,
    IndexingJobPage,
    IndexingJobPhase,
    IndexingJobStatus,
    KnowledgeBase,
    KnowledgeBaseDataSource,
    NotFoundError,
    Simulator,
    assert_consistent,
    assert_counts,
    assert_data_source_status,
    assert_database_status,
    assert_finished,
    assert_phase,
    assert_status,
    assert_transitions,
    scenarios,
)
from pytest_indexjob.api.outcomes import go_together
from pytest_indexjob.checking.assertions import explain_comparison

JOB = {
    "uuid": "j",
    "status": "INDEX_JOB_STATUS_PARTIAL",
    "phase": "BATCH_JOB_PHASE_SUCCEEDED",
    "created_at": "2025-10-31T01:00:00Z",
    "started_at": "2025-10-31T01:00:01Z",
    "finished_at": "2025-10-31T01:10:00Z",
    "updated_at": "2025-10-31T01:10:00Z",
    "total_datasources": 2,
    "completed_datasources": 2,
    "total_tokens": "900",
    "tokens": 9,
    "data_source_jobs": [
        {
            "data_source_uuid": "aaaaaaaa-1",
            "status": "DATA_SOURCE_STATUS_UPDATED",
            "indexed_item_count": "10",
            "total_file_count": "10",
            "indexed_file_count": "10",
            "total_bytes": "100",
            "total_bytes_indexed": "100",
        },
        {
            "data_source_uuid": "bbbbbbbb-2",
            "status": "DATA_SOURCE_STATUS_PARTIALLY_UPDATED",
            "indexed_item_count": "9",
            "failed_item_count": "1",
            "skipped_item_count": "2",
            "removed_item_count": "3",
            "total_file_count": "12",
            "error_msg": "CODE",
            "error_details": "one file was bad",
        },
    ],
}


def response(status=200, body=None):
    made = requests.Response()
    made.status_code, made._content = (
        status,
        json.dumps({"job": JOB} if body is None else body).encode(),
    )
    return made


FORMS = {
    "ours": IndexingJob.from_wire(JOB),
    "dict": JOB,
    "wrapped": {"job": JOB},
    "gradient": IndexingJobRetrieveResponse.model_validate({"job": JOB}),
    "gradient-job": IndexingJobRetrieveResponse.model_validate({"job": JOB}).job,
    "requests": response(),
    "httpx": httpx.Response(200, json={"job": JOB}),
}


@pytest.mark.parametrize("job", FORMS.values(), ids=FORMS)
def test_every_form_is_taken(job):
    assert assert_status(job, "PARTIAL") == FORMS["ours"]
    assert_phase(job, IndexingJobPhase.SUCCEEDED)
    assert_data_source_status(job, "UPDATED", data_source="aaaaaaaa-1")
    assert_counts(job, indexed_items=19, failed_items=1, skipped_items=2, removed_items=3)
    assert_counts(job, indexed_files=10, total_files=22, indexed_bytes=100, total_bytes=100)
    assert_counts(job, total_data_sources=2, completed_data_sources=2, total_tokens=900, tokens=9)
    assert_finished(job)
    assert_consistent(job)
    with pytest.raises(AssertionError):
        assert_status(job, "COMPLETED")


@pytest.mark.parametrize(
    "expected",
    [
        "PARTIAL",
        "partial",
        "INDEX_JOB_STATUS_PARTIAL",
        IndexingJobStatus.PARTIAL,
        ["COMPLETED", "PARTIAL"],
        {"PARTIAL"},
    ],
)
def test_every_form_of_an_expected_status(expected):
    assert_status(JOB, expected)


@pytest.mark.parametrize("expected", ["INDEX_JOB_STATUS_RUNNING", "DONE", None, [], ["PARTIAL", 3]])
def test_an_expected_status_that_does_not_exist_is_a_mistake(expected):
    with pytest.raises(ValueError):
        assert_status(JOB, expected)


def said(call, *args, **kwargs):
    with pytest.raises(AssertionError) as raised:
        call(*args, **kwargs)
    return str(raised.value)


def test_a_wrong_status_says_what_was_there():
    text = said(assert_status, JOB, ["COMPLETED", "NO_CHANGES"])
    assert text.startswith(
        "expected status COMPLETED or NO_CHANGES, not PARTIAL\njob j: status PARTIAL, phase"
        " SUCCEEDED"
    )
    assert "bbbbbbbb: CODE: one file was bad" in text
    text = said(assert_status, JOB | {"status": "INDEX_JOB_STATUS_RUNNING"}, "COMPLETED")
    assert "not 'INDEX_JOB_STATUS_RUNNING'" in text
    assert (
        "hint: 'INDEX_JOB_STATUS_RUNNING' is not a value of the published contract; the nearest is"
        in text
    )
    assert "INDEX_JOB_STATUS_IN_PROGRESS" in text
    assert "the nearest" not in said(assert_status, JOB | {"status": "?"}, "COMPLETED")
    assert_status(JOB | {"status": "NEW"}, IndexingJobStatus("NEW"))
    assert "expected phase FAILED, not SUCCEEDED" in said(assert_phase, JOB, "FAILED")
    assert "(no data sources)" in said(assert_phase, {"uuid": "u"}, "FAILED")


def test_wrong_counts_are_marked_in_the_table():
    text = said(
        assert_counts,
        JOB,
        failed_items=0,
        skipped_items=2,
        indexed_items=dirty_equals.IsPositive,
        tokens=1,
    )
    assert text.startswith("expected failed_items 0, not 1; expected tokens 1, not 9\n")
    rows = [line.split() for line in text.splitlines()]
    assert next(row for row in rows if row[:1] == ["bbbbbbbb"])[5] == "*1*"
    text = said(assert_counts, JOB, data_source="bbbbbbbb-2", failed_items=4)
    assert "*1*" in text
    assert "*0*" not in text


def test_what_a_count_is_compared_with():
    assert_counts(JOB, failed_items=range(1, 3), indexed_items=dirty_equals.IsInt(gt=18))
    assert_counts(JOB, data_source="aaaaaaaa-1", failed_items=0, indexed_items=10)
    assert "range(2, 3)" in said(assert_counts, JOB, failed_items=range(2, 3))
    assert "hint: a count is an int here" in said(assert_counts, JOB, failed_items="1")
    assert "hint: True and False are no counts" in said(assert_counts, JOB, failed_items=True)
    for counts, message in (
        ({"failed": 1}, "did you mean failed_items"),
        ({"zzz": 1}, "'zzz' is no count. Counts: indexed_items"),
        ({}, "expect at least one count"),
        ({"data_source": "aaaaaaaa-1", "tokens": 1}, "tokens is a count of the whole job"),
    ):
        with pytest.raises(TypeError, match=message):
            assert_counts(JOB, **counts)
    assert "the job has: aaaaaaaa-1, bbbbbbbb-2" in said(
        assert_counts, JOB, data_source="x", failed_items=1
    )


def test_data_source_statuses():
    assert_data_source_status(JOB, ["UPDATED", "PARTIALLY_UPDATED"])
    text = said(assert_data_source_status, JOB, "UPDATED")
    assert text.startswith("expected data source status UPDATED, not PARTIALLY_UPDATED")
    assert "*PARTIALLY_UPDATED*" in text
    assert "not no data source" in said(assert_data_source_status, {"uuid": "u"}, "UPDATED")


def test_a_long_table_is_cut_with_the_offenders_in_it():
    fine = {"data_source_uuid": "fine", "status": "DATA_SOURCE_STATUS_UPDATED"}
    bad = {"data_source_uuid": "bad", "status": "DATA_SOURCE_STATUS_FAILED"}
    text = said(assert_data_source_status, {"data_source_jobs": [fine] * 99 + [bad]}, "UPDATED")
    assert "*FAILED*" in text
    assert "... and 80 more" in text


def test_what_holds_no_job():
    assert "HTTP 404" in said(assert_status, response(404), "PARTIAL")
    assert "holds no job" in said(assert_status, {}, "PARTIAL")
    assert "holds no job" in said(assert_status, response(body={"job": None}), "PARTIAL")
    assert "the service sends 'job'" in said(assert_status, {"indexing_job": JOB}, "PARTIAL")
    for wrong in (None, [JOB], "PARTIAL"):
        with pytest.raises(TypeError, match="a job, a dict or a response"):
            assert_status(wrong, "PARTIAL")
    with pytest.raises(DecodeError, match=r"\$\.job\.tokens"):
        assert_status({"job": {"tokens": 1.5}}, "PARTIAL")


def test_finished():
    text = said(assert_finished, {"status": "INDEX_JOB_STATUS_IN_PROGRESS"})
    assert text.startswith(
        "expected a job that has ended (PARTIAL, COMPLETED, FAILED, NO_CHANGES, CANCELLED), not"
        " status"
    )
    assert_finished({"phase": "BATCH_JOB_PHASE_ERROR"})


def changed(source=None, **fields):
    return JOB | fields | ({"data_source_jobs": [source]} if source else {})


@pytest.mark.parametrize(
    ("job", "violation"),
    [
        (changed(started_at="2025-10-31T00:00:00Z"), "created_at .* is after started_at"),
        (changed(finished_at="2025-10-31T01:00:00Z"), "started_at .* is after finished_at"),
        (changed(updated_at="2025-10-31T00:10:00Z"), "created_at .* is after updated_at"),
        (changed(completed_datasources=3), "completed_datasources 3 > total_datasources 2"),
        (changed(finished_at=None), "the job has ended .* finished_at is missing"),
        (
            changed(status="INDEX_JOB_STATUS_IN_PROGRESS", phase="BATCH_JOB_PHASE_RUNNING"),
            "has not ended",
        ),
        (changed(phase="BATCH_JOB_PHASE_FAILED"), "status PARTIAL does not go with phase FAILED"),
        (
            changed({"indexed_file_count": "2", "total_file_count": "1"}),
            "data source .: indexed_file_count 2 > total_file",
        ),
        (changed({"total_bytes_indexed": "2"}), "total_bytes_indexed 2 > total_bytes 0"),
        (
            changed({"started_at": "2025-10-31T01:05:00Z", "completed_at": "2025-10-31T01:04:00Z"}),
            "source .: started_at",
        ),
        (
            changed({"completed_at": "2025-10-31T02:00:00Z"}),
            "completed_at is after the job's finished_at",
        ),
        (changed({"started_at": "2025-10-31T00:00:00Z"}), "started_at is before the job's"),
        (
            changed({"status": "DATA_SOURCE_STATUS_IN_PROGRESS"}),
            "IN_PROGRESS though the job has ended",
        ),
    ],
)
def test_contradictions_are_named(job, violation):
    with pytest.raises(AssertionError, match=f"contradicts itself:\n  - .*{violation}"):
        assert_consistent(job)


@pytest.mark.parametrize(
    "job",
    [
        {"uuid": "u"},
        changed({"total_file_count": "9", "indexed_file_count": "1"}),
        changed(status="NEW", phase="NEW", finished_at=None),
        changed(phase=None),
        changed(status="INDEX_JOB_STATUS_FAILED", phase="BATCH_JOB_PHASE_ERROR"),
    ],
)
def test_what_is_no_contradiction(job):
    assert_consistent(job)


def life(*names):
    return [{"uuid": "u", "status": f"INDEX_JOB_STATUS_{name}"} for name in names]


@pytest.mark.parametrize(
    "expected",
    [
        ["PENDING", "IN_PROGRESS", "COMPLETED"],
        ["PENDING", ..., "COMPLETED"],
        [...],
        [..., "COMPLETED", ...],
        ["PENDING", ("IN_PROGRESS", "PARTIAL"), IndexingJobStatus.COMPLETED],
    ],
)
def test_lives_that_match(expected):
    assert_transitions(
        life("PENDING", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED", "COMPLETED"), expected
    )


@pytest.mark.parametrize(
    "expected",
    [[], ["PENDING"], ["PENDING", "COMPLETED"], [..., "IN_PROGRESS"], ["COMPLETED", ...]],
)
def test_lives_that_do_not(expected):
    text = said(assert_transitions, life("PENDING", "IN_PROGRESS", "COMPLETED"), expected)
    assert text.endswith("not [PENDING, IN_PROGRESS, COMPLETED]")


def test_an_end_is_for_good():
    text = said(assert_transitions, life("PENDING", "PARTIAL", "PARTIAL", "IN_PROGRESS"), [...])
    assert text.startswith("poll 4 says IN_PROGRESS after the end, PARTIAL")


def explained(op, left, right):
    return "\n".join(explain_comparison(op, left, right))


def test_plain_comparisons():
    partial = IndexingJobStatus.PARTIAL
    assert (
        explained("==", partial, IndexingJobStatus.COMPLETED)
        == "IndexingJobStatus.PARTIAL == IndexingJobStatus.COMPLETED"
    )
    text = explained("==", "BATCH_JOB_PHASE_COMPLETED", IndexingJobPhase.SUCCEEDED)
    assert (
        "the service never sends 'BATCH_JOB_PHASE_COMPLETED'; did you mean"
        " IndexingJobPhase.SUCCEEDED?" in text
    )
    assert "never sends '?'" in explained("==", partial, "?")
    assert "hint" not in explained("==", partial, "INDEX_JOB_STATUS_COMPLETED")
    assert "they are never equal" in explained("==", partial, IndexingJobPhase.SUCCEEDED)
    assert "not a value of the published contract" in explained(
        "!=", IndexingJobStatus("NEW"), partial
    )
    one, other = FORMS["ours"], IndexingJob.from_wire(changed(uuid="k"))
    assert explained("==", one, other).splitlines()[1:] == ["uuid: 'j' != 'k'"]
    source = JOB["data_source_jobs"][0]
    other = IndexingJob.from_wire(changed() | {"data_source_jobs": [source, source]})
    assert "data_source_jobs[1].failed_item_count: 1 != 0" in explained("==", one, other)
    assert "data_source_jobs: (" in explained("==", one, IndexingJob.from_wire(changed(source)))
    assert "two IndexedDataSource" in explained(
        "==", one.data_source_jobs[0], one.data_source_jobs[1]
    )
    for op, left, right in (
        ("<", partial, partial),
        ("==", 1, 2),
        ("in", partial, "x"),
        ("!=", one, one),
        ("==", one, 1),
    ):
        assert explain_comparison(op, left, right) is None


@pytest.mark.parametrize(
    "name", [name for name in scenarios.names() if scenarios.get(name).by_contract]
)
def test_no_shipped_scenario_that_is_valid_by_the_contract_contradicts_itself(name):
    simulator = Simulator()
    uuid = simulator.start(name).uuid
    for step in scenarios.get(name).steps:
        simulator.clock.advance(step.at - simulator.clock.elapsed)
        assert_consistent(simulator.job(uuid))


def test_what_says_nothing_goes_with_anything():
    later = IndexingJobPhase("BATCH_JOB_PHASE_PAUSED")
    assert go_together(IndexingJobStatus.COMPLETED, later)
    assert go_together(IndexingJobStatus.COMPLETED, IndexingJobPhase.UNKNOWN)
    assert not go_together(IndexingJobStatus.COMPLETED, IndexingJobPhase.FAILED)
    assert not go_together(IndexingJobStatus.CANCELLED, IndexingJobPhase.SUCCEEDED)


# What stands around a job.

KNOWLEDGE_BASE = {"uuid": "kb", "name": "docs", "last_indexing_job": JOB}


@pytest.mark.parametrize(
    "answer",
    [
        {"knowledge_base": KNOWLEDGE_BASE, "database_status": "ONLINE"},
        KNOWLEDGE_BASE,
        KnowledgeBase.from_wire(KNOWLEDGE_BASE),
        httpx.Response(200, json={"knowledge_base": KNOWLEDGE_BASE}),
    ],
)
def test_a_knowledge_base_stands_for_its_last_job(answer):
    assert assert_status(answer, "PARTIAL").uuid == "j"


def test_a_knowledge_base_without_a_job_says_so():
    for answer in ({"knowledge_base": {"uuid": "kb"}}, {"uuid": "kb", "name": "docs"}):
        with pytest.raises(AssertionError, match="has no last_indexing_job: there was no job yet"):
            assert_status(answer, "COMPLETED")


def test_an_error_that_a_client_hands_back_is_called_an_error():
    body = {"id": "not_found", "message": "gone", "request_id": "r"}
    with pytest.raises(AssertionError, match="not an error: not_found: gone"):
        assert_status(body, "COMPLETED")
    with pytest.raises(AssertionError, match="not HTTP 404"):
        assert_status(httpx.Response(404, json=body), "COMPLETED")


def test_raw_responses_of_sdks_and_of_aiohttp(indexjob_simulator):
    async def by_aiohttp(url):
        headers = {"Authorization": "Bearer any"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
            with pytest.raises(TypeError, match=r"await response\.read"):
                assert_status(response, "IN_PROGRESS")
            await response.read()
            return assert_status(response, "IN_PROGRESS")

    uuid = indexjob_simulator.start().uuid
    url = f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{uuid}"
    assert asyncio.run(by_aiohttp(url)).uuid == uuid
    jobs = Gradient(access_token="any").knowledge_bases.indexing_jobs
    assert assert_status(jobs.with_raw_response.retrieve(uuid), "IN_PROGRESS").uuid == uuid
    raw = pydo.Client(token="any").genai.get_indexing_job(uuid, cls=lambda raw, *_: raw)
    assert assert_status(raw, "IN_PROGRESS").uuid == uuid


def test_how_a_database_stands():
    answer = {"knowledge_base": {"uuid": "kb"}, "database_status": "CREATING"}
    assert assert_database_status(answer, ["CREATING", "ONLINE"]) == DatabaseStatus.CREATING
    assert assert_database_status("ONLINE", "ONLINE") == DatabaseStatus.ONLINE
    with pytest.raises(AssertionError, match="expected database status ONLINE, not CREATING"):
        assert_database_status(httpx.Response(200, json=answer), DatabaseStatus.ONLINE)
    with pytest.raises(AssertionError, match="'HIBERNATING' is not a value of the published"):
        assert_database_status("HIBERNATING", "ONLINE")
    with pytest.raises(AssertionError, match="has no database_status"):
        assert_database_status({"knowledge_base": {"uuid": "kb"}}, "ONLINE")
    with pytest.raises(ValueError, match="ONLINE"):
        assert_database_status(answer, "ONLNE")


# What is no answer with a job: each message says what was wanted, what was there, and the way out.


@pytest.mark.parametrize(
    "text", [json.dumps({"job": JOB}), json.dumps({"job": JOB}).encode(), f" {json.dumps(JOB)}"]
)
def test_json_is_taken_as_text_and_as_bytes(text):
    assert assert_status(text, "PARTIAL") == FORMS["ours"]
    assert assert_database_status('{"database_status": "ONLINE"}', "ONLINE") == "ONLINE"
    assert assert_status(MappingProxyType({"job": JOB}), "PARTIAL") == FORMS["ours"]


@pytest.mark.parametrize(
    ("answer", "there", "way_out"),
    [
        ({"jobs": [JOB], "meta": {}}, "it has jobs, meta", "answer['jobs'][0]"),
        ({"knowledge_bases": []}, "it has knowledge_bases", "answer['knowledge_bases'][0]"),
        ({"indexed_data_sources": [{}]}, "it has indexed_data_sources", "ask for the job itself"),
        ({"knowledge_base_data_source": {"uuid": "d"}}, "it has knowledge_base_d", "ask for the"),
        ({"uuid": "d", "spaces_data_source": {}}, "it has uuid, spaces_data_source", "ask for the"),
        (KnowledgeBaseDataSource(uuid="d", dropbox_data_source=None), "status", "is it a job's"),
        ({"signed_url": "https://x"}, "it has signed_url", "GET /v2/gen-ai/indexing_jobs/{uuid}"),
        ({"job": None}, "it is empty", "ask for the job itself"),
        (dict.fromkeys("abcdefg", 1), "it has a, b, c, d, e and more", "ask for the job itself"),
        ({"uuid": "kb"}, "not UNKNOWN", "the answer has no status"),
        (
            {"status": "DATA_SOURCE_STATUS_UPDATED"},
            "not 'DATA_SOURCE_STATUS_UPDATED'",
            "is a DataSourceStatus, not a IndexingJobStatus",
        ),
        (httpx.Response(200, text="<html>"), "can't be read: JSON was expected", "a job"),
        (httpx.Response(200), "JSON was expected, not an empty body", "a job"),
        (b'{"job": {', "broken at byte", "a job"),
        (
            httpx.Response(409, json={"id": "conflict", "message": "busy"}),
            "not HTTP 409: conflict: busy",
            "a job",
        ),
        (httpx.Response(502, text="<html>"), "not HTTP 502", "a job"),
        (NotFoundError(404, "not_found", "gone", "", "GET /x"), "not the error NotFoundError", ""),
    ],
)
def test_an_answer_without_a_job_is_described(answer, there, way_out):
    text = said(assert_status, answer, "COMPLETED")
    assert there in text
    assert way_out in text


async def asked():
    """What a test forgot to await."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([JOB], r"not list: assert on each of its items"),
        (response, r"not function: call it"),
        (
            IndexingJobPage(jobs=(FORMS["ours"],)),
            r"not IndexingJobPage: assert on each of its jobs",
        ),
        (None, r"not NoneType$"),
        ("PARTIAL", r"not str$"),
        (
            SimpleNamespace(status_code=200),
            r"body of this SimpleNamespace can't be found: assert on",
        ),
        (
            httpx.Response(200, stream=httpx.ByteStream(b"{}")),
            r"not read yet: call `response.read\(\)`",
        ),
    ],
)
def test_what_is_no_answer_is_a_mistake_with_a_way_out(value, message):
    with pytest.raises(TypeError, match=message):
        assert_status(value, "PARTIAL")


def test_an_answer_that_was_not_awaited_says_so():
    forgotten = asked()
    with pytest.raises(TypeError, match="not coroutine: await it"):
        assert_status(forgotten, "PARTIAL")
    forgotten.close()


@pytest.mark.parametrize("polls", [JOB, "PARTIAL", b"{}", httpx.Response(200, json={})])
def test_a_single_answer_is_no_list_of_polls(polls):
    with pytest.raises(
        TypeError, match="must be a list with the answer to each poll, not a single"
    ):
        assert_transitions(polls, ["PARTIAL"])


def test_streams_of_sdks(indexjob_simulator):
    uuid = indexjob_simulator.start().uuid
    calls = Gradient(access_token="any").knowledge_bases.indexing_jobs
    with calls.with_streaming_response.retrieve(uuid) as answer:
        with pytest.raises(TypeError, match="was not read yet"):
            assert_status(answer, "IN_PROGRESS")
        answer.read()
        assert assert_status(answer, "IN_PROGRESS").uuid == uuid

    async def by_async_clients():
        calls = AsyncGradient(access_token="any").knowledge_bases.indexing_jobs
        async with calls.with_streaming_response.retrieve(uuid) as answer:
            await answer.read()
            yield answer
        yield await calls.retrieve(uuid)
        async with pydo.aio.Client(token="any") as client:
            yield await client.genai.get_indexing_job(uuid)
            yield await client.genai.get_indexing_job(uuid, cls=lambda raw, *_: raw)

    async def check():
        return [assert_status(each, "IN_PROGRESS").uuid async for each in by_async_clients()]

    assert asyncio.run(check()) == [uuid] * 4


@pytest.mark.parametrize(
    ("check", "answer", "expected"),
    [
        (assert_status, JOB, ["FAILED"]),
        (assert_phase, JOB, ["FAILED"]),
        (assert_data_source_status, JOB, ["FAILED"]),
        (assert_database_status, "ONLINE", ["CREATING"]),
        (assert_finished, {"status": "INDEX_JOB_STATUS_PENDING"}, []),
        (assert_consistent, JOB | {"finished_at": None}, []),
        (assert_transitions, [JOB], [["FAILED"]]),
    ],
)
def test_the_traceback_of_a_failure_ends_in_the_test(check, answer, expected):
    with pytest.raises(AssertionError) as raised:
        check(answer, *expected)
    assert {str(entry.path) for entry in raised.traceback.filter(raised)} == {__file__}
    with pytest.raises(AssertionError) as raised:
        assert_counts(JOB, tokens=1)
    assert {str(entry.path) for entry in raised.traceback.filter(raised)} == {__file__}


def test_any_status_of_2xx_is_an_answer():
    assert assert_status(httpx.Response(299, json=JOB), "PARTIAL") == FORMS["ours"]
    for status in (199, 300):
        assert f"not HTTP {status}" in said(assert_status, response(status), "PARTIAL")


def test_what_holds_no_database_status_names_the_call_that_does():
    for answer in (KnowledgeBase(uuid="kb"), {"knowledge_bases": []}, '{"job": {}}'):
        text = said(assert_database_status, answer, "ONLINE")
        assert "only the answer to GET /v2/gen-ai/knowledge_bases/{uuid}" in text
    refused = httpx.Response(404, json={"id": "not_found", "message": "gone"})
    text = said(assert_database_status, refused, "ONLINE")
    assert text == "expected an answer with a database status, not HTTP 404: not_found: gone"


def test_what_keeps_no_body_or_is_no_answer_yet_is_told(indexjob_simulator):
    url = f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{indexjob_simulator.start().uuid}"
    headers = {"Authorization": "Bearer any"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        with pytest.raises(TypeError, match=r"keeps no body: assert on `response.read\(\)`"):
            assert_status(answer, "IN_PROGRESS")
        assert_status(answer.read(), "IN_PROGRESS")
    with pytest.raises(TypeError, match="enter it by `with`"):
        assert_status(httpx.stream("GET", url, headers=headers), "IN_PROGRESS")
