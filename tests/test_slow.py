"""Slow tests are left out unless they are asked for, and a run says so."""

from __future__ import annotations

from pathlib import Path

import pytest

SUITE = """
import pytest
def test_quick(): pass
@pytest.mark.slow
@pytest.mark.parametrize("n", range(2))
def test_long(n): pass
"""


@pytest.fixture
def suite(pytester):
    pytester.makeini("[pytest]\naddopts = -m 'not slow'\nmarkers = slow: long")
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(SUITE)
    return lambda *options: pytester.runpytest("-p", "no:cacheprovider", *options)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n1",)])
@pytest.mark.usefixtures("installed_plugins")
def test_a_run_says_how_many_slow_tests_it_left_out(suite, workers):
    result = suite(*workers)
    result.assert_outcomes(passed=1, deselected=0 if workers else 2)
    result.stdout.fnmatch_lines(["slow: 2 tests were left out; `pytest -m slow` runs them"])


def test_slow_tests_run_where_they_are_asked_for(suite):
    result = suite("-m", "slow")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.no_fnmatch_line("slow: *")
