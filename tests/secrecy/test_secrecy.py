"""From a service that tells secrets to all that a run leaves behind: none is in any file, log,
exception or report."""

from __future__ import annotations

import base64
import json
import os

import pytest
from test_redaction import FORMS, HARD, PLACES, SIMPLE, assert_absent, traces

from pytest_indexjob.exchange import Response
from pytest_indexjob.recording.cassette import load

# Of no known shape: what is known is the value.
TOKEN = "TheTokenOf4nAccountWithNoPrefix"
SECRETS = [SIMPLE, HARD, TOKEN]
ORDINARY = ("request-", "response-")
# What a client can't send, or a server of the standard library can't.
LEFT_OUT = ("request-authorization", "request-cookie", "response-reason")


def corpus():
    """Requests and answers with a secret each: every place, every form, the secrets in turn."""
    found = []
    for place, make in PLACES.items():
        for disguise in FORMS.values():
            value = disguise(SECRETS[len(found) % len(SECRETS)])
            if (
                place.startswith(ORDINARY)
                and place not in LEFT_OUT
                and (value.isascii() or "header" not in place)
            ):
                found.append((place, make(value)))
    return found


CORPUS = corpus()
# Of each client every ninth case, unless the whole is asked for.
SHARE = 1 if os.environ.get("INDEXJOB_CORPUS") == "whole" else 9

SUITE = """
import asyncio, base64, http.client, json, urllib.parse
from pathlib import Path
import aiohttp, gradient, httpx, pydo, pytest, requests, urllib3
from azure.core.pipeline.policies import HeadersPolicy
import os

CORPUS = json.loads(Path(__file__).with_name("corpus.json").read_text())
BASE, TOKEN = CORPUS["base"], os.environ["SOME_ACCESS_TOKEN"]


def each(ask):
    for item in CORPUS["items"]:
        headers = {**item["headers"], "Authorization": f"Bearer {TOKEN}"}
        try:
            ask(item["method"], BASE + item["path"], headers, base64.b64decode(item["body"]))
        except Exception as error:
            print(repr(error))


def ask_own(client):
    each(lambda method, url, headers, body: client.get(url.rpartition("/")[2]))


def ask_requests(client):
    each(
        lambda method, url, headers, body: requests.request(
            method, url, headers=headers, data=body
        ).content
    )


def ask_urllib3(client):
    with urllib3.PoolManager() as pool:
        each(
            lambda method, url, headers, body: pool.request(
                method, url, headers=headers, body=body, retries=0
            ).data
        )


def ask_http_client(client):
    parts = urllib.parse.urlsplit(BASE)
    def ask(method, url, headers, body):
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request(method, urllib.parse.urlsplit(url).path, body, headers)
        connection.getresponse().read()
        connection.close()
    each(ask)


def ask_httpx(client):
    with httpx.Client() as client:
        each(
            lambda method, url, headers, body: client.request(
                method, url, headers=headers, content=body
            ).content
        )


def ask_aiohttp(client):
    async def ask(method, url, headers, body):
        async with aiohttp.ClientSession() as session:
            async with session.request(method, url, headers=headers, data=body) as answer:
                await answer.read()
    each(lambda *asked: asyncio.run(ask(*asked)))


def ask_gradient(client):
    with gradient.Gradient(access_token=TOKEN, base_url=BASE, max_retries=0) as client:
        each(lambda method, url, headers, body: client.get(url, cast_to=httpx.Response))


def ask_pydo(client):
    # Its own policy sends no token over plain HTTP.
    policy = HeadersPolicy({"Authorization": f"Bearer {TOKEN}"})
    wishes = {"endpoint": BASE, "retry_total": 0, "authentication_policy": policy}
    jobs = pydo.Client(token=TOKEN, **wishes).genai
    each(lambda method, url, headers, body: jobs.get_indexing_job(url.rpartition("/")[2]))


@pytest.mark.indexjob_cassette("recorded")
def test_that_passes(indexjob_client):
    globals()[f"ask_{CORPUS['client']}"](indexjob_client)


@pytest.mark.indexjob_cassette("not-recorded")
def test_that_fails(indexjob_client):
    globals()[f"ask_{CORPUS['client']}"](indexjob_client)
    assert 1 == 2
"""
# Only these send what they are told to send.
SENDERS = ("requests", "urllib3", "http_client", "httpx", "aiohttp")
CLIENTS = ("own", "gradient", "pydo", *SENDERS)


@pytest.fixture
def run(pytester, loopback, monkeypatch):
    """Runs the suite with one client against a service that tells secrets."""
    monkeypatch.setenv("SOME_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("SOME_PASSWORD", SIMPLE)
    pytester.makepyfile(test_it=SUITE)

    def start(client, items, *options):
        answers = {
            f"/v2/gen-ai/indexing_jobs/{at:08}-0000-4000-8000-000000000000": at for at in items
        }

        def answer(request):
            response = CORPUS[answers["/v2" + request.url.partition("/v2")[2]]][1].response
            return response._replace(body=response.body or b"{}")

        server = loopback(answer)
        asked = [
            {
                "method": CORPUS[at][1].request.method,
                "path": path,
                "headers": dict(CORPUS[at][1].request.headers),
                "body": base64.b64encode(CORPUS[at][1].request.body).decode(),
            }
            for path, at in answers.items()
        ]
        text = json.dumps({"base": server.url, "client": client, "items": asked})
        (pytester.path / "corpus.json").write_text(text)
        pytester.makeconftest(f"""
            import os, pytest
            from pytest_indexjob import IndexJobSettings

            @pytest.fixture(scope="session")
            def indexjob_settings():
                return IndexJobSettings(
                    base_url={server.url!r}, token=os.environ["SOME_ACCESS_TOKEN"],
                                        secrets=(eval({ascii(HARD)!r}),), retries=0)
        """)
        return pytester.runpytest("-p", "no:cacheprovider", *options)

    return start


def assert_told_nothing(text):
    for secret in SECRETS:
        for trace in traces(secret):
            assert trace not in text


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_no_secret_is_in_anything_that_a_run_leaves(run, pytester, client):
    start = CLIENTS.index(client)
    items = [
        at
        for at, (place, _) in enumerate(CORPUS)
        if client in SENDERS or place.startswith("response-")
    ]
    items = items[start % SHARE :: SHARE]
    assert len(items) >= 360 // SHARE
    result = run(
        client,
        items,
        "--indexjob-record=rewrite",
        "--indexjob-report=page.html",
        "--indexjob-coverage",
        "--junitxml=results.xml",
        "-vv",
        # The official client logs whole requests of its own accord.
        f"--log-level={'WARNING' if client == 'gradient' else 'DEBUG'}",
    )
    result.assert_outcomes(passed=1, failed=1)
    written = pytester.path / "cassettes" / "recorded.yaml"
    assert len(load(written).interactions) == len(items)
    assert_told_nothing(result.stdout.str().encode())
    assert_told_nothing(result.stderr.str().encode())
    for secret in SECRETS:
        assert_absent(secret, written.read_text())
    for name in ("results.xml", "page.html"):
        content = (pytester.path / name).read_bytes()
        assert b"REDACTED" in content
        assert_told_nothing(content)
    assert {path.name for path in pytester.path.rglob("*.*") if path.is_file()} <= {
        *(
            "conftest.py",
            "corpus.json",
            "page.html",
            "recorded.yaml",
            "results.xml",
            "test_it.py",
            "tox.ini",
        ),
        *(path.name for path in pytester.path.rglob("*.pyc")),
    }


ASSERTIONS = """
import os, pytest
from pytest_indexjob import IndexingJob, assert_counts, assert_status

SECRET = os.environ["SOME_PASSWORD"]
WIRE = {"uuid": SECRET, "status": SECRET, "phase": "BATCH_JOB_PHASE_FAILED",
        "data_source_jobs": [{
            "data_source_uuid": "d",
            "error_msg": "x" * 190 + " " + SECRET,
            "error_details": SECRET,
        }]}


def test_helper(indexjob_journal):
    assert_status(WIRE, "COMPLETED")


def test_counts(indexjob_journal):
    assert_counts(WIRE, failed_items=1)


def test_comparison(indexjob_journal):
    assert IndexingJob.from_wire(WIRE) == IndexingJob.from_wire({"uuid": "other"})


def test_chained_and_grouped(indexjob_journal):
    try:
        assert_status(WIRE, "COMPLETED")
    except AssertionError as error:
        raise ExceptionGroup("both", [error, ValueError("mine")]) from error
"""


def test_no_secret_is_in_what_an_assertion_says(pytester, monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", SIMPLE)
    pytester.makepyfile(ASSERTIONS)
    result = pytester.runpytest("-p", "no:cacheprovider", "-vv")
    result.assert_outcomes(failed=4)
    text = result.stdout.str()
    assert text.count("REDACTED") >= 8
    assert SIMPLE not in text
    assert "ValueError: mine" in text


SENT = """
import base64, logging, os
import httpx, pytest, requests

URL = os.environ["SERVICE"] + "/v2/gen-ai/indexing_jobs/x"
CREDENTIAL = base64.b64decode("c2VudEJ5VGhlQ2xpZW50NDI=").decode()
BASIC = base64.b64encode(f"somebody-42:{CREDENTIAL}".encode()).decode()
WAYS = {
    "bearer": {"headers": {"Authorization": f"Bearer {CREDENTIAL}"}},
    "no scheme": {"headers": {"Authorization": CREDENTIAL}},
    "odd scheme": {"headers": {"Authorization": f"Odd {CREDENTIAL}"}},
    "basic": {"headers": {"Authorization": f"Basic {BASIC}"}},
    "key": {"headers": {"X-Api-Key": CREDENTIAL}},
    "cookie": {"headers": {"Cookie": f"a={CREDENTIAL}; b=c"}},
    "query": {"params": {"api_key": CREDENTIAL}},
}


@pytest.mark.parametrize("client", [requests, httpx], ids=["requests", "httpx"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ends", ["passes", "fails", "raises"])
@pytest.mark.indexjob_cassette("mine")
def test_it(client, way, ends):
    answer = client.get(URL, **WAYS[way])
    print("printed", answer.text)
    logging.warning("logged %s", answer.text)
    assert answer.json()["job"]["error_details"]
    assert ends != "fails", answer.text
    if ends == "raises":
        raise ValueError(answer.text, CREDENTIAL)
"""


@pytest.mark.slow
def test_what_a_client_sent_is_taken_out_of_everything_where_it_is_echoed(
    pytester, loopback, monkeypatch
):
    credential = base64.b64decode("c2VudEJ5VGhlQ2xpZW50NDI=").decode()

    def echo(request):
        sent = " ".join([*(value for _, value in request.headers), request.url])
        basic = request.header("authorization").removeprefix("Basic ")
        sent += base64.b64decode(basic).decode() if basic.endswith("=") else ""
        body = json.dumps({"job": {"uuid": sent, "error_details": f"you sent {sent}"}})
        return Response(200, (("Content-Type", "application/json"), ("Link", sent)), body.encode())

    monkeypatch.setenv("SERVICE", loopback(echo).url)
    pytester.makeconftest("""
        import os, pytest
        from pytest_indexjob import IndexJobSettings
        @pytest.fixture(scope="session")
        def indexjob_settings():
            return IndexJobSettings(base_url=os.environ["SERVICE"], token="any")
    """)
    pytester.makepyfile(test_it=SENT)
    options = ("--indexjob-report=page.html", "--indexjob-coverage-file=coverage.json")
    result = pytester.runpytest(
        *("-p", "no:cacheprovider", "-rA", "--junitxml=results.xml", "--indexjob-record=all"),
        *options,
        "--log-level=DEBUG",
    )
    result.assert_outcomes(passed=14, failed=28)
    told = [result.stdout.str(), result.stderr.str()]
    for name in ("page.html", "coverage.json", "results.xml", "cassettes/mine.yaml"):
        told.append((pytester.path / name).read_text())
    for text in told:
        assert credential not in text
        assert "somebody-42" not in text.replace("somebody-42:{CREDENTIAL}", "")
    assert "printed" in told[0]
    assert "logged" in told[0]
    assert "ValueError" in told[0]


PAGE = """
import pytest, requests

@pytest.mark.parametrize("body, headers", [
    (b'--x\\r\\nContent-Disposition: form-data; name="password"\\r\\n\\r\\nopensesame\\r\\n--x--',
     {"Content-Type": "multipart/form-data; boundary=x"}),
    ('{"password": "opensesame"}'.encode("utf-16"), {"Content-Type": "application/json"}),
    (b"<password>opensesame</password>", {"Content-Type": "application/xml"}),
    (b"password=opensesame", {"Content-Type": "application/x-www-form-urlencoded"}),
], ids=["multipart", "utf-16", "xml", "form"])
def test_it(indexjob_simulator, body, headers):
    url = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
    requests.post(url, data=body, headers=headers)
    assert 1 == 2
"""


def test_the_page_and_the_story_show_what_a_cassette_would_keep(pytester):
    pytester.makepyfile(test_it=PAGE)
    result = pytester.runpytest("-p", "no:cacheprovider", "-vv", "--indexjob-report=page.html")
    result.assert_outcomes(failed=4)
    page = (pytester.path / "page.html").read_bytes()
    assert b"REDACTED multipart/form-data" in page
    assert b"opensesame" not in page.replace(b"\\0", b"")


TOLD_LATE = """
import logging, os, unittest, warnings
from threading import Thread
import pytest

SECRET = os.environ["SOME_PASSWORD"]


def test_reason(indexjob_simulator):
    pytest.xfail(f"xfail {SECRET}")


def test_property(indexjob_simulator, record_property):
    record_property("odd", [SECRET])
    record_property("plain", f"property {SECRET}")


def test_warning(indexjob_simulator):
    warnings.warn(UserWarning(f"warned {SECRET}", 1))


def test_thread(indexjob_simulator):
    def work():
        raise ValueError(f"thread {SECRET}")
    thread = Thread(target=work, name=SECRET)
    thread.start()
    thread.join()


def test_subtests(indexjob_simulator, subtests):
    with subtests.test(f"subtest {SECRET}", key=SECRET, keys=[SECRET]):
        print("printed", SECRET)
        logging.error("logged %s", SECRET)
        assert SECRET == "x"


class TestCase(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def simulated(self, indexjob_simulator):
        pass

    def test_subtests(self):
        with self.subTest(f"subtest {SECRET}", key=SECRET):
            print("printed", SECRET)
            logging.error("logged %s", SECRET)
            self.assertEqual(SECRET, "x")
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["here", "xdist"])
@pytest.mark.usefixtures("installed_plugins")
def test_no_secret_is_in_what_pytest_tells_beside_its_reports(pytester, monkeypatch, workers):
    monkeypatch.setenv("SOME_PASSWORD", SIMPLE)
    pytester.makepyfile(TOLD_LATE)
    options = ("-p", "no:cacheprovider", "-rA", "-vv", "--junitxml=results.xml", *workers)
    keys = ("-o", "junit_logging=all", "-o", "junit_family=legacy", "-W", "default")
    result = pytester.runpytest(*options, *keys)
    told = result.stdout.str() + (pytester.path / "results.xml").read_text()
    # pytest has subtests from version 9 on.
    subtests = ("subtest",) if hasattr(pytest, "Subtests") else ()
    for part in ("xfail", "property", "warned", "thread", "printed", "logged", *subtests):
        assert f"{part} REDACTED" in told
    assert SIMPLE not in told


def test_warnings_of_other_tests_are_left_alone(pytester, monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", SIMPLE)
    pytester.makepyfile("""
        import os, warnings
        def test_plain(): warnings.warn("plain " + os.environ["SOME_PASSWORD"])
        def test_ours(indexjob_simulator): warnings.warn("ours")
    """)
    text = pytester.runpytest("-p", "no:cacheprovider", "-W", "default").stdout.str()
    assert f"UserWarning: plain {SIMPLE}" in text
    assert "UserWarning: ours" in text
