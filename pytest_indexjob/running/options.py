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
            "let the real service answer: it is slow and billed, and needs"
            " DIGITALOCEAN_ACCESS_TOKEN"
        ),
    )
    group.addoption(
        "--indexjob-record",
        choices=("none", "once", "new_episodes", "all", "rewrite"),
        default="none",
        help=(
            "record marked tests from the service, secrets redacted (vcrpy's modes); none where CI"
            " is set, unless given on the command line"
        ),
    )
    group.addoption(
        "--indexjob-max-age",
        metavar="DAYS",
        help=(
            "fail tests whose recordings are older, by what they say of themselves; warn:DAYS warns"
        ),
    )
    group.addoption(
        "--indexjob-coverage",
        action="store_true",
        help=(
            "tell at the end which of the service's answers the tests that passed were given, and"
            " which never"
        ),
    )
    group.addoption(
        "--indexjob-coverage-fail-under",
        type=float,
        metavar="N",
        help="fail the run below N percent of the answers",
    )
    group.addoption(
        "--indexjob-coverage-file",
        metavar="FILE",
        help="write the coverage as JSON, to add up shards",
    )
    group.addoption(
        "--indexjob-report",
        metavar="FILE",
        help="write a page (HTML) that shows every test's story",
    )
    group.addoption(
        "--indexjob-used-file",
        metavar="FILE",
        help="write which recordings were used (JSON), for audit",
    )
    parser.addini(
        "indexjob_coverage_left_out",
        "what coverage leaves out, a line each with a reason: `http:409: we never start jobs`",
        type="linelist",
        default=[],
    )
    parser.addini(
        "indexjob_anonymize",
        "replace uuids in what is recorded by numbered ones",
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
        "hosts besides this machine that tests with this plugin may reach: exact names or"
        " *.example.com",
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
