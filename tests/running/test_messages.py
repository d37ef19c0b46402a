"""What a red test says: what was wanted, what was there, the way out, and no needless frames."""

from __future__ import annotations

import pytest

HEAD = """
import httpx, pytest, requests
JOBS = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any"}
"""


@pytest.fixture
def told(pytester, monkeypatch):
    """Runs a suite, and gives what pytest printed."""
    monkeypatch.setenv("NO_COLOR", "1")

    def run(source, *options):
        pytester.makepyfile(HEAD + source)
        return pytester.runpytest("-p", "no:cacheprovider", *options).stdout.str()

    return run


# Marks and fixtures.


def test_a_marks_wrong_argument_is_shown_as_it_was_written(told):
    text = told("@pytest.mark.indexjob_cassette('a', stric=True)\ndef test_it(): pass")
    assert "not 'a', stric=True. For example:" in text
    assert "strict=False" not in text.partition("not 'a'")[2].partition(". For")[0]


def test_a_name_that_is_like_no_other_gets_no_suggestion(told):
    text = told("@pytest.mark.indexjob_cassette('nope')\ndef test_it(): pass")
    assert "Did you mean" not in text
    assert "Did you mean partial?" in told(
        "@pytest.mark.indexjob_cassette('partail')\ndef test_it(): pass"
    )


def test_a_simulator_beside_a_mark(told):
    text = told("@pytest.mark.indexjob_cassette('partial')\ndef test_it(indexjob_simulator): pass")
    assert "Take away the mark, or the fixture" in text


def test_the_fixture_without_a_mark(told):
    text = told("def test_it(indexjob_cassette): pass")
    assert "the test has no mark @pytest.mark.indexjob_cassette(NAME)" in text


def test_a_scenario_that_is_no_scenario(told):
    text = told("def test_it(indexjob_simulator): indexjob_simulator.start(3)")
    assert "TypeError: a scenario's name or a Scenario is needed, not 3" in text


def test_a_fault_that_is_no_fault(told):
    text = told("def test_it(indexjob_simulator): indexjob_simulator.inject(3)")
    assert "Error: there is no fault 3" in text or "TypeError: a fault's name" in text


# The story.

MISS = """
@pytest.mark.indexjob_cassette("completed")
def test_it():
    {call}
"""


def test_a_miss_is_called_a_miss(told):
    text = told(MISS.format(call="requests.get(JOBS + '/other', headers=HEADERS, timeout=9)"))
    assert "miss: CassetteMissError" in text
    assert "fault: " not in text


# Tracebacks.


@pytest.mark.parametrize(
    "call",
    [
        "requests.get(JOBS + '/other', headers=HEADERS, timeout=9)",
        "httpx.get(JOBS + '/other', headers=HEADERS)",
    ],
)
def test_a_traceback_ends_at_the_users_line(told, call):
    source = MISS.format(call="poll()") + f"\ndef poll():\n    return {call}\n"
    text = told(source)
    failures = text.partition("FAILURES")[2].partition("indexing jobs")[0]
    assert f">       return {call}" in failures or f">   return {call}" in failures
    for library in ("site-packages", "pytest_indexjob/interception", "urllib3", "httpcore"):
        assert library not in failures


def test_a_traceback_is_cut_in_errors_that_came_of_a_miss(told):
    source = """
@pytest.mark.indexjob_cassette("completed")
def test_it():
    try:
        requests.get(JOBS + '/other', headers=HEADERS, timeout=9)
    except Exception as error:
        raise RuntimeError("could not poll") from error
"""
    failures = told(source).partition("FAILURES")[2].partition("indexing jobs")[0]
    assert "could not poll" in failures
    assert "site-packages" not in failures


def test_every_frame_is_there_where_it_is_asked_for(told):
    call = "requests.get(JOBS + '/other', headers=HEADERS, timeout=9)"
    text = told(MISS.format(call=call), "--tb=native")
    assert "pytest_indexjob/interception" in text.replace("\\", "/")


def test_an_error_of_the_users_own_code_keeps_its_frames(told):
    source = """
import json
def test_it(indexjob_simulator):
    json.loads("{")
"""
    assert "json/decoder.py" in told(source).replace("\\", "/")
