"""Whatever comes, in process and by the server: an answer of the API, and the state unchanged."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock
from pytest_indexjob.api.calls import CALLS
from pytest_indexjob.exchange import Request

API = "https://api.digitalocean.com"
TOKEN = (("Authorization", "Bearer any"),)
SPACES = {"spaces_data_source": {"bucket_name": "manuals"}}
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FIELDS = (
    "uuid",
    "name",
    "tags",
    "region",
    "project_id",
    "database_id",
    "datasources",
    "reranking_config",
    "knowledge_base_uuid",
    "knowledge_base_uuids",
    "data_source_uuid",
    "data_source_uuids",
    "spaces_data_source",
    "aws_data_source",
    "web_crawler_data_source",
    "file_upload_data_source",
    "google_drive_data_source",
    "dropbox_data_source",
    "chunking_algorithm",
    "chunking_options",
    "semantic_threshold",
    "max_chunk_size",
    "crawling_option",
    "size_in_bytes",
    "base_url",
    "days",
    "time",
    "files",
    "file_name",
    "file_size",
    "temperature",
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((2**63, 2**64, -1, 10**400, 0.5, 1e308, "", "x" * 300, "UNKNOWN", "\x00"))
    | st.floats(allow_nan=True)
    | st.text(st.characters(categories=None), max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), each, max_size=3)
    ),
    max_leaves=8,
)
GOOD = {
    "name": "manuals",
    "days": [1],
    "time": "12:00",
    "files": [{"file_name": "a", "file_size": 1}],
    "datasources": [SPACES],
    **SPACES,
}
OBJECTS = st.builds(
    lambda kept, junk: {**{name: GOOD[name] for name in kept}, **junk},
    st.sets(st.sampled_from(sorted(GOOD))),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
)
RAW = st.sampled_from(
    (
        b"",
        b"null",
        b"NaN",
        b'{"temperature": NaN}',
        b'{"temperature": 1e999}',
        b'{"temperature": -Infinity}',
        b'{"chunking_options": {"semantic_threshold": 1' + b"0" * 400 + b"}}",
        b'{"days": [1' + b"0" * 5000 + b"]}",
        b'{"name": "manuals", "name": 5}',
        b'{"name": "man\xffuals"}',
        b'{"name": "\\ud800", "files": [{"file_name": "\\ud800", "file_size": 1}]}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"name": "manuals"}',
        b'{"a":' * 90 + b"1" + b"}" * 90,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"a":' * 100_000,
        b'{"name": "manuals"} {}',
        b"[" * 100_000,
    )
)
BODIES = OBJECTS.map(lambda body: json.dumps(body).encode()) | RAW | st.binary(max_size=40)
QUERIES = st.sampled_from(
    ("", "page=0", "page=-1", "page=9&per_page=200", "per_page=%F0", "page")
) | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20)


class Service:
    """A simulator with a member of each resource."""

    def __init__(self):
        self.simulator = Simulator(VirtualClock(), requests_per_minute=None, requests_per_hour=None)
        base = self.simulator.add_knowledge_base().uuid
        other = self.simulator.add_knowledge_base().uuid
        source = self.simulator.add_data_source(base).uuid
        job = self.simulator.start(knowledge_base_uuid=other).uuid
        agent = self.made("agents", {"name": "helper"})["agent"]["uuid"]
        schedule = {"knowledge_base_uuid": other, "days": [1], "time": "12:00"}
        schedule = self.made("scheduled-indexing", schedule)["indexing_info"]["uuid"]
        self.uuids = ("unknown", "%", "\ud800", "a/b", base, other, source, job, agent, schedule)

    def made(self, path, body):
        url = f"{API}/v2/gen-ai/{path}"
        answer = self.simulator.handle(Request("POST", url, TOKEN, json.dumps(body).encode()))
        return json.loads(answer.body)

    def state(self):
        simulator = self.simulator
        return (
            simulator.knowledge_bases,
            simulator.data_sources,
            simulator.jobs,
            simulator.uploads,
            simulator.schedules,
            simulator.agents,
        )


def path_of(call, data, uuids):
    arguments = [data.draw(st.sampled_from(uuids)) for _ in range(call.path.count("{"))]
    path = call.path
    for argument in arguments:
        before, _, rest = path.partition("{")
        path = before + quote(argument, safe="", errors="replace") + rest.partition("}")[2]
    query = data.draw(QUERIES)
    return f"{path}?{query}" if query else path


def strictly_parsed(body):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(body.decode(), parse_constant=refuse)


def check(service, before, status, body):
    parsed = strictly_parsed(body)
    assert status in (200, 400, 404, 405, 409), (status, parsed)
    if status != 200:
        assert parsed["message"]
        assert service.state() == before
    else:
        service.state()  # what was taken can be read again


@UNHURRIED
@given(call=st.sampled_from(CALLS), data=st.data(), body=BODIES)
def test_in_process(call, data, body):
    service = Service()
    before = service.state()
    path = path_of(call, data, service.uuids)
    answer = service.simulator.handle(Request(call.method, API + path, TOKEN, body))
    check(service, before, answer.status, answer.body)
    again = service.simulator.handle(Request("GET", f"{API}/v2/gen-ai/agents", TOKEN))
    assert len(strictly_parsed(again.body)["agents"]) == len(service.simulator.agents)


def test_by_the_server(capfd):
    service = Service()
    server = LoopbackServer(service.simulator.handle, clock=service.simulator.clock).start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    @UNHURRIED
    @given(call=st.sampled_from(CALLS), data=st.data(), body=BODIES)
    def ask(call, data, body):
        before = service.state()
        path = path_of(call, data, service.uuids)
        connection.request(call.method, path, body, dict(TOKEN))
        answer = connection.getresponse()
        check(service, before, answer.status, answer.read())

    try:
        ask()
    finally:
        connection.close()
        server.stop()
    assert capfd.readouterr().err == ""


TARGETS = (
    b"http://[/v2/gen-ai/agents",
    b"http://[::1/v2",
    b"//[/v2",
    b"/v2/gen-ai/indexing_jobs/[::1",
    b"*",
    b"v2",
    b"http://:99999/v2/gen-ai/agents",
    b"/_indexjob/../[",
    b"/%",
    b"/\xff",
    b"/v2/gen-ai/indexing_jobs?page=%ff%00&per_page=[",
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_target_that_is_no_url_is_answered(target, method, capfd):
    service = Service()
    server = LoopbackServer(service.simulator.handle, clock=service.simulator.clock).start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = b"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer any\r\n"
            connection.sendall(head % (method, target) + b"Content-Length: 0\r\n\r\n")
            status = int(connection.makefile("rb").readline().split()[1])
    finally:
        server.stop()
    assert status in (200, 400, 404, 405, 403, 415)
    assert capfd.readouterr().err == ""
