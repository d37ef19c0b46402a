"""The plugin as a user meets it: real pytest runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import COMPLETED, JOB_URL, JOB_UUID, RUNNING, cassette_text

HEADER = f"""
import pytest, requests
URL = {JOB_URL!r}
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Writes a suite with two cassettes beside it, `done` (running, completed) and `running`,
    and runs it."""
    monkeypatch.setenv("NO_COLOR", "1")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    folder = pytester.mkdir("cassettes")
    folder.joinpath("done.yaml").write_text(cassette_text(RUNNING, COMPLETED))
    folder.joinpath("running.yaml").write_text(cassette_text(RUNNING))

    def run(source, *arguments, conftest=""):
        pytester.makepyfile(test_it=HEADER + source)
        if conftest:
            pytester.makeconftest(conftest)
        return pytester.runpytest("-p", "no:cacheprovider", *arguments)

    return run


def test_a_marked_test_is_answered_without_asking_for_a_fixture(suite):
    suite("""
@pytest.mark.indexjob_cassette("done")
def test_it():
    assert requests.get(URL).json()["job"]["status"] == "INDEX_JOB_STATUS_IN_PROGRESS"
    assert requests.get(URL).json()["job"]["status"] == "INDEX_JOB_STATUS_COMPLETED"
    assert requests.get(URL).json()["job"]["status"] == "INDEX_JOB_STATUS_COMPLETED"
""").assert_outcomes(passed=1)


def test_the_client_and_the_journal_see_the_recording(suite):
    suite(f"""
from pytest_indexjob import IndexingJobStatus

@pytest.mark.indexjob_cassette("done")
def test_it(indexjob_client, indexjob_cassette, indexjob_journal):
    assert indexjob_cassette.job_uuid == {JOB_UUID!r}
    job = indexjob_client.wait(indexjob_cassette.job_uuid)
    assert job.status == IndexingJobStatus.COMPLETED
    assert [exchange.response.status for exchange in indexjob_journal.exchanges] == [200, 200]
    assert [exchange.at for exchange in indexjob_journal.exchanges] == [0.0, 5.0]
    assert indexjob_cassette.unplayed == []
""").assert_outcomes(passed=1)


def test_each_test_plays_the_recording_from_its_beginning(suite):
    suite("""
@pytest.mark.indexjob_cassette("done")
@pytest.mark.parametrize("n", [1, 2])
def test_it(n):
    assert "IN_PROGRESS" in requests.get(URL).text
""").assert_outcomes(passed=2)


def test_a_class_mark_and_a_module_mark_serve(suite):
    suite("""
import unittest
pytestmark = pytest.mark.indexjob_cassette("done")

class TestOne:
    def test_it(self):
        assert requests.get(URL).ok

class TestTwo(unittest.TestCase):
    def test_it(self):
        assert requests.get(URL).ok

@pytest.mark.indexjob_cassette("running")
def test_nearest_mark_wins(indexjob_cassette):
    assert len(indexjob_cassette.interactions) == 1
    assert requests.get(URL).ok
""").assert_outcomes(passed=3)


def test_several_names_play_one_after_the_other(suite):
    suite("""
@pytest.mark.indexjob_cassette("running", "done")
def test_it():
    statuses = [requests.get(URL).json()["job"]["status"][17:] for _ in range(3)]
    assert statuses == ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
""").assert_outcomes(passed=1)


def test_without_a_name_the_tests_own_file_serves(suite, pytester):
    own = pytester.path / "cassettes" / "test_it"
    own.mkdir()
    own.joinpath("test_own.yaml").write_text(cassette_text(COMPLETED))
    suite("""
@pytest.mark.indexjob_cassette
def test_own():
    assert requests.get(URL).ok

@pytest.mark.indexjob_cassette()
def test_missing():
    pass
""").assert_outcomes(passed=1, errors=1)


def test_fixtures_of_the_test_are_answered_and_wider_ones_left_alone(suite):
    suite("""
import socket
REAL = socket.socket.connect

@pytest.fixture(scope="session")
def database():
    assert socket.socket.connect is REAL

@pytest.fixture
def started():
    return requests.get(URL).ok

@pytest.mark.indexjob_cassette("done")
def test_it(started, database):
    assert started
""").assert_outcomes(passed=1)


@pytest.mark.usefixtures("installed_plugins")
def test_async_tests_are_answered(suite):
    suite("""
import aiohttp, httpx

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@pytest.mark.indexjob_cassette("done")
async def test_it():
    async with httpx.AsyncClient() as client:
        assert (await client.get(URL)).json()["job"]["status"].endswith("IN_PROGRESS")
    async with aiohttp.ClientSession() as session, session.get(URL) as response:
        assert (await response.json())["job"]["status"].endswith("COMPLETED")
""").assert_outcomes(passed=1)


def test_a_swallowed_miss_still_fails_the_test(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("done")
def test_it():
    try:
        requests.get(URL + "/data_sources?sig=HUSH", headers={"Authorization": "Bearer HUSH"})
    except Exception:
        pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*no recorded answer fits the request",
            f"*GET {JOB_URL}/data_sources?sig=REDACTED",
            "*The nearest recorded request is",
            f"*GET {JOB_URL}",
            "*path: asked *data_sources, recorded *",
            "*Played so far: 0 of 2 answers of *done.yaml*",
        ]
    )
    result.stdout.no_fnmatch_line("*HUSH*")


def test_a_swallowed_exhaustion_still_fails_the_test(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("running")
def test_it():
    for _ in range(5):
        try:
            requests.get(URL)
        except Exception:
            pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this recording ends at IN_PROGRESS after 1 poll*"])
    assert str(result.stdout).count("Played so far:") == 1


def test_a_miss_that_became_another_failure_is_told_beside_it(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("done")
def test_it():
    try:
        requests.get(URL + "/nowhere")
    except Exception:
        status = None
    assert status == 200
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert None == 200", "*Captured indexjob call*", "*no recorded answer fits*"]
    )


def test_a_miss_that_reaches_the_user_is_told_once(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("done")
def test_it():
    requests.get(URL + "/nowhere")
""")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*Captured indexjob call*")


def test_a_miss_in_a_fixtures_teardown_is_an_error(suite):
    result = suite("""
@pytest.fixture
def cleaned():
    yield
    try:
        requests.get(URL + "/nowhere")
    except Exception:
        pass

@pytest.mark.indexjob_cassette("done")
def test_it(cleaned):
    pass
""")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no recorded answer fits the request*"])


def test_a_miss_that_was_meant_can_be_cleared(suite):
    suite("""
from pytest_indexjob import CassetteMissError

@pytest.mark.indexjob_cassette("done")
def test_it(indexjob_journal):
    with pytest.raises(CassetteMissError):
        requests.get(URL + "/nowhere")
    indexjob_journal.misses.clear()
""").assert_outcomes(passed=1)


def test_another_host_is_blocked_and_says_how_to_allow_it(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("done")
def test_it():
    try:
        requests.get("https://blocked.invalid/x")
    except Exception:
        pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_it.py::test_it tried to reach blocked.invalid, port 443*indexjob_allowed_hosts ="
            " blocked.invalid*"
        ]
    )


def test_an_allowed_host_is_looked_up_for_real(suite, pytester):
    pytester.makeini("[pytest]\nindexjob_allowed_hosts = allowed.invalid *.example.invalid\n")
    suite("""
import socket

@pytest.mark.indexjob_cassette("done")
@pytest.mark.parametrize("host", ["allowed.invalid", "a.example.invalid"])
def test_it(host):
    with pytest.raises(OSError):  # no such name, says the resolver, which was asked
        socket.getaddrinfo(host, 80)
""").assert_outcomes(passed=2)


def test_strict_fails_a_test_that_left_answers_unplayed(suite):
    result = suite("""
@pytest.mark.indexjob_cassette("done", strict=True)
def test_half():
    requests.get(URL)

@pytest.mark.indexjob_cassette("done", strict=True)
def test_whole():
    requests.get(URL), requests.get(URL)
""")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the mark says strict=True, and these recorded requests were not made:",
            f"    1 x GET {JOB_URL}",
            "Let the code under test make them, or remove strict=True from the mark",
        ]
    )


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ('("dine")', "*there is no cassette 'dine'*Did you mean done*"),
        ('("../done")', "*'../done' can't be a cassette's name*"),
        ('("done", strickt=True)', "*takes names of cassettes, and strict=*strickt*"),
        ("(1)", "*takes names of cassettes, and strict=*1*"),
        ('("done", strict="yes")', "*takes names of cassettes, and strict=*yes*"),
        ('("torn")', "*torn.yaml*cut short*"),
    ],
)
def test_a_mark_that_cannot_be_used_says_why_without_a_traceback(suite, pytester, mark, message):
    pytester.path.joinpath("cassettes", "torn.yaml").write_text(cassette_text(RUNNING)[:-12])
    result = suite(f"""
@pytest.mark.indexjob_cassette{mark}
def test_it():
    pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*library.py*")


def test_a_mark_that_cannot_be_used_says_why_in_a_rewrite_too(suite):
    text = "@pytest.mark.indexjob_cassette(1)\ndef test_it(): pass"
    result = suite(text, "--indexjob-record=rewrite")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes names of cassettes, and strict=*1*"])


def test_the_client_without_a_mark_is_answered_by_the_simulator(suite):
    suite("""
def test_it(indexjob_client):
    job = indexjob_client.wait(indexjob_client.create("any").uuid)
    assert job.status.name == "COMPLETED"
""").assert_outcomes(passed=1)


def test_a_call_with_nothing_to_answer_it_fails_the_test(suite):
    result = suite("""
def test_it(indexjob_journal):
    try:
        requests.get(URL)
    except Exception:
        pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has nothing to answer it*"])


def test_tests_that_do_not_use_the_plugin_are_left_alone_even_after_a_failure(suite):
    suite("""
import http.client, socket, aiohttp, httpx, urllib3.connection

def state():
    return [
        socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto, socket.getaddrinfo,
        http.client.HTTPConnection.connect, http.client.HTTPConnection.putrequest,
        urllib3.connection.HTTPConnection.connect, urllib3.connection.HTTPSConnection.connect,
        httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request,
        aiohttp.BaseConnector.connect,
    ]

BEFORE = state()

def test_before():
    assert state() == BEFORE

@pytest.mark.indexjob_cassette("done")
def test_user():
    assert not set(state()) & set(BEFORE)
    assert False

def test_after():
    assert state() == BEFORE
    assert not any(name.startswith("connect") for name in vars(socket.socket))
""").assert_outcomes(passed=2, failed=1)


def test_settings_reach_the_client(suite):
    suite(
        """
@pytest.mark.indexjob_cassette("done")
def test_it(indexjob_client, indexjob_cassette, indexjob_journal):
    assert indexjob_client.timeout == 7
    indexjob_client.get(indexjob_cassette.job_uuid)
    request = indexjob_journal.exchanges[0].request
    assert request.url.startswith("https://staging.invalid/api/v2/gen-ai/")
    assert request.header("authorization") == "Bearer made-up"
""",
        conftest="""
import pytest
from pytest_indexjob import IndexJobSettings

@pytest.fixture(scope="session")
def indexjob_settings():
    return IndexJobSettings(base_url="https://staging.invalid/api", token="made-up", timeout=7)
""",
    ).assert_outcomes(passed=1)


def test_recorded_answers_are_asked_with_no_real_token(suite, monkeypatch):
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "dop_v1_the_real_one")
    suite("""
@pytest.mark.indexjob_cassette("done")
def test_it(indexjob_client, indexjob_cassette, indexjob_journal):
    indexjob_client.get(indexjob_cassette.job_uuid)
    assert "real_one" not in indexjob_journal.exchanges[0].request.header("authorization")
""").assert_outcomes(passed=1)


def test_live_reaches_the_service(suite, loopback, monkeypatch):
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "from-the-environment")
    service = loopback(lambda request: COMPLETED)
    conftest = f"""
import pytest
from pytest_indexjob import IndexJobSettings

@pytest.fixture(scope="session")
def indexjob_settings():
    return IndexJobSettings(base_url={service.url!r})
"""
    source = """
def test_unmarked(indexjob_client, indexjob_journal):
    assert indexjob_client.get("x").is_terminal
    assert [exchange.response.status for exchange in indexjob_journal.exchanges] == [200]

@pytest.mark.indexjob_cassette("done", strict=True)
def test_marked(indexjob_client, indexjob_cassette):
    assert indexjob_client.get(indexjob_cassette.job_uuid).is_terminal
"""
    suite(source, "--indexjob-live", conftest=conftest).assert_outcomes(passed=2)
    assert [request.header("authorization") for request in service.requests] == [
        "Bearer from-the-environment"
    ] * 2


def test_live_without_a_token_says_so(suite, monkeypatch):
    monkeypatch.delenv("DIGITALOCEAN_ACCESS_TOKEN", raising=False)
    result = suite("def test_it(indexjob_client):\n    pass\n", "--indexjob-live")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*DIGITALOCEAN_ACCESS_TOKEN*"])


def test_plain_comparisons_explain_themselves(suite):
    result = suite("""
from pytest_indexjob import IndexingJobStatus

@pytest.mark.indexjob_cassette("done")
def test_it(indexjob_client, indexjob_cassette):
    job = indexjob_client.wait(indexjob_cassette.job_uuid)
    assert job.status == "INDEX_JOB_STATUS_SUCCEEDED"
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*COMPLETED*", "*never sends*"])


@pytest.mark.usefixtures("installed_plugins")
def test_the_same_in_parallel(suite):
    source = "".join(
        f"""
@pytest.mark.indexjob_cassette("done")
def test_{at}(indexjob_client, indexjob_cassette):
    assert indexjob_client.wait(indexjob_cassette.job_uuid).is_terminal
"""
        for at in range(8)
    )
    suite(source, "-n", "2").assert_outcomes(passed=8)


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_a_failure_in_parallel_is_told_whole(suite):
    result = suite(
        """
@pytest.mark.indexjob_cassette("done")
def test_it():
    requests.get(URL + "/nowhere")
""",
        "-n",
        "1",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CassetteMissError: no recorded answer fits the request*"])


@pytest.mark.usefixtures("installed_plugins")
def test_pytest_recording_works_beside(suite, pytester):
    folder = pytester.path / "cassettes" / "test_it"
    folder.mkdir()
    url = "https://other.invalid/x"
    folder.joinpath("test_theirs.yaml").write_text(cassette_text(COMPLETED, url=url))
    folder.joinpath("test_ours.yaml").write_text(cassette_text(COMPLETED))
    suite(f"""
@pytest.mark.vcr
def test_theirs():
    assert requests.get({url!r}).ok

@pytest.mark.indexjob_cassette("done")
def test_ours():
    assert requests.get(URL).ok

@pytest.mark.vcr("test_ours.yaml")
@pytest.mark.default_cassette("test_ours.yaml")
def test_theirs_reads_ours():
    assert requests.get(URL).ok
""").assert_outcomes(passed=3)


@pytest.mark.usefixtures("installed_plugins")
def test_a_fixture_in_a_test_of_pytest_recording_is_told(suite):
    result = suite("""
@pytest.mark.vcr
def test_it(indexjob_simulator):
    requests.get(URL)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*vcrpy (pytest-recording's mark `vcr`) stands in front of*"])
    assert "urllib3-future" not in str(result.stdout)


def test_responses_works_beside(suite):
    suite("""
import responses

@pytest.mark.indexjob_cassette("done")
@responses.activate
def test_it():
    responses.get("https://other.invalid/x", json={"theirs": True})
    responses.add_passthru("https://api.digitalocean.com")
    assert requests.get("https://other.invalid/x").json() == {"theirs": True}
    assert requests.get(URL).json()["job"]["status"].endswith("IN_PROGRESS")
""").assert_outcomes(passed=1)


def test_every_option_and_fixture_bears_the_plugins_name(pytester):
    result = pytester.runpytest("--help", "-p", "no:cacheprovider")
    section = str(result.stdout).split("(pytest-indexjob):")[1].split("\n\n")[0].splitlines()
    options = [line.split()[0] for line in section if line.strip().startswith("-")]
    assert options
    assert all(option.startswith("--indexjob-") for option in options)
    result = pytester.runpytest("--fixtures", "-v", "-p", "no:cacheprovider")
    ours = [line for line in result.outlines if "pytest_indexjob/plugin.py" in line]
    assert ours
    assert all(line.startswith(("indexjob_", "_indexjob_")) for line in ours)


def test_an_unused_plugin_loads_nothing_heavy():
    code = (
        "import sys, pytest, pytest_indexjob.plugin;heavy = {'vcr', 'requests', 'urllib3', 'yaml',"
        " 'msgspec', 'hypothesis', 'httpx', 'aiohttp', 'http.server'};print(sorted(heavy &"
        " set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_run_that_does_not_use_the_plugin_loads_nothing_heavy(pytester):
    pytester.makepyfile("""
import sys

def test_it():
    assert {1} == {1}
    unwanted = {"vcr", "pytest_indexjob.api.models", "pytest_indexjob.interception.interception"}
    assert not unwanted & set(sys.modules)
""")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:recording").assert_outcomes(
        passed=1
    )
