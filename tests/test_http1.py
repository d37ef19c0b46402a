"""Requests are read from their bytes as RFC 9112 says, however the bytes come."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.http1 import MalformedRequestError, RequestReader, has_body, written

HEAD = b"POST /v2/x?a=1 HTTP/1.1\r\nHost: h\r\n"
THREE = (
    HEAD + b"Content-Length: 3\r\nX-A:  b \r\n\r\nabc"
    b"\r\nGET http://other.example/y HTTP/1.1\r\nhost: h\r\n\r\n"
    + HEAD
    + b"Transfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n0A\r\n0\r\n\r\n67890\r\n0\r\nT: 1\r\n\r\n"
)
EXPECTED = [
    Request(
        "POST", "http://h/v2/x?a=1", (("Host", "h"), ("Content-Length", "3"), ("X-A", "b")), b"abc"
    ),
    Request("GET", "http://other.example/y", (("host", "h"),)),
    Request(
        "POST",
        "http://h/v2/x?a=1",
        (("Host", "h"), ("Transfer-Encoding", "Chunked")),
        b"ab0\r\n\r\n67890",
    ),
]


def read(*parts):
    reader = RequestReader("http://h", largest_body=1000)
    requests = []
    for part in parts:
        reader.feed(part)
        while (request := reader.next_request()) is not None:
            requests.append(request)
    return requests


@given(st.lists(st.integers(0, len(THREE)), max_size=12))
def test_requests_are_the_same_wherever_their_bytes_are_parted(places):
    cuts = [0, *sorted(places), len(THREE)]
    parts = [THREE[begin:end] for begin, end in itertools.pairwise(cuts)]
    assert read(*parts) == EXPECTED


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_a_request_part_of_one_or_malformed(head, body):
    for sent in (head + body, HEAD + head + b"\r\n\r\n" + body):
        with contextlib.suppress(MalformedRequestError):
            assert all(isinstance(request, Request) for request in read(sent))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        HEAD + b"X : 1\r\n\r\n",
        HEAD + b"X: 1\r\n folded\r\n\r\n",
        HEAD + b"X: a\nY: b\r\n\r\n",
        HEAD + b"X: a\x00\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 1_0\r\n\r\nabc",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 1001\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5_0\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n",
        b"A" * 70_000,
        b"GET v2/x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET @evil.example/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET :80/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: me@h\r\n\r\n",
        # What would be waited for without end.
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n",
    ],
)
def test_what_is_no_request_of_http_is_malformed(sent):
    with pytest.raises(MalformedRequestError):
        read(sent)


def test_an_asterisk_asks_for_the_server_itself():
    (request,) = read(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert request.url == "http://h"


def test_whether_a_client_goes_on_and_what_it_waits_for():
    for head, closes in (
        (b"GET / HTTP/1.1\r\nHost: h\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n", True),
        (b"GET / HTTP/1.0\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", False),
    ):
        reader = RequestReader("http://h")
        reader.feed(head + b"\r\n")
        assert reader.next_request() is not None
        assert (reader.closes, reader.wants_continue) == (closes, False)
    reader.feed(HEAD + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    assert reader.next_request() is None
    assert reader.wants_continue
    reader.feed(b"x")
    assert reader.next_request().body == b"x"


@pytest.mark.parametrize(
    ("status", "method", "length", "body"),
    [
        (200, "GET", b"4", b"body"),
        (200, "HEAD", b"4", b""),
        (204, "GET", None, b""),
        (304, "GET", None, b""),
        (404, "POST", b"4", b"body"),
    ],
)
def test_the_length_that_is_written_is_the_bodys(status, method, length, body):
    response = Response(status, (("Connection", "close"), ("X", "1")), b"body")
    head, _, rest = written(response, method).partition(b"\r\n\r\n")
    assert rest == body
    assert has_body(response, method) == bool(body)
    assert b"Connection" not in head
    assert (b"Content-Length: " + length in head) if length else (b"Content-Length" not in head)


@pytest.mark.parametrize(
    ("status", "method", "body", "expected"),
    [
        (200, "GET", b"0123456789abcdef", b"10\r\n0123456789abcdef\r\n0\r\n\r\n"),
        (404, "POST", b"", b"0\r\n\r\n"),
        (200, "HEAD", b"body", b""),
        (204, "GET", b"body", b""),
    ],
)
def test_a_body_that_came_in_chunks_is_written_as_one(status, method, body, expected):
    response = Response(status, (("Transfer-Encoding", "Chunked"),), body)
    head, _, rest = written(response, method).partition(b"\r\n\r\n")
    assert rest == expected
    assert (b"Transfer-Encoding: chunked" in head) == (status != 204)
    assert b"Content-Length" not in head


def test_a_line_break_in_a_header_or_the_reason_makes_no_other_header():
    hostile = Response(200, (("X", "1\r\nSet-Cookie: a=b"),), b"", "OK\r\nY: 2")
    lines = written(hostile, "GET").split(b"\r\n")
    assert not [line for line in lines if line.startswith((b"Set-Cookie", b"Y"))]
