"""The loopback server: real HTTP for other processes and other languages."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import pydo
import pydo.aio
import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.policies import HeadersPolicy

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock
from pytest_indexjob.exchange import Exchange, Journal, Request, Response
from pytest_indexjob.simulation.control import Controlled

JOBS = "/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any"}


@pytest.fixture
def server():
    simulator = Simulator(VirtualClock(), requests_per_minute=None)
    started = LoopbackServer(simulator.handle, clock=simulator.clock).start()
    started.simulator = simulator
    yield started
    started.stop()


def ask(connection, method, path, body=None, headers=HEADERS):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def order(connection, name, body=(), **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    headers = {"Content-Type": "application/json", **given}
    return ask(connection, "POST", f"/_indexjob/{name}", json.dumps(dict(body)), headers)


def test_one_connection_serves_many_requests(server):
    job = server.simulator.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert ask(connection, "GET", f"{JOBS}/{job.uuid}")[0] == 200
    kept = connection.sock
    assert ask(connection, "POST", JOBS, json.dumps({"knowledge_base_uuid": "x"}))[0] == 200
    assert ask(connection, "HEAD", f"{JOBS}/{job.uuid}")[1] == b""
    assert ask(connection, "GET", "/nowhere")[0] == 404
    assert connection.sock is kept
    connection.close()


def test_a_body_in_chunks_is_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(
        "POST", JOBS, iter([b'{"knowledge_base', b'_uuid": "x"}']), HEADERS, encode_chunked=True
    )
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["job"]["knowledge_base_uuid"]) == (200, "x")
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: x\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5_0\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"X-A: \x1b[31m\r\n",
    ],
)
def test_a_body_that_can_not_be_is_refused_and_the_server_lives_on(server, head):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"POST {JOBS} HTTP/1.1\r\nHost: x\r\n".encode() + head + b"\r\n")
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert ask(connection, "GET", JOBS)[0] == 200
    connection.close()


@pytest.mark.parametrize(
    ("version", "end"),
    [("1.0", b"Content-Length: 5\r\n\r\nwhole"), ("1.1", b"\r\n\r\n5\r\nwhole\r\n0\r\n\r\n")],
)
def test_a_client_that_knows_no_chunks_gets_none(version, end):
    server = LoopbackServer(lambda _: Response(200, (("Transfer-Encoding", "chunked"),), b"whole"))
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"GET / HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.makefile("rb").read().endswith(end)
    server.stop()


def test_a_client_that_hangs_up_is_no_news(server, capsys):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /v2")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert ask(connection, "GET", JOBS)[0] == 200
    connection.close()
    assert capsys.readouterr() == ("", "")


def test_a_poll_moves_the_clock(server):
    server.step_per_poll = 100.0
    job = server.simulator.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    polls = [
        json.loads(ask(connection, "GET", f"{JOBS}/{job.uuid}")[1])["job"]["status"]
        for _ in range(4)
    ]
    assert [poll.removeprefix("INDEX_JOB_STATUS_") for poll in polls] == ["IN_PROGRESS"] * 3 + [
        "COMPLETED"
    ]
    connection.close()


def test_a_port_in_use_is_told(server):
    with pytest.raises(OSError, match=f"port {server.port} of 127.0.0.1 is in use: choose another"):
        LoopbackServer(server.answer, port=server.port)
    with pytest.raises(OSError, match="the port must be 0 to 65535, not 99999"):
        LoopbackServer(server.answer, port=99999)


def test_stopping_ends_connections_and_threads():
    before = set(threading.enumerate())
    simulator = Simulator(VirtualClock())
    server = LoopbackServer(simulator.handle).start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert ask(connection, "GET", JOBS)[0] == 200
    server.stop()
    assert connection.sock.recv(1) == b""
    connection.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_curl(server):
    curl = shutil.which("curl") or pytest.skip("needs curl on the PATH: install curl")
    job = server.simulator.start("failed")
    server.clock.advance(400)
    command = [curl, "-s", "-H", "Authorization: Bearer any", f"{server.url}{JOBS}/{job.uuid}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["job"]["status"] == "INDEX_JOB_STATUS_FAILED"


NODE = """
const [base, knowledgeBase] = process.argv.slice(1);
const headers = {Authorization: "Bearer any", "Content-Type": "application/json"};
const url = base + "/v2/gen-ai/indexing_jobs";
const call = async (path, options = {}) => (await fetch(url + path, {headers, ...options})).json();
let body = JSON.stringify({knowledge_base_uuid: knowledgeBase});
let {job} = await call("", {method: "POST", body});
let polls = 0;
while (!job.finished_at) { ({job} = await call("/" + job.uuid)); polls++; }
console.log(JSON.stringify([job.status, polls]));
"""


def test_node(server):
    node = shutil.which("node") or pytest.skip("needs node on the PATH: install Node.js")
    server.step_per_poll = 5.0
    server.simulator.plan("no-changes")
    command = [node, "--input-type=module", "-e", NODE, "--", server.url, "base"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["INDEX_JOB_STATUS_NO_CHANGES", 68]


GRADIENT = """
import sys
from gradient import Gradient
job = Gradient().knowledge_bases.indexing_jobs.wait_for_completion(sys.argv[1], poll_interval=0).job
print(job.status)
"""


@pytest.mark.slow
def test_the_official_client_in_another_process_by_its_variables(server):
    server.step_per_poll = 50.0
    job = server.simulator.start("partial")
    command = [sys.executable, "-c", GRADIENT, job.uuid]
    done = subprocess.run(
        command, env=os.environ | server.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "INDEX_JOB_STATUS_PARTIAL"


@pytest.mark.slow
def test_pydo_by_plain_http_needs_a_policy_of_its_own(server):
    def client_of(module, **options):
        return module.Client("any", endpoint=server.url, **options)

    def policy():
        return HeadersPolicy({"Authorization": "Bearer any"})

    async def total():
        async with client_of(pydo.aio, authentication_policy=policy()) as client:
            return (await client.genai.list_indexing_jobs())["meta"]["total"]

    server.simulator.start()
    refused = client_of(pydo)
    with pytest.raises(ServiceRequestError, match="not permitted for non-TLS protected"):
        refused.genai.list_indexing_jobs()
    assert refused.genai.list_indexing_jobs(enforce_https=False)["meta"]["total"] == 1
    answered = client_of(pydo, authentication_policy=policy())
    assert answered.genai.list_indexing_jobs()["meta"]["total"] == 1
    assert asyncio.run(total()) == 1


@pytest.mark.slow
def test_the_fixture_serves_simulator_and_recording(pytester):
    pytester.makepyfile("""
        import httpx, pytest
        HEADERS = {"Authorization": "Bearer any"}
        JOBS = "/v2/gen-ai/indexing_jobs/"

        def test_simulated(indexjob_server, indexjob_simulator):
            job = indexjob_simulator.start()
            url = indexjob_server.url + JOBS + job.uuid
            polls = [httpx.get(url, headers=HEADERS).json() for _ in range(68)]
            assert polls[-1]["job"]["status"] == "INDEX_JOB_STATUS_COMPLETED"
            report = httpx.get(url + "/details_signed_url", headers=HEADERS).json()
            assert report["signed_url"].startswith(indexjob_server.url)
            assert httpx.get(report["signed_url"]).text.startswith("data_source_uuid")

        @pytest.mark.indexjob_cassette("partial")
        def test_recorded(indexjob_server, indexjob_cassette):
            answer = httpx.get(indexjob_server.url + JOBS + indexjob_cassette.job_uuid)
            assert answer.json()["job"]["uuid"] == indexjob_cassette.job_uuid

        @pytest.mark.indexjob_cassette("in-progress")
        def test_missed(indexjob_server):
            answer = httpx.get(indexjob_server.url + "/v2/gen-ai/indexing_jobs/other")
            assert (answer.status_code, answer.json()["id"]) == (501, "CassetteMissError")

        def test_endless(indexjob_server, indexjob_simulator):
            job = indexjob_simulator.start("stuck")
            with pytest.raises(httpx.TransportError):
                while True:
                    httpx.get(indexjob_server.url + JOBS + job.uuid, headers=HEADERS)
    """)
    pytester.makeini("[pytest]\nindexjob_max_polls = 80\n")
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=2)
    for line in ("*no recorded answer fits the request*", "*does not stop: 80 requests*"):
        result.stdout.fnmatch_lines([line])


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "PATCH", "BREW"])
def test_a_method_that_the_path_does_not_take_gets_the_apis_own_error(server, method):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(method, JOBS, headers=HEADERS)
    answer = connection.getresponse()
    assert (answer.status, answer.headers.get_content_type()) == (405, "application/json")
    assert json.loads(answer.read())["id"] == "method_not_allowed"
    assert ask(connection, "GET", JOBS)[0] == 200
    connection.close()


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_bears_no_length(status):
    server = LoopbackServer(lambda request: Response(status)).start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for _ in range(2):  # the connection stays usable
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-length"), answer.read()) == (
            status,
            None,
            b"",
        )
    connection.close()
    server.stop()


def test_a_delay_is_spent_once(indexjob_server, indexjob_simulator, indexjob_clock):
    indexjob_server.step_per_poll = 0
    indexjob_simulator.inject("slow-answer")
    connection = http.client.HTTPConnection("127.0.0.1", indexjob_server.port)
    assert ask(connection, "GET", JOBS)[0] == 200
    connection.close()
    assert indexjob_clock.elapsed == 20


def test_a_delay_is_spent_once_by_a_server_of_ones_own(server):
    server.simulator.inject("slow-answer")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert ask(connection, "GET", JOBS)[0] == 200
    connection.close()
    assert server.clock.elapsed == 20


def urls_of(connection, simulator_uuid):
    links = json.loads(ask(connection, "GET", f"{JOBS}?per_page=1")[1])["links"]["pages"]
    report = json.loads(ask(connection, "GET", f"{JOBS}/{simulator_uuid}/details_signed_url")[1])[
        "signed_url"
    ]
    return [*links.values(), report]


def test_every_url_that_a_served_simulator_sends_leads_back_to_the_server(
    indexjob_server, indexjob_simulator
):
    first, _ = indexjob_simulator.start(duration=1), indexjob_simulator.start()
    connection = http.client.HTTPConnection("127.0.0.1", indexjob_server.port)
    urls = urls_of(connection, first.uuid)
    assert len(urls) == 3
    for url in urls:
        assert url.startswith(f"{indexjob_server.url}/")
        assert ask(connection, "GET", url.removeprefix(indexjob_server.url))[0] == 200
    connection.close()


def test_after_a_reset_too():
    clock = VirtualClock()
    source = Controlled(clock, Simulator)
    server = LoopbackServer(source.handle, clock=clock, step_per_poll=5).start()
    source.serve_at(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert order(connection, "reset")[0] == 200
    for _ in range(2):
        status, body = order(connection, "jobs", {"duration": 1})
        assert status == 200
    uuid = json.loads(body)["job"]["uuid"]
    urls = urls_of(connection, uuid)
    assert len(urls) == 3
    assert all(url.startswith(f"{server.url}/") for url in urls)
    connection.close()
    server.stop()


@pytest.fixture
def controlled():
    clock = VirtualClock()
    source = Controlled(clock, Simulator)
    started = []

    def start(**options):
        started.append(LoopbackServer(source.handle, clock=clock, **options).start())
        return http.client.HTTPConnection("127.0.0.1", started[-1].port), source

    yield start
    for server in started:
        server.stop()


def test_orders_are_taken_from_no_page_of_a_browser(controlled):
    connection, source = controlled()
    port = connection.port
    for status, headers in (
        (403, {"Host": "rebound.example"}),
        (403, {"Host": f"rebound.example:{port}"}),
        (403, {"Host": "127.0.0.1"}),
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Origin": f"https://127.0.0.1:{port}"}),
        (403, {"Origin": "http://["}),
        (403, {"Origin": ""}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": "application/x-www-form-urlencoded"}),
    ):
        assert order(connection, "jobs", **headers)[0] == status, headers
    assert source.simulator.jobs == ()
    assert ask(connection, "GET", "/_indexjob", headers={"Host": "evil.example"})[0] == 403
    own = {"Host": f"localhost:{port}"}
    assert ask(connection, "GET", "http://evil.example/_indexjob", headers=own)[0] == 403
    assert ask(connection, "GET", f"http://localhost:{port}/_indexjob", headers=own)[0] == 200
    connection.putrequest("GET", "/_indexjob")
    for origin in (f"http://localhost:{port}", "http://evil.example"):
        connection.putheader("Origin", origin)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read() != b"") == (403, True)
    for headers in (
        {},
        {"Host": f"LOCALHOST:{port}", "Origin": f"http://localhost:{port}"},
        {"Content_Type": "application/json; charset=utf-8"},
    ):
        assert order(connection, "jobs", **headers)[0] == 200
    connection.close()


def test_orders_need_the_token_where_one_is_set(controlled):
    connection, source = controlled(token="made-up")
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "made-up"}):
        assert order(connection, "jobs", **headers)[0] == 401
    assert source.simulator.jobs == ()
    assert order(connection, "jobs", Authorization="Bearer made-up")[0] == 200
    connection.close()


def test_the_journal_of_a_server_is_bounded_in_bytes():
    journal = Journal(most_exchanges=100, most_bytes=10_000)
    for at in range(300):
        journal.add(Exchange(Request("POST", f"/{at}", (), b"x" * 999), Response(200, (), b"y")))
    assert 8 <= len(journal) <= 10
    assert journal.exchanges[-1].request.url == "/299"
    for _ in range(300):
        journal.add(Exchange(Request("GET", "/"), None))
    assert len(journal) == 100


def test_a_served_simulator_forgets_the_oldest(controlled, monkeypatch):
    monkeypatch.setattr("pytest_indexjob.simulation.control._MOST_BYTES", 100_000)
    connection, source = controlled()
    assert order(connection, "reset")[0] == 200
    for _ in range(5):
        assert ask(connection, "POST", JOBS, json.dumps({"x": "y" * 50_000}))[0] == 400
    assert len(source.simulator.journal) == 1
    connection.close()


def test_no_control_character_of_a_request_is_shown():
    shown = repr(Request("GET", "/v2/x?page=%1b[31m%0d%0a&%07=1"))
    assert shown == "<Request GET /v2/x?page=%1B[31m%0D%0A&%07=REDACTED>"
