"""What a run adds up: outcome coverage, the story of a failure, the page, the recordings used."""

# ruff: noqa: RUF001  # the sign of multiplication stands for "times"

from __future__ import annotations

import json
import re
import textwrap
import xml.etree.ElementTree as ET

import pytest

from pytest_indexjob.checking.coverage import ITEMS, read

HEAD = """
import time, pytest, requests
from pytest_indexjob import scenarios
URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"
def get(uuid):
    return requests.get(URL + uuid, headers={"Authorization": "Bearer any"}, timeout=9)
"""
WEAK = """
@pytest.mark.parametrize("n", range(4))
def test_completed(indexjob_client, indexjob_simulator, n):
    indexjob_client.wait(indexjob_simulator.start().uuid)

def test_partial_but_fails(indexjob_client, indexjob_simulator):
    indexjob_client.wait(indexjob_simulator.start("partial").uuid)
    assert False

def test_failed_but_skips(indexjob_client, indexjob_simulator):
    indexjob_client.wait(indexjob_simulator.start("failed").uuid)
    pytest.skip()

def test_prepared_but_not_asked(indexjob_simulator):
    indexjob_simulator.start("cancelled")
    indexjob_simulator.inject("rate-limit")

@pytest.mark.indexjob_cassette("server-error")
def test_recorded(indexjob_client, indexjob_cassette):
    indexjob_client.get(indexjob_cassette.job_uuid)

def test_without():
    pass
"""
SEEN = {
    "status:IN_PROGRESS",
    "status:COMPLETED",
    "phase:RUNNING",
    "phase:SUCCEEDED",
    "data_source:IN_PROGRESS",
    "data_source:UPDATED",
    "pair:IN_PROGRESS×RUNNING",
    "pair:COMPLETED×SUCCEEDED",
    "http:500",
    "shape:absent-counts",
}
# A suite that is given no knowledge base is not asked for these.
ASKED = {
    item
    for item, entry in ITEMS.items()
    if entry.group not in ("database", "source", "knowledge_base")
}


@pytest.fixture
def suite(pytester):
    def run(text, *options, ini=""):
        if ini:
            pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(HEAD + textwrap.dedent(text))
        return pytester.runpytest("-p", "no:cacheprovider", *options)

    run.path = pytester.path
    return run


def test_a_weak_suite_is_shown_what_it_never_served(suite):
    result = suite(WEAK, "--indexjob-coverage", "--indexjob-coverage-file=c.json")
    result.assert_outcomes(passed=7, failed=1, skipped=1)
    assert {item for item in ITEMS if read(suite.path / "c.json").counts[item]} == SEEN
    lines = result.stdout.lines
    for item in ASKED - SEEN:
        assert any(ITEMS[item].serve in line for line in lines), item
    result.stdout.fnmatch_lines(
        [
            f"outcome coverage: {100 * len(SEEN) / len(ASKED):.0f} % *by 6 tests that passed",
            "*COMPLETED *seen by 5 tests",
            '*NO_CHANGES *indexjob_simulator.start("no-changes")',
            "*500 *seen by 1 test",
        ]
    )


@pytest.mark.parametrize(
    "options",
    [
        ["-n", "2"],
        pytest.param(["-n", "3", "--dist=each"], marks=pytest.mark.slow),
        pytest.param(["-n", "2", "--dist=loadfile"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("installed_plugins")
def test_workers_add_up_to_the_same(suite, options):
    suite(WEAK, "--indexjob-coverage-file=one.json", "--indexjob-used-file=one-used.json")
    suite(
        WEAK, "--indexjob-coverage-file=many.json", "--indexjob-used-file=many-used.json", *options
    )
    one, many = read(suite.path / "one.json"), read(suite.path / "many.json")
    times = 3 if "--dist=each" in options else 1
    assert (many.tests, many.counts) == (
        one.tests * times,
        {item: n * times for item, n in one.counts.items()},
    )
    used = [
        json.loads((suite.path / name).read_text()) for name in ("one-used.json", "many-used.json")
    ]
    assert used[0] == used[1]
    assert [name.rpartition("/")[2] for name in used[0]] == ["server-error.yaml"]


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_a_crashed_worker_takes_only_its_own_test_with_it(suite):
    crash = """
def test_crash(indexjob_simulator):
    get(indexjob_simulator.start("stuck").uuid)
    __import__("os")._exit(1)
"""
    suite(WEAK, "--indexjob-coverage-file=one.json")
    suite(WEAK + crash, "--indexjob-coverage-file=many.json", "-n", "2")
    assert read(suite.path / "one.json") == read(suite.path / "many.json")


@pytest.mark.slow
def test_a_run_under_its_aim_fails(suite):
    passing = WEAK.replace("assert False", "pytest.skip()")
    for aim, status in ((10, 0), (99, 1), (0, 0), (100, 1)):
        result = suite(passing, f"--indexjob-coverage-fail-under={aim}")
        assert result.ret == status
    result.stdout.fnmatch_lines(
        ["FAIL: outcome coverage of * % is under the 100 % that was asked for: *-coverage lists*"]
    )


def test_an_aim_without_any_use_of_the_plugin_is_no_pass(suite):
    result = suite("def test_it(): pass", "--indexjob-coverage-fail-under=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["ERROR: --indexjob-coverage-fail-under was given, but no test used the plugin"]
    )


@pytest.mark.parametrize("aim", ["-1", "101", "x", "nan"])
def test_an_aim_that_is_none_is_a_usage_error(suite, aim):
    assert suite(WEAK, f"--indexjob-coverage-fail-under={aim}").ret == pytest.ExitCode.USAGE_ERROR


def test_what_a_team_leaves_out_has_a_reason(suite):
    lines = [f"    {item}: we are never told" for item in ASKED - SEEN]
    ini = "indexjob_coverage_left_out =\n" + "\n".join(lines)
    passing = WEAK.replace("assert False", "pytest.skip()")
    result = suite(passing, "--indexjob-coverage", "--indexjob-coverage-fail-under=100", ini=ini)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["outcome coverage: 100 %*", "*left out: we are never told"])
    result = suite(WEAK, "--indexjob-coverage", ini="indexjob_coverage_left_out = status:PARTLY: x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*indexjob_coverage_left_out*'status:PARTLY'*did you mean*"])


# The story.

FAILING = """
def test_it(indexjob_simulator, indexjob_clock):
    uuid = indexjob_simulator.start("partial", failed_items=1).uuid
    indexjob_simulator.inject("bad-gateway")
    for _ in range(69):
        answer = get(uuid)
        time.sleep(5)
    assert answer.json()["job"]["status"] == "INDEX_JOB_STATUS_COMPLETED"
"""
STORY = [
    "*indexing jobs*",
    "*0 s  GET *502*",
    "*IN_PROGRESS  RUNNING *× 36*",
    "*5 min 30 s*4/5 files · 1 failed*",
    "*5 min 40 s*PARTIAL*SUCCEEDED*",
    "*the last answer, 200 OK:*",
]


def test_a_failing_test_tells_its_story(suite):
    suite(FAILING).stdout.fnmatch_lines(STORY)


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_the_story_comes_through_xdist_and_into_junit(suite):
    suite(FAILING, "-n", "1", "--junit-xml=j.xml").stdout.fnmatch_lines(STORY)
    text = ET.parse(suite.path / "j.xml").find(".//failure").text
    assert "4/5 files · 1 failed" in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_the_story_fits_the_terminal_and_has_its_colors(suite, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = suite(FAILING).stdout.lines
    start = next(at for at, line in enumerate(lines) if " indexing jobs " in line)
    assert max(len(line) for line in lines[start : start + 12]) <= 50
    plain = str(suite(FAILING, "--color=no").stdout)
    colored = str(suite(FAILING, "--color=yes").stdout)
    assert "\x1b[" not in plain
    assert re.search(r"\x1b\[\d+m[^\n]*PARTIAL", colored)


def test_verbose_leaves_nothing_out(suite):
    assert "more lines" in str(suite(FAILING).stdout)
    assert "more lines" not in str(suite(FAILING, "-v").stdout)


def test_passing_tests_say_nothing_unless_asked(suite):
    passing = FAILING.replace("COMPLETED", "PARTIAL")
    suite(passing).stdout.no_fnmatch_line("*indexing jobs*")
    suite(passing, "-rP").stdout.fnmatch_lines(STORY)


def test_the_story_holds_no_secret(suite):
    result = suite("""
def test_it(indexjob_client, indexjob_simulator):
    job = indexjob_client.wait(indexjob_simulator.start().uuid)
    url = indexjob_client.details_signed_url(job.uuid)
    requests.get(url)
    assert False
""")
    assert not re.search("Signature=[0-9a-f]{8}", str(result.stdout))


def test_a_test_that_did_not_use_the_plugin_has_no_story(suite):
    suite("def test_it(): assert False").stdout.no_fnmatch_line("*indexing jobs*")


# The page.


@pytest.mark.parametrize("options", [[], pytest.param(["-n", "2"], marks=pytest.mark.slow)])
@pytest.mark.usefixtures("installed_plugins")
def test_the_page_shows_every_test_that_used_the_plugin(suite, options):
    result = suite(WEAK, "--indexjob-report=page.html", *options)
    result.stdout.fnmatch_lines(["page: page.html"])
    page = (suite.path / "page.html").read_text()
    for name in (
        "test_partial_but_fails",
        "test_failed_but_skips",
        "test_completed[3]",
        "test_recorded",
    ):
        assert name in page
    assert "test_without" not in page


NOT_GREEN = """
def test_in_the_call(indexjob_simulator):
    job = indexjob_simulator.start("failed")
    indexjob_simulator.clock.advance(1000)
    got = get(job.uuid).json()["job"]
    assert got["status"] == "INDEX_JOB_STATUS_COMPLETED", "never <b>green</b>"

@pytest.fixture
def broken(indexjob_simulator):
    raise RuntimeError("no disk for /tmp/x")

def test_in_the_setup(broken): pass
"""


def test_the_page_says_why_tests_failed_and_counts_what_they_were_given(suite):
    suite(NOT_GREEN, "--indexjob-report=page.html", "--indexjob-coverage-file=c.json")
    page = (suite.path / "page.html").read_text()
    data = json.loads(re.search(r'id="records">(.*?)</script>', page, re.DOTALL)[1])
    reasons = {test[0].partition("::")[2]: data["strings"][test[5]] for test in data["tests"]}
    assert "never <b>green</b>" in reasons["test_in_the_call"]
    assert "<b>green" not in page
    assert reasons["test_in_the_setup"] == "RuntimeError: no disk for /tmp/x"
    assert "<li>data source FAILED: <strong>1</strong></li>" in page
    assert json.loads((suite.path / "c.json").read_text())["counts"] == {}


@pytest.mark.slow
def test_the_page_is_written_though_the_run_is_interrupted(suite, pytester):
    run_apart = pytester.runpytest_subprocess
    text = WEAK + "\ndef test_last(): raise KeyboardInterrupt\n"
    suite("")
    suite.path.joinpath("test_interrupted.py").write_text(HEAD + text)
    result = run_apart("-p", "no:cacheprovider", "-p", "no:randomly", "--indexjob-report=page.html")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "test_recorded" in (suite.path / "page.html").read_text()


FILE_OPTIONS = ("--indexjob-report", "--indexjob-coverage-file", "--indexjob-used-file")


@pytest.mark.parametrize("option", FILE_OPTIONS)
def test_a_path_that_can_not_be_written_is_refused_at_the_start(suite, option):
    for path, problem in (
        ("new/folder/x", "there is no folder new/folder: make it first"),
        (".", "it is not a file: name a file"),
        ("/dev/null", "it is not a file: name a file"),
        ("/proc/x", "No such file or directory"),
    ):
        result = suite("def test_it(): print('ran')", f"{option}={path}", "-s")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {option}={path} can't be written: {problem}"])
        result.stdout.no_fnmatch_line("*ran*")
    assert not (suite.path / "new").exists()


def test_without_jinja2_one_line_says_what_to_install(suite, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "jinja2" else real(name, *a)
    )
    result = suite(WEAK, "--indexjob-report=page.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --indexjob-report needs Jinja2: pip install 'pytest-indexjob[[]report]'"]
    )
