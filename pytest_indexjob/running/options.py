"""The marker's name; the options and ini keys, all of which begin with ``indexjob``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

MARKER = "indexjob_cassette"


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini keys."""
    group = parser.getgroup("indexjob", "indexing jobs (pytest-indexjob)")
    group.addoption(
        "--indexjob-live",
        action="store_true",
        help=(
            "let the real service answer, which is slow and costs money; the token is read from"
            " DIGITALOCEAN_ACCESS_TOKEN"
        ),
    )
    group.addoption(
        "--indexjob-record",
        choices=("none", "once", "new_episodes", "all", "rewrite"),
        default="none",
        help=(
            "record the tests that have the mark from the real service, without secrets. The modes"
            " are vcrpy's; rewrite records anew, and replaces a recording only if its tests passed"
            " (default: none). Where CI is set, only the command line itself can ask for it"
        ),
    )
    group.addoption(
        "--indexjob-offline",
        choices=("strict",),
        help=(
            "strict: the kernel lets nothing in this run reach another machine, children included"
            " (Linux; refused where it can't be had)"
        ),
    )
    group.addoption(
        "--indexjob-max-age",
        metavar="DAYS",
        help=("fail tests whose recordings are older than so many days; warn:DAYS only warns"),
    )
    group.addoption(
        "--indexjob-coverage",
        action="store_true",
        help=(
            "print at the end which of the service's answers your passing tests were given, and"
            " which they never were"
        ),
    )
    group.addoption(
        "--indexjob-coverage-fail-under",
        type=float,
        metavar="N",
        help="fail the run if your tests were given less than N percent of the answers",
    )
    group.addoption(
        "--indexjob-coverage-file",
        metavar="FILE",
        help="write the coverage to this file, as JSON; `pytest-indexjob coverage` adds up files",
    )
    group.addoption(
        "--indexjob-report",
        metavar="FILE",
        help="write an HTML page with the story of every test to this file",
    )
    group.addoption(
        "--indexjob-used-file",
        metavar="FILE",
        help="list the recordings that were used in this file; `pytest-indexjob audit` reads it",
    )
    parser.addini(
        "indexjob_coverage_left_out",
        "what coverage leaves out; each line has an item and a reason:"
        " `http:409: we never start jobs`",
        type="linelist",
        default=[],
    )
    parser.addini(
        "indexjob_anonymize",
        "replace each uuid in new recordings by a number",
        type="bool",
        default=False,
    )
    parser.addini(
        "indexjob_kept_headers",
        "headers that new recordings keep besides the usual headers, for example: etag"
        " x-total-count",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_kept_bodies",
        "content types whose bodies new recordings keep, besides the API's JSON, for example:"
        " text/csv text/*",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_allowed_hosts",
        "hosts that tests with this plugin may reach besides this machine, for example:"
        " db.internal *.example.com",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_max_polls",
        "fail a test as endless after so many requests",
        default="10000",
    )
    parser.addini(
        "indexjob_max_hours",
        "fail a test as endless after so many hours of its virtual clock",
        default="48",
    )
    parser.addini(
        "indexjob_stuck_after",
        "fail a test with indexjob_clock if no thread and no task goes on for so many real seconds",
        default="10",
    )
    parser.addini(
        "indexjob_clock_start",
        "the time at which each test's virtual clock starts: an RFC 3339 time, or seconds since"
        " the epoch",
        default="",
    )
