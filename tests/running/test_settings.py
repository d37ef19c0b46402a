"""Options and ini values that make no sense: one usage error for the run, not one in each test."""

from __future__ import annotations

import pytest

TESTS = """
def test_one(indexjob_simulator): pass
def test_two(indexjob_simulator): pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    pytester.makepyfile(TESTS)

    def run(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}\n")
        return pytester.runpytest("-p", "no:cacheprovider", *arguments)

    return run


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("indexjob_max_polls", "many", "must be a number of 1 or more, not 'many'"),
        ("indexjob_max_polls", "0", "must be a number of 1 or more, not '0'"),
        ("indexjob_max_polls", "inf", "must be a number of 1 or more, not 'inf'"),
        ("indexjob_max_hours", "-3", "must be a number above 0, not '-3'"),
        ("indexjob_max_hours", "nan", "must be a number above 0, not 'nan'"),
        # These could never do anything.
        ("indexjob_allowed_hosts", "https://db.example/", "must have names of hosts without *"),
        ("indexjob_allowed_hosts", "db.example:5432", "must have names of hosts without *"),
        ("indexjob_kept_headers", "etag:", "must have names of headers, *, not 'etag:'"),
        ("indexjob_kept_bodies", "csv", "must have content types, *, not 'csv'"),
        ("indexjob_anonymize", "maybe", "can't be read: invalid truth value 'maybe'"),
        ("indexjob_kept_headers", "'etag", "can't be read: No closing quotation"),
        ("indexjob_clock_start", "1e300", "must be an RFC 3339 time *, not '1e300'"),
        # Milliseconds, which is a moment in the year 56000 or so.
        ("indexjob_clock_start", "1761872913000", "must be an RFC 3339 time *"),
    ],
)
def test_an_ini_value(run, key, value, said):
    result = run(ini=f"{key} = {value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: the ini key {key} {said}"])
    assert "Traceback" not in result.stderr.str()
    assert "test_one" not in result.stdout.str()


def test_ini_values_that_name_hosts_and_types(run):
    hosts = "indexjob_allowed_hosts = db *.example ::1 2001:db8::2 10.0.0.1"
    bodies = "indexjob_kept_bodies = text/csv text/* *"
    run(ini=f"{hosts}\n{bodies}\nindexjob_clock_start = -1").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--indexjob-max-age=soon"], "--indexjob-max-age must be a number of days *"),
        (["--indexjob-live", "--indexjob-record=once"], "--indexjob-live records nothing*"),
    ],
)
def test_an_option(run, options, message):
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_no_limit_of_hours(run):
    run(ini="indexjob_max_hours = inf").assert_outcomes(passed=2)
