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
    assert "Remove the mark or the fixture" in text


def test_the_fixture_without_a_mark(told):
    text = told("def test_it(indexjob_cassette): pass")
    assert "the test has no mark @pytest.mark.indexjob_cassette(NAME)" in text


def test_a_scenario_that_is_no_scenario(told):
    text = told("def test_it(indexjob_simulator): indexjob_simulator.start(3)")
    assert "TypeError: a scenario's name or a Scenario is needed, not 3" in text


def test_a_fault_that_is_no_fault(told):
    text = told("def test_it(indexjob_simulator): indexjob_simulator.inject(3)")
    assert "Error: there is no fault 3" in text or "TypeError: a fault's name" in text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("simulator.inject('rate-limit', times='2')", "ValueError: times must be a whole number"),
        ("simulator.inject('rate-limit', on=3)", "TypeError: on must be the name of a call"),
        ("simulator.answer('GET', 3)", "ValueError: path must begin with a slash"),
        ("simulator.answer(3, '/x')", "ValueError: method must be a text such as 'GET', not 3"),
        (
            "simulator.answer('GET', '/x', json={1j})",
            "ValueError: json can't be written as JSON: ",
        ),
        ("simulator.plan_database(after='x')", "ValueError: after must be 0 or more seconds"),
        ("simulator.add_data_source('x')", "there is no knowledge base 'x': make it with"),
        ("simulator.job('x')", "there is no job 'x'"),
        ("clock.advance('x')", "TypeError: advance takes a number of seconds, not 'x'"),
        ("clock.adopt('x')", "TypeError: adopt takes a threading.Thread, not 'x'"),
    ],
)
def test_a_wrong_argument_is_named_at_the_users_line(told, call, said):
    text = told(f"def test_it(indexjob_simulator, indexjob_clock): indexjob_{call}")
    assert said in text
    assert "pytest_indexjob/" not in text.replace("\\", "/")


SETTINGS = """
from pytest_indexjob import IndexJobSettings
@pytest.fixture(scope="session")
def indexjob_settings():
    return {value}
def test_it(indexjob_client): pass
"""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("'hidden'", "must return an IndexJobSettings, not a value of type str"),
        ("IndexJobSettings(token=b'hidden')", "token must be a string or None, not of type bytes"),
        # A string is a collection of letters, none of which is a secret.
        ("IndexJobSettings(secrets='hidden')", "secrets must be a tuple of strings"),
        ("IndexJobSettings(secrets=('hidden', 3))", "not of type tuple of int and str"),
        ("IndexJobSettings(base_url=3)", "base_url must be a string, not of type int"),
        ("IndexJobSettings(base_url='me:hidden@x')", "begin with http:// or https://, not 'x'"),
        ("IndexJobSettings(timeout='x')", "timeout must be a number of seconds above 0, not 'x'"),
        ("IndexJobSettings(retries=1.5)", "retries must be a whole number of 0 or more, not 1.5"),
    ],
)
def test_wrong_settings_are_told_without_their_values(told, value, said):
    text = told(SETTINGS.format(value=value))
    assert said in text
    assert "INTERNALERROR" not in text
    assert "pytest_indexjob/" not in text.replace("\\", "/")
    assert "hidden" not in text


def test_a_wrong_base_url_is_told_though_the_plugins_client_is_not_used(told):
    source = SETTINGS.format(value="IndexJobSettings(base_url='staging.example')")
    text = told(source.replace("indexjob_client", "indexjob_simulator"))
    assert "base_url must begin with http:// or https://, not 'staging.example'" in text


@pytest.mark.parametrize("name", ["../x", "x" * 300])
def test_a_name_that_no_file_can_have_gets_no_advice_to_record_it(told, name):
    text = told(f"@pytest.mark.indexjob_cassette({name!r})\ndef test_it(): pass")
    assert "can't be a cassette's name. A name has letters" in text
    assert "To record it" not in text


def test_a_moment_of_the_clock_that_is_none_is_told_once(told):
    source = "@pytest.mark.parametrize('indexjob_clock', ['x'], indirect=True)\n"
    text = told(f"{source}def test_it(indexjob_clock): pass")
    assert "the argument of indexjob_clock must be an RFC 3339 time" in text
    assert "During handling" not in text


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


def test_a_traceback_ends_at_the_users_line_without_a_fixture_too(told):
    text = told(
        "from pytest_indexjob import assert_status\ndef test_it(): assert_status(None, 'X')"
    )
    assert "TypeError: a job, a dict or a response was expected, not NoneType" in text
    assert "pytest_indexjob/checking" not in text.replace("\\", "/")


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


# Threads that the plugin ends.

THREADS = """
import threading

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

"""
of_the_whole_run = pytest.mark.skipif(
    pytest.version_tuple < (8, 4), reason="before 8.4 pytest hears of threads in each phase anew"
)


@of_the_whole_run
def test_what_ended_a_waiting_thread_is_told_once(pytester):
    pytester.makepyfile(
        THREADS
        + """
def test_stuck(indexjob_clock):
    in_thread(threading.Event().wait)

def test_endless(indexjob_clock):
    in_thread(lambda: [indexjob_clock.sleep(3600) for _ in range(100)])
"""
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "-Werror", "-oindexjob_stuck_after=0.3")
    # An error that pytest heard of from the thread would be an error at teardown as well.
    result.assert_outcomes(failed=2)
    assert "Traceback" not in result.stdout.str()


@of_the_whole_run
def test_the_error_of_a_threads_request_ends_at_the_users_line(told):
    source = """
def ask():
    requests.get("https://other.example/")  # the user's line

def test_miss(indexjob_clock):
    in_thread(ask)
"""
    warning = told(THREADS + source, "-Wdefault").partition("warnings summary")[2]
    after = warning.partition("# the user's line\n")[2]
    assert after.lstrip(" ^\n").startswith("pytest_indexjob.api.errors.NetworkBlockedError: ")


def test_a_test_that_swallows_that_nobody_could_move_fails_all_the_same(told):
    source = """
def test_it(indexjob_clock):
    try:
        threading.Event().wait()
    except BaseException:
        pass
"""
    text = told(THREADS + source, "-oindexjob_stuck_after=0.3")
    assert "nobody in this test could move for 0.3 real seconds" in text
    assert "1 failed" in text


def test_the_error_of_a_users_thread_is_reported_whole(told):
    source = """
def test_it(indexjob_clock):
    in_thread({}.popitem)
"""
    warning = told(THREADS + source, "-Wdefault").partition("warnings summary")[2]
    assert "_bootstrap_inner" in warning
    assert "KeyError: 'popitem(): dictionary is empty'" in warning
