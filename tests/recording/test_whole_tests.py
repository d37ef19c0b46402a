"""Which tests a recording belongs to: late marks, own files, and who may write."""

from __future__ import annotations

import json

import pytest
from conftest import COMPLETED, JOB_URL, JOB_UUID, Response, cassette_text

from pytest_indexjob.recording.cassette import load

TOKEN = "dop_v1_" + "0123456789abcdef" * 4


@pytest.fixture
def suite(pytester, loopback):
    """Runs a suite against a service that numbers its answers."""
    count = iter(range(10_000))

    def answer(_request):
        body = json.dumps({"job": {"uuid": JOB_UUID, "total_tokens": str(next(count))}})
        return Response(200, (("Content-Type", "application/json"),), body.encode())

    server = loopback(answer)
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings

        @pytest.fixture(scope="session")
        def indexjob_settings():
            return IndexJobSettings(base_url={server.url!r}, token="any", secrets=("hush-hush",))
    """)

    def run(text, *options, apart=False):
        head = f"import pytest, requests\nURL = {server.url!r} + '/v2/gen-ai/indexing_jobs'\n"
        pytester.makepyfile(test_it=head + text)
        start = pytester.runpytest_subprocess if apart else pytester.runpytest
        return start("-p", "no:cacheprovider", *options)

    run.path, run.server = pytester.path, server
    return run


def files(suite):
    return sorted(
        path.relative_to(suite.path / "cassettes").as_posix()
        for path in (suite.path / "cassettes").rglob("*.yaml")
    )


def numbers(suite, name="mine"):
    path = suite.path / "cassettes" / f"{name}.yaml"
    items = load(path).interactions if path.exists() else ()
    return [json.loads(item.response.body)["job"]["total_tokens"] for item in items]


# Marks


def test_a_mark_may_be_added_after_collection(pytester):
    pytester.mkdir("cassettes").joinpath("mine.yaml").write_text(cassette_text(COMPLETED))
    pytester.makeconftest("""
        import pytest
        def pytest_collection_modifyitems(items):
            items[0].add_marker(pytest.mark.indexjob_cassette("mine"))
    """)
    pytester.makepyfile(f"""
        import requests
        def test_marked(request):
            assert requests.get({JOB_URL!r}).ok
            assert "indexjob_cassette" in request.fixturenames
        def test_other(request):
            assert "indexjob_cassette" not in request.fixturenames
    """)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_a_mark_on_one_set_of_parameters_concerns_that_one(pytester):
    pytester.mkdir("cassettes").joinpath("mine.yaml").write_text(cassette_text(COMPLETED))
    pytester.makepyfile(f"""
        import pytest, requests
        MARKED = pytest.param(True, marks=pytest.mark.indexjob_cassette("mine"))
        @pytest.mark.parametrize("marked", [False, MARKED, False])
        def test_it(marked, request):
            assert ("indexjob_cassette" in request.fixturenames) == marked
            assert not marked or requests.get({JOB_URL!r}).ok
    """)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "text",
    [
        "@pytest.fixture\ndef late(request): request.applymarker(MARK)\ndef test_it(late): pass",
        "def test_it(request): request.applymarker(MARK)",
        "@pytest.mark.indexjob_cassette('a')\ndef test_it(request): request.applymarker(MARK)",
    ],
)
def test_a_mark_that_comes_too_late_is_an_error(pytester, text):
    folder = pytester.mkdir("cassettes")
    for name in ("a", "mine"):
        folder.joinpath(f"{name}.yaml").write_text(cassette_text(COMPLETED))
    pytester.makepyfile(f"import pytest\nMARK = pytest.mark.indexjob_cassette('mine')\n{text}")
    result = pytester.runpytest("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*was added to*after its fixtures had been set up: add it*"])


def test_a_misspelt_mark_is_told_and_a_mark_of_the_users_is_not(pytester):
    pytester.makeini("[pytest]\nmarkers = indexjob_cassettes: ours\nfilterwarnings = ignore\n")
    pytester.makepyfile("""
        import pytest
        @pytest.mark.indexjob_casette("completed")
        def test_misspelt(): pass
        @pytest.mark.index_job_cassette("completed")
        def test_misspelt_too(): pass
        @pytest.mark.integration
        def test_far(): pass
        @pytest.mark.indexjob_cassettes
        def test_ours(): pass
        @pytest.mark.indexjob_slow
        def test_other(): pass
    """)
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=2)
    told = (
        "there is no mark indexjob_casette: did you mean indexjob_cassette[?] A mark of your own *"
    )
    result.stdout.fnmatch_lines([told])


def test_a_mark_that_a_fixture_adds_before_the_cassette_is_asked_for_works(pytester):
    pytester.mkdir("cassettes").joinpath("mine.yaml").write_text(cassette_text(COMPLETED))
    pytester.makepyfile(f"""
        import pytest, requests
        @pytest.fixture
        def late(request): request.applymarker(pytest.mark.indexjob_cassette("mine"))
        def test_it(late, indexjob_cassette): assert requests.get({JOB_URL!r}).ok
    """)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.parametrize("swallowed", [False, True])
def test_calls_of_a_wider_fixture_are_told_where_they_would_go(pytester, swallowed):
    pytester.mkdir("cassettes").joinpath("mine.yaml").write_text(cassette_text(COMPLETED))
    pytester.makepyfile(f"""
        import pytest, requests
        @pytest.fixture(scope="module")
        def made():
            try:
                requests.post({JOB_URL.rpartition("/")[0]!r})
            except Exception:
                if not {swallowed}: raise
        @pytest.mark.indexjob_cassette("mine")
        def test_marked(made): pass
        @pytest.mark.indexjob_cassette("mine")
        def test_other(): assert requests.get({JOB_URL!r}).ok
    """)
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*POST*was made by a fixture of a wider scope than function*"])


# Files of one's own


def test_tests_of_nested_classes_have_files_of_their_own(suite):
    case = """
class Test{0}:
    class TestGet:
        @pytest.mark.indexjob_cassette
        def test_it(self): assert requests.get(URL + "?page={1}").ok
"""
    text = case.format("Alpha", 1) + case.format("Beta", 2)
    suite(text, "--indexjob-record=once").assert_outcomes(passed=2)
    assert len(files(suite)) == 2
    suite.server.close()
    suite(text).assert_outcomes(passed=2)


def test_no_secret_of_a_parameter_is_in_a_file_name_and_names_stay_apart(suite):
    text = f"""
@pytest.mark.parametrize("value", ["{TOKEN}", "{TOKEN[::-1]}", "{TOKEN}0", "a-hush-hush", "plain"])
@pytest.mark.indexjob_cassette
def test_it(value): assert requests.get(URL).ok
"""
    suite(text, "--indexjob-record=once", "--indexjob-report=page.html").assert_outcomes(passed=5)
    made = files(suite)
    assert len(made) == 5
    assert "test_it/test_it-plain" in made[-1] or any("plain" in name for name in made)
    told = "".join(made) + (suite.path / "page.html").read_text()
    assert TOKEN not in told
    assert "hush-hush" not in told
    suite.server.close()
    suite(text).assert_outcomes(passed=5)


# Only a test that passed whole writes

CASES = {
    "subtest": "def test_it(subtests):\n    with subtests.test(): GET(); assert 0",
    "xfail": "@pytest.mark.xfail(strict=False)\ndef test_it(): GET(); assert 0",
    "xpass": "@pytest.mark.xfail(strict=False)\ndef test_it(): GET()",
    "skip": "def test_it(): GET(); pytest.skip()",
    "teardown": "def test_it(broken): GET()",
}
GREEN = {"xfail": "is expected to fail", "xpass": "is expected to fail", "skip": "was skipped"}
HELP = """
def GET(): assert requests.get(URL).ok
@pytest.fixture(scope="session")
def broken():
    yield
    raise RuntimeError
"""


@pytest.mark.parametrize("case", CASES)
def test_a_test_that_did_not_pass_whole_writes_nothing(suite, case):
    text = f"{HELP}\n@pytest.mark.indexjob_cassette('mine')\n{CASES[case]}"
    result = suite(text, "--indexjob-record=once")
    assert numbers(suite) == []
    if case in GREEN:  # nothing else would tell of it before the replay fails
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [f"test_it.py::test_it {GREEN[case]}, so what it recorded was not*"]
        )


def test_a_unittest_with_a_failed_subtest_writes_nothing(suite):
    text = f"""{HELP}
import unittest
@pytest.mark.indexjob_cassette("mine")
class TestIt(unittest.TestCase):
    def test_it(self):
        with self.subTest(n=1):
            GET()
            self.fail()
        with self.subTest(n=2):
            GET()
"""
    suite(text, "--indexjob-record=once")
    assert numbers(suite) == []


def test_a_run_of_a_test_again_writes_what_the_last_run_recorded(suite):
    conftest = suite.path / "conftest.py"
    again = """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if all(report.passed for report in reports): break
    for report in reports: item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    conftest.write_text(conftest.read_text() + again)
    text = f"""{HELP}
RUNS = []
@pytest.mark.indexjob_cassette("mine")
def test_it():
    GET()
    RUNS.append(1)
    assert len(RUNS) > 1
"""
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1)
    assert numbers(suite) == ["1"]


SHARED = """
@pytest.mark.parametrize("n", range(4))
@pytest.mark.indexjob_cassette("mine")
def test_it(n):
    assert requests.get(f"{URL}?page={n}").ok
    assert n != BAD
"""


@pytest.mark.parametrize("workers", [(), pytest.param(("-n2",), marks=pytest.mark.slow)])
@pytest.mark.usefixtures("installed_plugins")
def test_a_shared_recording_is_rewritten_when_all_that_share_it_passed(suite, workers):
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite", *workers).assert_outcomes(passed=4)
    assert sorted(numbers(suite)) == ["0", "1", "2", "3"]
    before = (suite.path / "cassettes" / "mine.yaml").read_bytes()
    result = suite("BAD = 2" + SHARED, "--indexjob-record=rewrite", *workers)
    result.assert_outcomes(passed=3, failed=1)
    assert (suite.path / "cassettes" / "mine.yaml").read_bytes() == before
    result.stdout.fnmatch_lines(["*mine.yaml: 3 of the 4 tests that record it ran and passed*"])
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite", *workers).assert_outcomes(passed=4)
    assert sorted(numbers(suite), key=int) == ["8", "9", "10", "11"]
    suite("BAD = 9" + SHARED).assert_outcomes(passed=4)


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_a_rewrite_by_workers_that_each_run_all_tests_is_told_as_what_it_is(suite):
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite")
    each = ("--indexjob-record=rewrite", "--dist=each", "--tx=2*popen")
    result = suite("BAD = 9" + SHARED, *each)
    result.assert_outcomes(passed=8)
    result.stdout.no_fnmatch_line("*the recording was left*")
    before = numbers(suite)
    assert len(before) == 4
    assert "0" not in before
    one = "import os\nBAD = 2 if os.environ['PYTEST_XDIST_WORKER'] == 'gw1' else 9"
    result = suite(one + SHARED, *each)
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["*mine.yaml: 3 of the 4 tests that record it ran and passed*"])
    assert numbers(suite) == before


def test_folders_that_share_cassettes_by_a_link_rewrite_them_together(suite, pytester):
    (suite.path / "cassettes").mkdir()
    for n, name in enumerate(("one", "two")):
        folder = pytester.mkdir(name)
        (folder / "cassettes").symlink_to(suite.path / "cassettes")
        text = f"""
import requests, pytest
@pytest.mark.indexjob_cassette("mine")
def test_it(): assert requests.get("{suite.server.url}/v2/gen-ai/indexing_jobs?page={n}").ok
"""
        (folder / f"test_{name}.py").write_text(text)
    suite("", "--indexjob-record=rewrite").assert_outcomes(passed=2)
    assert numbers(suite) == ["0", "1"]
    suite("", "--indexjob-record=rewrite", "--deselect", "two").assert_outcomes(
        passed=1, deselected=1
    )
    assert numbers(suite) == ["0", "1"]


def test_a_rewrite_that_stops_early_leaves_the_shared_recording(suite):
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite")
    suite("BAD = 1" + SHARED, "--indexjob-record=rewrite", "-x")
    assert numbers(suite) == ["0", "1", "2", "3"]


LEFT_OUT = {
    "a choice by name": ("-k", "1 or 2"),
    "a test that is deselected": ("--deselect", "test_it.py::test_it[1]"),
    "a test's id": ("test_it.py::test_it[1]",),
    "a class' id": ("test_it.py::TestIt::test_it",),
    "unittest": ("test_it.py::TestUnit::test_it",),
}


@pytest.mark.parametrize("options", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_rewrite_by_some_of_the_tests_leaves_the_shared_recording(suite, options):
    text = f"""BAD = 9
import unittest
{SHARED}
@pytest.mark.indexjob_cassette("mine")
class TestIt:
    def test_it(self): assert requests.get(f"{{URL}}?page=c1").ok
    def test_other(self): assert requests.get(f"{{URL}}?page=c2").ok
@pytest.mark.indexjob_cassette("mine")
class TestUnit(unittest.TestCase):
    def test_it(self): assert requests.get(f"{{URL}}?page=u1").ok
"""
    suite(text, "--indexjob-record=rewrite").assert_outcomes(passed=7)
    before = numbers(suite)
    assert len(before) == 7
    result = suite(text, "--indexjob-record=rewrite", *options)
    assert result.ret == 0
    assert numbers(suite) == before
    result.stdout.fnmatch_lines(["*mine.yaml: * of the * tests that record it ran and passed*"])


OTHER_PLUGINS = {
    "fails a call's report": """
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call):
    report = yield
    if call.when == "call": report.outcome, report.longrepr = "failed", "by a plugin"
    return report
""",
    "fails a teardown's report": """
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call):
    made = yield
    report = made.get_result()
    if call.when == "teardown": report.outcome, report.longrepr = "failed", "by a plugin"
""",
    "fails after the call's report was made": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(call):
    report = yield
    if call.when == "call": report.outcome, report.longrepr = "failed", "by a plugin"
    return report
""",
    "fails after all of the teardown": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown():
    yield
    raise RuntimeError
""",
}


@pytest.mark.parametrize("plugin", OTHER_PLUGINS.values(), ids=OTHER_PLUGINS)
def test_a_test_that_another_plugin_fails_writes_nothing(suite, plugin):
    conftest = suite.path / "conftest.py"
    conftest.write_text(conftest.read_text() + plugin)
    one = "@pytest.mark.indexjob_cassette('mine')\ndef test_it(): assert requests.get(URL).ok"
    for text in (one, "BAD = 9" + SHARED):
        assert suite(text, "--indexjob-record=rewrite").ret != 0
        assert numbers(suite) == []


# A run that is killed

KILLED = {
    # Once the new text is on the disk beside the old file, before it takes its place.
    "in the write": """
import os, signal
def fsync(_handle): os.kill(os.getpid(), signal.SIGKILL)
def pytest_sessionstart(): os.fsync = fsync
""",
    "between tests": """
import os, signal
def pytest_runtest_logreport(report):
    if "[2]" in report.nodeid: os.kill(os.getpid(), signal.SIGKILL)
""",
    "a worker": """
import os, signal
def pytest_runtest_teardown(item):
    if "[2]" in item.nodeid and hasattr(item.config, "workerinput"):
        os.kill(os.getpid(), signal.SIGKILL)
""",
}


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param((), id="one process"),
        pytest.param(("-n2",), id="workers", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("moment", KILLED)
@pytest.mark.usefixtures("installed_plugins")
def test_a_killed_rewrite_leaves_the_shared_recording_and_nothing_else(
    suite, pytester, moment, workers
):
    if moment == "a worker" and not workers:
        pytest.skip("there are no workers")
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite")
    folder = suite.path / "cassettes"
    before = (folder / "mine.yaml").read_bytes()
    pytester.makepyfile(killer=KILLED[moment])
    killed = suite(
        "BAD = 9" + SHARED, "--indexjob-record=rewrite", "-pkiller", *workers, apart=True
    )
    assert killed.ret != 0
    assert (folder / "mine.yaml").read_bytes() == before
    suite("BAD = 9" + SHARED).assert_outcomes(passed=4)
    assert [path.name for path in folder.iterdir()] == ["mine.yaml"]
    suite("BAD = 9" + SHARED, "--indexjob-record=rewrite", *workers).assert_outcomes(passed=4)
    assert len(numbers(suite)) == 4
    assert (folder / "mine.yaml").read_bytes() != before
