"""The options and ini keys, all of which begin with ``indexjob``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def add_options(parser: pytest.Parser) -> None:
    """Declare them."""
    group = parser.getgroup("indexjob", "indexing jobs (pytest-indexjob)")
    group.addoption(
        "--indexjob-live",
        action="store_true",
        help=(
            "let the real service answer: it is slow and costs money, and needs"
            " DIGITALOCEAN_ACCESS_TOKEN"
        ),
    )
    group.addoption(
        "--indexjob-record",
        choices=("none", "once", "new_episodes", "all", "rewrite"),
        default="none",
        help=(
            "record marked tests from the real service, without secrets; the modes are vcrpy's, and"
            " rewrite. Where CI is set, this option counts only on the command line itself"
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
        help=("fail tests whose recordings are more than DAYS days old; warn:DAYS only warns"),
    )
    group.addoption(
        "--indexjob-coverage",
        action="store_true",
        help=(
            "print at the end which of the service's answers were given to tests that passed, and"
            " which never were"
        ),
    )
    group.addoption(
        "--indexjob-coverage-fail-under",
        type=float,
        metavar="N",
        help="fail the run if fewer than N percent of the answers were given",
    )
    group.addoption(
        "--indexjob-coverage-file",
        metavar="FILE",
        help="write the coverage as JSON; `pytest-indexjob coverage` adds up such files",
    )
    group.addoption(
        "--indexjob-report",
        metavar="FILE",
        help="write an HTML page with the story of every test",
    )
    group.addoption(
        "--indexjob-used-file",
        metavar="FILE",
        help="write as JSON which recordings were used; `pytest-indexjob audit` reads it",
    )
    parser.addini(
        "indexjob_coverage_left_out",
        "what coverage leaves out: an item and a reason a line, `http:409: we never start jobs`",
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
        "headers to keep in what is recorded, beside the usual ones: etag x-total-count set-cookie",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_kept_bodies",
        "types of bodies to keep in what is recorded, beside JSON of the API: text/csv text/*",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_allowed_hosts",
        "hosts that tests with this plugin may reach besides this machine: names, or patterns such"
        " as *.example.com",
        type="args",
        default=[],
    )
    parser.addini(
        "indexjob_max_polls",
        "requests in one test after which it fails as endless",
        default="10000",
    )
    parser.addini(
        "indexjob_max_hours",
        "hours of a test's clock after which it fails as endless",
        default="48",
    )
    parser.addini(
        "indexjob_stuck_after",
        "real seconds in which nobody in a test with indexjob_clock moves, after which it fails",
        default="10",
    )
    parser.addini(
        "indexjob_clock_start",
        "the moment at which a test's clock begins: an RFC 3339 time or seconds since the epoch",
        default="",
    )
