"""What is said of code that does not stop asking."""

from __future__ import annotations

from conftest import COMPLETED, JOB_URL, RUNNING, job_answer

from pytest_indexjob.exchange import Exchange, Request, Response, TransportFault
from pytest_indexjob.interception.runaway import explain

JSON = (("Content-Type", "application/json"),)


def told(*answers, slept=True):
    exchanges = [
        (
            Exchange(Request("GET", JOB_URL), None, answer)
            if isinstance(answer, Exception)
            else Exchange(Request("GET", JOB_URL), answer)
        )
        for answer in answers
    ]
    return explain(exchanges, "9 requests in one test", "indexjob_max_polls", slept=slept)


def test_equal_answers_are_one_line_and_the_limit_is_named():
    text = told(*[RUNNING] * 7, COMPLETED, COMPLETED)
    assert text.startswith(
        "the code under test does not stop: 9 requests in one test (ini key indexjob_max_polls)"
    )
    assert "    7 x GET /v2/gen-ai/indexing_jobs/" in text
    assert "    2 x GET /v2/gen-ai/indexing_jobs/" in text


def test_an_end_that_is_not_taken_for_one_is_named_with_the_count_of_needless_polls():
    ended = job_answer(status="INDEX_JOB_STATUS_NO_CHANGES", phase="BATCH_JOB_PHASE_SUCCEEDED")
    text = told(RUNNING, *[ended] * 5)
    assert "the job ended as NO_CHANGES and was polled 4 more times" in text
    assert "the job has not ended" not in text


def test_a_phase_that_alone_tells_the_end_is_named():
    text = told(*[job_answer(phase="BATCH_JOB_PHASE_ERROR")] * 3)
    assert "the job ended as ERROR and was polled 2 more times" in text


def test_no_answers_and_errors_are_told():
    text = told(
        TransportFault("timeout"), Response(500, JSON, b"{}"), Response(502, (), b"<html>"), RUNNING
    )
    for line in (
        "no answer (timeout)",
        "HTTP 500",
        "HTTP 502",
        "status IN_PROGRESS, phase RUNNING",
    ):
        assert line in text
    assert "no time-out of its own" in text


def test_answers_without_a_job_are_hinted_at():
    assert "the answers hold no `job`" in told(*[Response(200, JSON, b"{}")] * 3)
    assert "the answers hold no `job`" in told(*[Response(200, JSON, b'{"job": []}')] * 3)
    assert "the answers hold no `job`" not in told(*[Response(404, JSON, b"{}")] * 3)


def test_values_that_nobody_knows_are_hinted_at():
    text = told(
        *[job_answer(status="INDEX_JOB_STATUS_PAUSED", phase="BATCH_JOB_PHASE_RUNNING")] * 3
    )
    assert "'INDEX_JOB_STATUS_PAUSED'" in text
    assert "the contract does not know the status" in text


def test_a_missing_phase_is_hinted_at():
    assert "the answers hold no phase" in told(
        *[job_answer(status="INDEX_JOB_STATUS_IN_PROGRESS")] * 3
    )


def test_code_that_never_sleeps_is_told_so():
    assert "the code under test never slept on the test's clock" in told(RUNNING, slept=False)
    assert "the code under test never slept on the test's clock" not in told(RUNNING)


def test_of_many_different_answers_the_last_are_shown():
    text = told(*[job_answer(status=f"INDEX_JOB_STATUS_{at}") for at in range(30)])
    assert "... 18 kinds of answers before" in text
    assert "status 29," in text
    assert "status 17," not in text
