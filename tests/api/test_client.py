"""The client, against a real loopback server."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import socket
import traceback

import pytest
import requests

from pytest_indexjob import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DecodeError,
    IndexingJobClient,
    IndexJobSettings,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from pytest_indexjob.exchange import Response
from pytest_indexjob.virtual_time.clock import START, VirtualClock

TOKEN = "dop_v1_hush"
JOBS = "/v2/gen-ai/indexing_jobs"
RUNNING = {"job": {"status": "INDEX_JOB_STATUS_IN_PROGRESS"}}
DONE = {"job": {"uuid": "u", "status": "INDEX_JOB_STATUS_COMPLETED"}}


def answer(body, status=200, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(
        status, tuple((name.replace("_", "-"), value) for name, value in headers.items()), content
    )


@pytest.fixture
def service(loopback):
    """A client of a server that gives these answers in order, the last for ever."""
    sessions = []

    def start(*answers, **options):
        left = list(answers)
        server = loopback(lambda _: left.pop(0) if len(left) > 1 else left[0])
        session = requests.Session()
        sessions.append(session)
        clock = VirtualClock()
        client = IndexingJobClient(
            TOKEN, base_url=server.url, session=session, clock=clock, **options
        )
        return client, server, clock

    yield start
    for session in sessions:
        session.close()


def asked(server):
    return [(request.method, request.url.removeprefix(server.url)) for request in server.requests]


def test_all_seven_calls(service):
    source = {"indexed_data_sources": [{"skipped_item_count": "2"}]}
    client, server, _ = service(
        answer(DONE),
        answer({"jobs": [{}]}),
        answer({"jobs": []}),
        answer(DONE),
        answer(DONE),
        answer(source),
        answer({"signed_url": "https://x"}),
    )
    assert client.get("u").uuid == "u"
    assert len(client.list(2, 50).jobs) == 1
    assert client.list_for_knowledge_base("k").jobs == ()
    assert client.create("k", ["a"]).is_terminal
    assert client.cancel("u").is_terminal
    assert client.data_sources("u")[0].skipped_item_count == 2
    assert client.details_signed_url("u") == "https://x"
    assert asked(server) == [
        ("GET", f"{JOBS}/u"),
        ("GET", f"{JOBS}?page=2&per_page=50"),
        ("GET", "/v2/gen-ai/knowledge_bases/k/indexing_jobs"),
        ("POST", JOBS),
        ("PUT", f"{JOBS}/u/cancel"),
        ("GET", f"{JOBS}/u/data_sources"),
        ("GET", f"{JOBS}/u/details_signed_url"),
    ]
    assert json.loads(server.requests[3].body) == {
        "knowledge_base_uuid": "k",
        "data_source_uuids": ["a"],
    }
    assert json.loads(server.requests[4].body) == {"uuid": "u"}
    assert {request.header("authorization") for request in server.requests} == {f"Bearer {TOKEN}"}


def test_no_sources_named_means_all(service):
    client, server, _ = service(answer(DONE))
    client.create("k")
    assert json.loads(server.requests[0].body) == {"knowledge_base_uuid": "k"}


@pytest.mark.parametrize(
    ("uuid", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("../b", "..%2Fb"),
        ("a..b", "a..b"),
        ("%2e%2e", "%252e%252e"),
        ('"x"', "%22x%22"),
        ("a b\n", "a%20b%0A"),
        ("é", "%C3%A9"),
        ("x/../..", "x%2F..%2F.."),
        ("\\..", "%5C.."),
    ],
)
def test_a_uuid_never_changes_the_path(service, uuid, segment):
    client, server, _ = service(answer(DONE))
    client.get(uuid)
    client.cancel(uuid)
    assert asked(server) == [("GET", f"{JOBS}/{segment}"), ("PUT", f"{JOBS}/{segment}/cancel")]


@pytest.mark.parametrize("uuid", ["", " ", ".", "..", None, 5])
def test_a_uuid_that_is_none_is_refused(service, uuid):
    client, server, _ = service(answer(DONE))
    for call in (
        client.get,
        client.cancel,
        client.data_sources,
        client.create,
        client.list_for_knowledge_base,
    ):
        with pytest.raises(ValueError, match="a uuid is needed"):
            call(uuid)
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (418, ApiError),
        (302, ApiError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_error_answers(service, status, kind):
    body = {"id": "some_id", "message": "some message", "request_id": "r1"}
    client, _, _ = service(answer(body, status, location="https://elsewhere.example"), retries=0)
    with pytest.raises(ApiError) as raised:
        client.get("u")
    error = raised.value
    assert type(error) is kind
    assert (error.status_code, error.id, error.message, error.request_id) == (
        status,
        "some_id",
        "some message",
        "r1",
    )
    assert str(error) == f"GET {JOBS}/u was answered {status} some_id: some message (request r1)"


def test_every_status_of_2xx_grants_the_call(service):
    client, _, _ = service(answer(DONE, 299))
    assert client.get("u").is_terminal


def test_a_long_message_of_the_service_is_cut(service):
    client, _, _ = service(answer({"id": "long", "message": "x" * 501}, 400))
    with pytest.raises(BadRequestError) as raised:
        client.get("u")
    assert raised.value.message == "x" * 500


def test_an_error_answer_in_html_with_the_request_id_in_a_header(service):
    client, _, _ = service(answer(b"<html>", 404, x_request_id="r2"))
    with pytest.raises(NotFoundError) as raised:
        client.get("u")
    assert (raised.value.id, raised.value.request_id) == ("", "r2")
    client, _, _ = service(answer([1], 404))
    with pytest.raises(NotFoundError):
        client.get("u")


HTTP_DATE = "Fri, 31 Oct 2025 01:08:43 GMT"  # ten seconds after the virtual clock's start


@pytest.mark.parametrize(
    ("header", "slept"),
    [
        ("7", 7),
        ("0.5", 0.5),
        (HTTP_DATE, 10),
        ("-3", 0),
        ("Fri, 31 Oct 2025 01:00:00 GMT", 0),
        ("60", 60),
        ("soon", 0.5),
        ("nan", 0.5),
        ("inf", 0.5),
        ("", 0.5),
    ],
)
def test_a_rate_limit_is_waited_for_on_the_clock(service, header, slept):
    assert START == 1761872913
    client, server, clock = service(answer({}, 429, retry_after=header), answer(DONE))
    assert client.get("u").is_terminal
    assert clock.sleeps == [slept]
    assert len(server.requests) == 2


def test_a_longer_retry_after_is_raised_at_once(service):
    client, server, clock = service(answer({}, 429, retry_after="61"))
    with pytest.raises(RateLimitError) as raised:
        client.get("u")
    assert raised.value.retry_after == 61
    assert (clock.sleeps, len(server.requests)) == ([], 1)


def test_server_errors_are_tried_again_with_growing_pauses(service):
    client, server, clock = service(answer({}, 500), retries=6)
    with pytest.raises(ServerError):
        client.create("k")
    assert clock.sleeps == [0.5, 1, 2, 4, 8, 8]
    assert len(server.requests) == 7


def test_other_errors_are_not_tried_again(service):
    client, server, clock = service(answer({}, 409))
    with pytest.raises(ConflictError):
        client.create("k")
    assert (clock.sleeps, len(server.requests)) == ([], 1)


@pytest.fixture
def closed_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_connection_failures_of_gets_alone_are_tried_again(closed_port):
    clock = VirtualClock()
    with IndexingJobClient(
        TOKEN, base_url=f"http://127.0.0.1:{closed_port}", clock=clock, retries=2
    ) as client:
        with pytest.raises(TransportError) as raised:
            client.get("u")
        assert clock.sleeps == [0.5, 1]
        assert (raised.value.method, raised.value.path) == ("GET", f"{JOBS}/u")
        for call in (client.create, client.cancel):
            with pytest.raises(TransportError):
                call("u")
    assert clock.sleeps == [0.5, 1]


def test_every_call_has_a_time_out():
    given = []

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, timeout=None, **kwargs):
            given.append(timeout)
            raise requests.ReadTimeout

        def close(self):
            pass

    with requests.Session() as session:
        session.mount("https://", Adapter())
        with pytest.raises(TransportError, match="ReadTimeout"):
            IndexingJobClient(TOKEN, session=session, timeout=7, retries=0).get("u")
    assert given == [7]


def test_the_token_is_nowhere_to_be_seen(service, closed_port, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []
    told = answer({"id": TOKEN, "message": "x" * 495 + f"the token {TOKEN} is wrong"}, 401)
    client, _, _ = service(told._replace(headers=(*told.headers, ("x-request-id", TOKEN))))
    refused = IndexingJobClient(
        TOKEN, base_url=f"http://user:{TOKEN}@127.0.0.1:{closed_port}", retries=0
    )
    with refused:
        for each in (client, refused):
            seen.append(repr(each))
            try:
                each.get("u")
            except (ApiError, TransportError) as error:
                seen += [
                    str(error),
                    repr(error),
                    repr(vars(error)),
                    "".join(traceback.format_exception(error)),
                ]
                seen += traceback.TracebackException.from_exception(
                    error, capture_locals=True
                ).format()
    seen += [repr(IndexJobSettings(token=TOKEN, secrets=(TOKEN,))), caplog.text]
    assert len(seen) > 10
    assert not [text for text in seen if "hush" in text]


def test_a_token_that_is_a_word_leaves_an_error_readable(loopback):
    server = loopback(
        lambda _: answer({"id": "too_many_requests", "message": "not that many"}, 400)
    )
    with IndexingJobClient("any", base_url=server.url) as client, pytest.raises(ApiError) as raised:
        client.get("u")
    assert (raised.value.id, raised.value.message) == ("too_many_requests", "not that many")


@pytest.mark.parametrize(
    ("token", "told"), [("seventy", "seventy is wrong"), ("eighteen", "REDACTED is wrong")]
)
def test_a_token_of_eight_letters_is_no_word(loopback, token, told):
    server = loopback(lambda _: answer({"id": "bad", "message": f"{token} is wrong"}, 400))
    with IndexingJobClient(token, base_url=server.url) as client, pytest.raises(ApiError) as raised:
        client.get("u")
    assert raised.value.message == told


def test_the_token_comes_from_the_environment_and_not_from_netrc(loopback, monkeypatch, tmp_path):
    server = loopback(lambda _: answer(DONE))
    tmp_path.joinpath("netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "theirs")
    with IndexingJobClient(base_url=f"{server.url}/") as client:
        client.get("u")
    assert server.requests[0].header("authorization") == "Bearer theirs"
    assert asked(server) == [("GET", f"{JOBS}/u")]


@pytest.mark.parametrize(
    "options",
    [
        {"token": ""},
        {"token": "a\nb"},
        {"token": "é"},
        {"base_url": "ftp://x"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"retries": -1},
    ],
)
def test_what_a_client_cannot_be_made_of(options, monkeypatch):
    monkeypatch.delenv("DIGITALOCEAN_ACCESS_TOKEN", raising=False)
    with pytest.raises(ValueError):
        IndexingJobClient(**{"token": "t", **options})


def test_the_settings_begin_as_a_client_made_by_hand_does():
    settings = dataclasses.asdict(IndexJobSettings())
    made_by_hand = inspect.signature(IndexingJobClient).parameters
    for name in ("base_url", "token", "timeout", "retries"):
        assert settings[name] == made_by_hand[name].default


def test_the_settings_of_a_fixture_are_not_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        IndexJobSettings().timeout = 1


def test_wait_returns_the_job_whatever_its_outcome(service):
    for status in ("COMPLETED", "PARTIAL", "NO_CHANGES", "FAILED", "CANCELLED"):
        ended = {"job": {"status": f"INDEX_JOB_STATUS_{status}"}}
        client, _, clock = service(answer(RUNNING), answer(RUNNING), answer(ended))
        polls = []
        assert client.wait("u", poll_interval=3, on_poll=polls.append).status.name == status
        assert clock.sleeps == [3, 3]
        assert [job.status.name for job in polls] == ["IN_PROGRESS", "IN_PROGRESS", status]


@pytest.mark.parametrize(
    "body",
    [
        RUNNING,
        {"job": {}},
        {"job": {"status": "NEW", "phase": "NEW"}},
        {"job": {"uuid": "u", "phase": None}},
    ],
)
def test_wait_never_loops_for_ever(service, body):
    client, _, clock = service(answer(body))
    with pytest.raises(WaitTimeoutError) as raised:
        client.wait("u", timeout=12, poll_interval=5)
    assert clock.sleeps == [5, 5, 2]
    assert len(raised.value.polls) == 4
    assert raised.value.job == raised.value.polls[-1]
    assert raised.value.timeout == 12


def test_wait_polls_every_five_seconds_for_an_hour_unless_told_otherwise(service):
    client, _, clock = service(answer(RUNNING))
    with pytest.raises(WaitTimeoutError) as raised:
        client.wait("u", timeout=10)
    assert clock.sleeps == [5, 5]
    with pytest.raises(WaitTimeoutError) as raised:
        client.wait("u", poll_interval=1800)
    assert raised.value.timeout == 3600
    assert clock.sleeps == [5, 5, 1800, 1800]


def test_wait_without_a_job_or_with_nonsense_raises_at_once(service):
    client, server, _ = service(answer({}))
    with pytest.raises(DecodeError, match=r"\$\.job"):
        client.wait("u")
    for options in ({"timeout": -1}, {"timeout": float("inf")}, {"poll_interval": 0}):
        with pytest.raises(ValueError):
            client.wait("u", **options)
    assert len(server.requests) == 1


def page(number, following, jobs=1):
    links = {"pages": {"next": following}} if following else {}
    return answer({"jobs": [{"uuid": f"{number}"}] * jobs, "links": links})


def test_iterate_follows_the_links(service):
    client, server, _ = service(
        page(1, "https://evil.example/?page=2"), page(2, "?page=3"), page(3, None)
    )
    assert [job.uuid for job in client.iterate()] == ["1", "2", "3"]
    assert asked(server) == [("GET", JOBS), ("GET", f"{JOBS}?page=2"), ("GET", f"{JOBS}?page=3")]


def test_iterate_leaves_a_circle(service):
    client, _, _ = service(page(1, "?page=2"), page(2, "?page=1"))
    with pytest.raises(DecodeError, match="circle"):
        list(client.iterate())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"<html>hush</html>",
        b'{"job": {"signed_url": "hush',
        b"NaN",
        b'{"job": Infinity}',
        b"[" * 100_000,
        b"\xff\xfe{",
        b'{"job": ' + b"1" * 5000 + b"}",
        b"\xef\xbb\xbfnull",
        b"[]",
        b'"x"',
        b"{}",
        b'{"job": null}',
        b'{"job": []}',
        b'{"job": {"tokens": -1}}',
    ],
    ids=lambda body: body[:16].decode("latin-1"),
)
def test_a_body_that_holds_no_job(service, body):
    client, _, _ = service(answer(body, content_type="application/json"))
    with pytest.raises(DecodeError) as raised:
        client.get("u")
    assert raised.value.path.startswith("$")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "content_type", "there"),
    [
        (b"", "application/json", "an empty body of application/json"),
        (b" \n", "application/json", "an empty body of application/json"),
        (b"[1, 2", "", "5 bytes, broken at byte 5"),
        (b"<html>", "text/html; charset=utf-8", "6 bytes of text/html, broken at byte 0"),
        (b"NaN", "x" * 50, f"3 bytes of {'x' * 40}"),
    ],
)
def test_a_body_that_is_no_json_is_described(service, body, content_type, there):
    client, _, _ = service(answer(body, content_type=content_type))
    with pytest.raises(DecodeError) as raised:
        client.get("u")
    assert str(raised.value) == f"$: JSON was expected, not {there}"


def test_a_report_without_a_url(service):
    for body in ({}, {"signed_url": 5}, {"signed_url": ""}):
        client, _, _ = service(answer(body))
        with pytest.raises(DecodeError, match=r"\$\.signed_url"):
            client.details_signed_url("u")
