"""What an answer says, whoever looks at it."""

from __future__ import annotations

import json

import pytest

from pytest_indexjob import DecodeError
from pytest_indexjob.api.answers import ErrorBody, read
from pytest_indexjob.api.calls import named


def answered(call, body, status=200):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(named(call) if call else None, status, content)


@pytest.mark.parametrize("of_a_known_call", [True, False])
def test_an_answer_holds_what_its_call_answers_with_and_nothing_else(of_a_known_call):
    def held(call, body):
        answer = answered(call if of_a_known_call else "", body)
        assert answer.is_json
        assert (answer.problem, answer.error) == (None, None)
        return answer.job, answer.page, answer.data_sources, answer.signed_url

    job, *others = held("jobs.get", {"job": {"uuid": "u"}})
    assert (job.uuid, others) == ("u", [None, None, ""])
    _, page, *others = held("jobs.list", {"jobs": [{"uuid": "u"}]})
    assert (page.jobs, others) == ((job,), [None, ""])
    *others, sources, url = held("jobs.data_sources", {"indexed_data_sources": [{}]})
    assert (others, len(sources), url) == ([None, None], 1, "")
    *others, url = held("jobs.details_signed_url", {"signed_url": "https://x"})
    assert (others, url) == ([None, None, None], "https://x")


@pytest.mark.parametrize(
    ("body", "is_json"),
    [(b"[", False), ([], True), ({}, True), ({"job": {"tokens": -1}}, True)],
)
def test_an_answer_that_can_not_be_read_says_why_and_holds_no_job(body, is_json):
    answer = answered("jobs.get", body)
    assert isinstance(answer.problem, DecodeError)
    assert (answer.job, answer.is_json) == (None, is_json)


def test_an_answer_that_grants_nothing_holds_no_job():
    body = {"job": {"uuid": "u"}, "id": "busy", "message": None}
    for status in (300, 404, 500):
        refused = answered("jobs.get", body, status)
        assert (refused.job, refused.error) == (None, ErrorBody("busy", "", ""))
    granted = answered("jobs.get", body, 299)
    assert (granted.job.uuid, granted.error) == ("u", None)
    assert answered("jobs.get", body, 199).job is None
