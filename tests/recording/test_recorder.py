"""Recording from a service: modes, redaction, the write, parallel runs, crashes."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import brotli
import pytest
import yaml
import zstandard

from pytest_indexjob import (
    CassetteError,
    CassetteLeakError,
    LoopbackServer,
    Simulator,
    VirtualClock,
    content_coding,
)
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import Playback, dump, load
from pytest_indexjob.recording.life import thinned
from pytest_indexjob.recording.recorder import Recorder, lock_folder, locked, write

TOKEN = "dop_v1_" + "0123456789abcdef" * 4
SIGNATURE = "X-Amz-Signature"


@pytest.fixture
def service():
    """The simulator behind a loopback server, in place of the live service."""
    simulator = Simulator(VirtualClock(), token=TOKEN, requests_per_minute=None)
    server = LoopbackServer(simulator.handle, clock=simulator.clock, step_per_poll=100.0).start()
    simulator.serve_at(server.url)
    yield simulator, server
    server.stop()


@pytest.fixture
def suite(pytester, service):
    """Runs a suite against the service: ``suite(text, *options)``."""
    simulator, server = service
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings

        @pytest.fixture(scope="session")
        def indexjob_settings():
            return IndexJobSettings(base_url={server.url!r}, token={TOKEN!r})
    """)
    job = simulator.start("partial", failed_items=2)
    head = f"""
import pytest, requests, httpx
BASE, TOKEN, UUID = {server.url!r}, {TOKEN!r}, {job.uuid!r}
URL = f"{{BASE}}/v2/gen-ai/indexing_jobs/{{UUID}}"
HEADERS = {{"Authorization": f"Bearer {{TOKEN}}"}}
"""

    def run(text, *options):
        pytester.makepyfile(test_it=head + textwrap.dedent(text))
        return pytester.runpytest("-p", "no:cacheprovider", "-p", "no:randomly", *options)

    run.simulator, run.server, run.path = simulator, server, pytester.path
    return run


def cassette(suite, name):
    return suite.path / "cassettes" / f"{name}.yaml"


ONE = """
@pytest.mark.indexjob_cassette("mine")
def test_it():
    assert requests.get(URL, headers=HEADERS).ok
"""

CLIENTS = {
    "own": (
        """
    job = indexjob_client.wait(UUID, poll_interval=0.001)
    status, failed = job.status, job.failed_item_count"""
    ),
    "requests": (
        """
    while True:
        job = requests.get(URL, headers=HEADERS).json()["job"]
        if "finished_at" in job: break
    status, failed = job["status"], int(job["data_source_jobs"][0]["failed_item_count"])"""
    ),
    "httpx": (
        """
    with httpx.Client(headers=HEADERS) as client:
        while True:
            job = client.get(URL).json()["job"]
            if "finished_at" in job: break
    status, failed = job["status"], int(job["data_source_jobs"][0]["failed_item_count"])"""
    ),
    "gradient": (
        """
    import gradient
    client = gradient.Gradient(access_token=TOKEN, base_url=BASE)
    job = client.knowledge_bases.indexing_jobs.wait_for_completion(UUID, poll_interval=0).job
    client.close()
    status, failed = job.status, int(job.data_source_jobs[0].failed_item_count)"""
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_was_recorded_replays_to_the_same_job(suite, client):
    text = f"""
@pytest.mark.indexjob_cassette("mine")
def test_it(indexjob_client):
    {CLIENTS[client]}
    assert (status, failed) == ("INDEX_JOB_STATUS_PARTIAL", 2)
"""
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1)
    written = cassette(suite, "mine").read_text()
    assert TOKEN not in written
    assert "https://api.digitalocean.com/v2/gen-ai" in written
    asked = len(suite.simulator.journal)
    suite.server.stop()
    suite(text).assert_outcomes(passed=1)
    assert len(suite.simulator.journal) == asked
    # vcrpy's own reader takes it.
    from vcr.persisters.filesystem import FilesystemPersister
    from vcr.serializers import yamlserializer

    requests, *_ = FilesystemPersister.load_cassette(str(cassette(suite, "mine")), yamlserializer)
    assert len(requests) == len(load(cassette(suite, "mine")).interactions)


@pytest.mark.usefixtures("installed_plugins")
def test_pytest_recording_reads_it(suite):
    suite(ONE, "--indexjob-record=once").assert_outcomes(passed=1)
    suite.server.stop()
    path = cassette(suite, "mine")
    result = suite(
        f"""
import vcr
@pytest.mark.vcr({str(path)!r})
@pytest.mark.default_cassette({str(path)!r})
def test_it():
    url = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/" + UUID
    assert requests.get(url, headers=HEADERS).json()["job"]["uuid"] == UUID
""",
        "--record-mode=none",
    )
    result.assert_outcomes(passed=1)


def test_the_signed_report_is_recorded_without_its_signature_and_replays(suite):
    text = """
@pytest.mark.indexjob_cassette("report")
def test_it(indexjob_client):
    indexjob_client.wait(UUID, poll_interval=0.001)
    url = indexjob_client.details_signed_url(UUID)
    assert requests.get(url).text.startswith("data_source_uuid")
"""
    suite.path.joinpath("pytest.ini").write_text("[pytest]\nindexjob_kept_bodies = text/csv\n")
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1)
    written = cassette(suite, "report").read_text()
    assert f"{SIGNATURE}=REDACTED" in written
    assert "X-Amz-Expires=1" in written
    suite.server.stop()
    suite(text).assert_outcomes(passed=1)


def test_a_body_that_is_replaced_whole_is_told(suite):
    text = """
@pytest.mark.indexjob_cassette("report")
def test_it(indexjob_client):
    indexjob_client.wait(UUID, poll_interval=0.001)
    assert requests.get(indexjob_client.details_signed_url(UUID)).ok
"""
    result = suite(text, "--indexjob-record=once")
    result.stdout.fnmatch_lines(
        ["*report.yaml: bodies of text/csv were replaced by a placeholder*"]
    )
    assert "REDACTED text/csv, 271 bytes" in cassette(suite, "report").read_text()
    suite.server.stop()
    suite(text).assert_outcomes(passed=1)


SECRET_REQUESTS = {
    "query": "requests.get(URL + '?api_key=plainZx81credential')",
    "two in order": (
        "[requests.get(URL + '?api_key=plainZx81credential&n=' + n) for n in '12'][1]"
    ),
    "path": "requests.get(BASE + '/v2/keys/dop_v1_' + '0' * 64)",
    "user": "httpx.get(URL.replace('//', '//me:plainZx81credential@'))",
    "token in the query": "requests.get(URL + '?n=' + TOKEN, headers=HEADERS)",
}


@pytest.mark.parametrize("call", SECRET_REQUESTS.values(), ids=SECRET_REQUESTS)
def test_a_request_whose_secret_was_redacted_replays(pytester, loopback, call):
    server = loopback(lambda _: ITEM.response)
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings
        @pytest.fixture(scope="session")
        def indexjob_settings(): return IndexJobSettings(base_url={server.url!r}, token="any")
    """)
    pytester.makepyfile(f"""
        import httpx, pytest, requests
        BASE, TOKEN = {server.url!r}, "tokenOf4nAccount"
        URL, HEADERS = BASE + "/v2/gen-ai/indexing_jobs/x", {{"Authorization": TOKEN}}
        @pytest.mark.indexjob_cassette("mine")
        def test_it(): assert {call}.status_code == 200
    """)
    pytester.runpytest("-p", "no:cacheprovider", "--indexjob-record=once").assert_outcomes(passed=1)
    text = (pytester.path / "cassettes" / "mine.yaml").read_text()
    assert not re.search("Zx81|v1_0|tokenOf4n", text)
    server.close()
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


CODINGS = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_in_any_coding_is_recorded_plain(tmp_path, coding):
    path = tmp_path / "mine.yaml"
    headers = (("Content-Type", "application/json"), ("Content-Encoding", coding))
    packed = Response(200, headers, CODINGS[coding](ITEM.response.body), "OK")
    recorder = Recorder(Playback([]), path, "once", lambda _: packed)
    recorder.handle(ITEM.request)
    recorder.save()
    assert load(path).interactions == (ITEM,)


def test_codings_in_several_headers_are_one_list(tmp_path):
    path = tmp_path / "mine.yaml"
    codings = (("Content-Encoding", "gzip"), ("content-encoding", "br"))
    body = brotli.compress(gzip.compress(ITEM.response.body))
    packed = Response(200, (("Content-Type", "application/json"), *codings), body, "OK")
    recorder = Recorder(Playback([]), path, "once", lambda _: packed)
    recorder.handle(ITEM.request)
    recorder.save()
    assert load(path).interactions == (ITEM,)


def test_where_a_packed_answer_leads_is_recorded_too(tmp_path):
    body = gzip.compress(b'{"signed_url": "https://bucket.example.com/report?sig=x"}')
    packed = Response(200, (("Content-Encoding", "gzip"),), body)
    recorder = Recorder(Playback([]), tmp_path / "mine.yaml", "once", lambda _: packed)
    recorder.handle(ITEM.request)
    assert "bucket.example.com" in recorder.hosts


@pytest.mark.parametrize("length", ["271", None])
@pytest.mark.parametrize("client", ["requests", "httpx", "aiohttp"])
def test_the_length_in_an_answer_to_head_replays(pytester, loopback, client, length):
    head = (("Content-Length", length),) if length else (("Transfer-Encoding", "chunked"),)
    server = loopback(lambda _: Response(200, head), length=False)
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings
        @pytest.fixture(scope="session")
        def indexjob_settings(): return IndexJobSettings(base_url={server.url!r}, token="any")
    """)
    pytester.makepyfile(f"""
        import asyncio, aiohttp, httpx, pytest, requests
        async def ask(url):
            async with aiohttp.ClientSession() as session, session.head(url) as answer:
                return answer
        @pytest.mark.indexjob_cassette("mine")
        def test_it():
            url = {server.url!r} + "/v2/gen-ai/indexing_jobs/x"
            if {client!r} == "aiohttp": answer = asyncio.run(ask(url))
            else: answer = {{"httpx": httpx, "requests": requests}}[{client!r}].head(url)
            assert answer.headers.get("Content-Length") == {length!r}
    """)
    for options in (("--indexjob-record=once",), ()):
        pytester.runpytest("-p", "no:cacheprovider", *options).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("coding", "way_out"),
    [
        ("zstd", "pip install zstandard"),
        ("br", "pip install brotli"),
        ("gzip, BR", "pip install brotli"),
        ("odd", "Accept-Encoding"),
    ],
)
def test_a_body_that_can_not_be_decoded_is_not_recorded(tmp_path, monkeypatch, coding, way_out):
    monkeypatch.setattr(content_coding, "_ZSTD", ())
    monkeypatch.setattr(content_coding, "_BROTLI", ())
    body = zstandard.compress(ITEM.response.body)
    packed = Response(200, (("Content-Encoding", coding),), body)
    recorder = Recorder(Playback([]), tmp_path / "mine.yaml", "once", lambda _: packed)
    recorder.handle(ITEM.request)
    with pytest.raises(CassetteError, match=f"mine.yaml was not written: .*{way_out}"):
        recorder.save()
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_the_user_names_is_kept(pytester, loopback):
    headers = (("ETag", '"1"'), ("Set-Cookie", "sid=opensesame; Path=/"), ("X-Other", "a"))
    server = loopback(lambda _: ITEM.response._replace(headers=headers))
    pytester.makeini("[pytest]\nindexjob_kept_headers = etag set-cookie")
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings
        @pytest.fixture(scope="session")
        def indexjob_settings(): return IndexJobSettings(base_url={server.url!r}, token="any")
    """)
    pytester.makepyfile(f"""
        import pytest, requests
        @pytest.mark.indexjob_cassette("mine")
        def test_it():
            answer = requests.get({server.url!r} + "/v2/gen-ai/indexing_jobs/x")
            assert answer.headers["etag"] == '"1"' and "sid" in answer.cookies
    """)
    pytester.runpytest("-p", "no:cacheprovider", "--indexjob-record=once").assert_outcomes(passed=1)
    text = (pytester.path / "cassettes" / "mine.yaml").read_text()
    assert "opensesame" not in text
    assert "X-Other" not in text
    server.close()
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_none_is_the_default_and_a_miss_tells_the_command_that_records(suite):
    result = suite(ONE)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*To record it: pytest test_it.py::test_it --indexjob-record=new_episodes*"]
    )
    assert not cassette(suite, "mine").exists()
    suite(ONE, "--indexjob-record=once")
    other = ONE.replace("requests.get(URL,", "requests.get(URL + '/data_sources',")
    result = suite(other)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*To record it: pytest test_it.py::test_it --indexjob-record=new_episodes*"]
    )
    result.stdout.no_fnmatch_line(f"*{TOKEN}*")
    suite(other, "--indexjob-record=new_episodes").assert_outcomes(passed=1)
    suite(other).assert_outcomes(passed=1)


def test_once_adds_nothing_to_a_recording(suite):
    suite(ONE, "--indexjob-record=once")
    before = cassette(suite, "mine").read_bytes()
    two = ONE.replace(".ok", ".ok and requests.get(URL + '/data_sources', headers=HEADERS).ok")
    suite(two, "--indexjob-record=once").assert_outcomes(failed=1)
    assert cassette(suite, "mine").read_bytes() == before


def test_new_episodes_keeps_what_is_there_and_adds(suite):
    suite(ONE, "--indexjob-record=once")
    two = ONE.replace(".ok", ".ok and requests.get(URL + '/data_sources', headers=HEADERS).ok")
    asked = len(suite.simulator.journal)
    suite(two, "--indexjob-record=new_episodes").assert_outcomes(passed=1)
    assert len(suite.simulator.journal) == asked + 1
    assert len(load(cassette(suite, "mine")).interactions) == 2


def test_all_asks_again_and_adds(suite):
    for expected in (1, 2):
        suite(ONE, "--indexjob-record=all").assert_outcomes(passed=1)
        assert len(load(cassette(suite, "mine")).interactions) == expected


def test_rewrite_replaces_and_says_when_it_shrinks(suite):
    twice = ONE.replace(".ok", ".ok and requests.get(URL, headers=HEADERS).ok")
    suite(twice, "--indexjob-record=rewrite").assert_outcomes(passed=1)
    result = suite(ONE, "--indexjob-record=rewrite")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*holds 1 interactions, 1 fewer than the old one*"])
    nothing = ONE.replace("assert", "return; ")
    result = suite(nothing, "--indexjob-record=rewrite")
    result.stdout.fnmatch_lines(
        ["*mine.yaml: nothing was recorded, so the old recording was left as it is*"]
    )
    assert len(load(cassette(suite, "mine")).interactions) == 1


def test_two_tests_of_one_run_rewrite_one_recording_together(suite):
    both = ONE + ONE.replace("test_it", "test_other").replace(
        "requests.get(URL,", "requests.get(URL + '/data_sources',"
    )
    suite(both, "--indexjob-record=once")
    for _ in range(2):
        suite(both, "--indexjob-record=rewrite").assert_outcomes(passed=2)
        assert len(load(cassette(suite, "mine")).interactions) == 2


@pytest.mark.parametrize(
    "body",
    [
        "assert not requests.get(URL, headers=HEADERS).ok",
        "requests.get(URL, headers=HEADERS); pytest.skip()",
    ],
)
def test_only_a_test_that_passed_writes(suite, body):
    text = f"""
@pytest.mark.indexjob_cassette("mine")
def test_it():
    {body}
"""
    suite(text, "--indexjob-record=once")
    assert not cassette(suite, "mine").exists()


def test_a_teardown_that_fails_writes_nothing(suite):
    text = """
@pytest.fixture
def broken():
    yield
    raise RuntimeError
""" + ONE.replace("test_it()", "test_it(broken)")
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1, errors=1)
    assert not cassette(suite, "mine").exists()


def test_ci_records_only_if_told_by_hand(suite, monkeypatch):
    monkeypatch.setenv("CI", "true")
    suite.path.joinpath("pytest.ini").write_text("[pytest]\naddopts = --indexjob-record=once\n")
    suite(ONE).assert_outcomes(errors=1)
    assert not cassette(suite, "mine").exists()
    suite(ONE, "--indexjob-record=once").assert_outcomes(passed=1)
    assert cassette(suite, "mine").exists()


def test_live_and_recording_together_are_a_usage_error(suite):
    result = suite(ONE, "--indexjob-record=once", "--indexjob-live")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--indexjob-live records nothing*"])


def test_recording_with_no_token_is_refused(suite, monkeypatch):
    monkeypatch.delenv("DIGITALOCEAN_ACCESS_TOKEN", raising=False)
    suite.path.joinpath("conftest.py").unlink()
    text = "@pytest.mark.indexjob_cassette('mine')\ndef test_it(indexjob_client): pass\n"
    suite(text, "--indexjob-record=once").stdout.fnmatch_lines(["*set DIGITALOCEAN_ACCESS_TOKEN*"])


def test_a_service_that_is_away_reaches_the_client_and_is_not_recorded(suite):
    suite.server.stop()
    text = """
@pytest.mark.indexjob_cassette("mine")
def test_it():
    with pytest.raises(requests.ConnectionError):
        requests.get(URL, headers=HEADERS)
"""
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1)
    assert not cassette(suite, "mine").exists()


def test_uuids_are_numbered_if_asked_for(suite):
    suite.path.joinpath("pytest.ini").write_text("[pytest]\nindexjob_anonymize = true\n")
    suite(ONE, "--indexjob-record=once").assert_outcomes(passed=1)
    written = cassette(suite, "mine").read_text()
    assert "5c0e1d52" not in written
    assert "00000000-0000-4000-8000-000000000001" in written


def test_a_recording_says_when_from_where_and_by_what(suite):
    suite(ONE, "--indexjob-record=once")
    provenance = load(cassette(suite, "mine")).provenance
    assert provenance["recorded_from"] == "127.0.0.1"
    assert provenance["recorded_by"].startswith("pytest-indexjob ")
    assert provenance["recorded_at"].endswith("Z")


def test_old_recordings_fail_or_warn(suite):
    suite(ONE, "--indexjob-record=once")
    path = cassette(suite, "mine")
    content = yaml.safe_load(path.read_text())
    content["provenance"]["recorded_at"] = "2020-01-01T00:00:00Z"
    path.write_text(yaml.safe_dump(content))
    suite(ONE).assert_outcomes(passed=1)
    result = suite(ONE, "--indexjob-max-age=30")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*days ago (at most 30)*--indexjob-record=rewrite*"])
    suite(ONE, "--indexjob-max-age=warn:30", "-W", "default").assert_outcomes(passed=1, warnings=1)
    suite(ONE, "--indexjob-max-age=100000").assert_outcomes(passed=1)
    assert suite(ONE, "--indexjob-max-age=old").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    "wrong", ["2020-01-01", "'2020-01-01T00:00:00'", "'yesterday'", "7", "[2020]"]
)
def test_a_time_of_recording_that_can_not_be_read_does_not_pass_for_a_new_one(suite, wrong):
    suite(ONE, "--indexjob-record=once")
    path = cassette(suite, "mine")
    head, _, rest = path.read_text().partition("recorded_at: ")
    path.write_text(f"{head}recorded_at: {wrong}{rest[rest.index(chr(10)) :]}")
    result = suite(ONE, "--indexjob-max-age=30")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*mine.yaml has a `recorded_at` that is no RFC 3339 time*--indexjob-record=rewrite*"]
    )
    suite(ONE).assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_workers_that_share_a_recording_lose_nothing(suite):
    text = """
@pytest.mark.parametrize("n", range(8))
@pytest.mark.indexjob_cassette("shared")
def test_it(n):
    assert requests.get(f"{BASE}/v2/gen-ai/indexing_jobs?page={n + 1}", headers=HEADERS).ok
"""
    for _ in range(2):
        suite(text, "--indexjob-record=all", "-n", "4").assert_outcomes(passed=8)
        urls = {
            item.request.url.rpartition("=")[2]
            for item in load(cassette(suite, "shared")).interactions
        }
        assert urls == {str(n + 1) for n in range(8)}
        cassette(suite, "shared").unlink()


# The write itself.

ITEM = Interaction(
    Request("GET", "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/x"),
    Response(200, (("Content-Type", "application/json"),), b'{"job": {"uuid": "x"}}', "OK"),
)


def test_what_redaction_misses_the_gate_stops(tmp_path, monkeypatch):
    from pytest_indexjob.recording import recorder as module

    monkeypatch.setattr(module.Redaction, "redact", lambda _self, item: item)
    path = tmp_path / "mine.yaml"
    request = ITEM.request._replace(headers=(("Authorization", f"Bearer {TOKEN}"),))
    recorder = Recorder(Playback([]), path, "once", lambda _: ITEM.response)
    recorder.handle(request)
    with pytest.raises(CassetteLeakError) as raised:
        recorder.save()
    assert (raised.value.path, list(tmp_path.iterdir())) == (path, [])
    assert raised.value.kind
    assert "line " in raised.value.where
    assert TOKEN not in str(raised.value) + repr(vars(raised.value))


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "mine.yaml"
    write(path, [ITEM], {}, ())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(CassetteError, match=r"can't be written: .*The old file is as it was"):
            write(path, [ITEM] * 50, {}, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CassetteError, match="the disk is full"):
        write(tmp_path / "mine.yaml", [ITEM], {}, ())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_told():
    with pytest.raises(CassetteError, match=r"/proc/mine.yaml can't be written"):
        write(Path("/proc/mine.yaml"), [ITEM], {}, ())


def test_a_body_of_any_bytes_comes_back_as_it_was(tmp_path):
    body = bytes(range(256))
    item = ITEM._replace(response=Response(200, (("Content-Type", "image/png"),), body, "OK"))
    write(tmp_path / "mine.yaml", [item], {}, ())
    assert load(tmp_path / "mine.yaml").interactions[0].response.body == body


def test_a_new_file_is_readable_as_any_other(tmp_path):
    write(tmp_path / "mine.yaml", [ITEM], {}, ())
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "mine.yaml").stat().st_mode == plain.stat().st_mode


WRITER = """
import sys
from pathlib import Path
from pytest_indexjob.recording.cassette import Playback
from pytest_indexjob.recording.recorder import Recorder
from test_recorder import ITEM
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    recorder = Recorder(Playback([]), path, "all", lambda _: ITEM.response)
    recorder.handle(ITEM.request)
    recorder.save()
    print("saved", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(12))
def test_killed_at_any_moment_the_file_is_whole_and_no_lock_stays(tmp_path, moment):
    path = tmp_path / "mine.yaml"
    command = [sys.executable, "-c", WRITER, str(path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        saved = -1
        for _ in range(2 + moment // 4):
            process.stdout.readline()
            saved += 1
        spin(moment * 40_000)  # somewhere within the next write
        process.kill()
        saved += process.stdout.read().count("saved\n")
    assert len(load(path).interactions) in (saved, saved + 1)
    recorder = Recorder(Playback([]), path, "all", lambda _: ITEM.response)
    recorder.handle(ITEM.request)
    recorder.save()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["none", "once"])
def test_the_next_run_removes_what_a_killed_one_left(suite, mode):
    suite(ONE, "--indexjob-record=once")
    left = cassette(suite, "mine").with_name(".other.yaml.tmp")
    left.write_text("interactions:")
    written = left.with_name(".written.yaml.tmp")
    written.write_text("interactions:")
    with locked(cassette(suite, "written")):  # by a writer that lives
        suite(ONE, f"--indexjob-record={mode}").assert_outcomes(passed=1)
    assert not left.exists()
    assert written.exists()


@pytest.mark.parametrize("provenance", [None, {"recorded_by": "somebody"}])
def test_what_is_added_to_a_file_reads_as_if_written_at_once(tmp_path, provenance):
    path = tmp_path / "mine.yaml"
    text = "a\nversion: 1\nprovenance:\n  b: c\n"
    items = [
        ITEM._replace(request=ITEM.request._replace(url=f"{ITEM.request.url}?n={n}"))
        for n in range(4)
    ]
    old = ITEM._replace(response=Response(200, (), json.dumps({"job": {"a": text}}).encode(), "OK"))
    path.write_text(dump([old], provenance))
    for item in items:
        recorder = Recorder(Playback([load(path)]), path, "new_episodes", lambda _: ITEM.response)
        recorder.handle(item.request)
        recorder.save()
    assert load(path).interactions == (old, *items)
    assert path.read_text() == dump([old, *items], load(path).provenance)


def test_a_file_that_is_written_by_hand_is_added_to_as_well(tmp_path):
    path = tmp_path / "mine.yaml"
    head, _, rest = dump([ITEM]).partition("\n")
    indented = "".join(f"  {line}\n" for line in rest.splitlines()[:-1])
    path.write_text(f"{head}\n{indented}version: 1\n")
    recorder = Recorder(Playback([]), path, "all", lambda _: ITEM.response)
    recorder.handle(ITEM.request)
    recorder.save()
    assert load(path).interactions == (ITEM, ITEM)


def spin(times):
    for _ in range(times):
        pass


def test_json_bodies_stay_readable(tmp_path):
    write(tmp_path / "mine.yaml", [ITEM], {}, ())
    assert json.dumps({"job": {"uuid": "x"}}) in (tmp_path / "mine.yaml").read_text()


def test_marks_of_old_runs_do_not_stay(suite, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = lock_folder()
    for name in ("a.0123456789abcdef", "a.lock", "b.0123456789abcdef"):
        (folder / name).touch()
    for name in ("a.0123456789abcdef", "a.lock"):
        os.utime(folder / name, (0, 0))
    text = """
@pytest.mark.indexjob_cassette("mine")
def test_it(indexjob_client): indexjob_client.list()
"""
    suite(text, "--indexjob-record=once").assert_outcomes(passed=1)
    left = {path.name for path in folder.iterdir()}
    assert "a.0123456789abcdef" not in left
    assert {"a.lock", "b.0123456789abcdef"} < left


def life(polls):
    clock = VirtualClock()
    simulator = Simulator(clock, requests_per_minute=None)
    job = simulator.start("partial", duration=polls * 5)
    asked = Request("GET", f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{job.uuid}")
    token = (("Authorization", "Bearer any"),)
    for _ in range(polls + 1):
        simulator.handle(asked._replace(headers=token))
        clock.sleep(5)
    return [Interaction(asked, each.response) for each in simulator.journal.exchanges]


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_indexjob.recording.recorder.MOST_NODES", 1000)  # 100,000 take long
    path = tmp_path / "mine.yaml"
    write(path, life(10), {}, ())
    before = path.read_bytes()
    told = "mine.yaml was not written, since no test could read it: it has more than 1000 nodes"
    with pytest.raises(CassetteError, match=told):
        write(path, life(100), {}, ())
    assert path.read_bytes() == before


@pytest.mark.slow
def test_eight_hours_of_polls_are_thinned_to_what_can_be_read(tmp_path):
    polls = life(8 * 720)
    kept = thinned(polls)
    assert (kept[0], kept[-1]) == (polls[0], polls[-1])
    assert 1000 < len(kept) <= 1500
    write(tmp_path / "mine.yaml", kept, {}, ())
    assert len(load(tmp_path / "mine.yaml").interactions) == len(kept)
