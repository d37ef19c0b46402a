"""Clients off the common ways: answered, or refused in words that name them and the way out."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import types

import pytest
from conftest import COMPLETED, JOB_URL

from pytest_indexjob import NetworkBlockedError
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock


class Source:
    hosts = frozenset()

    def handle(self, request):
        assert request.url == JOB_URL
        return COMPLETED


@pytest.fixture
def interception():
    interception = Interception(Journal(), VirtualClock(), test="the test")
    interception.source = Source()
    yield interception.start()
    interception.stop()


def test_httplib2(interception):
    httplib2 = pytest.importorskip("httplib2")
    answer, body = httplib2.Http(timeout=3).request(JOB_URL)
    assert (answer.status, body) == (200, COMPLETED.body)
    with pytest.raises(NetworkBlockedError):
        httplib2.Http(timeout=3).request("https://other.invalid")


def test_httpx2(interception):
    httpx2 = pytest.importorskip("httpx2")
    assert httpx2.get(JOB_URL).content == COMPLETED.body

    async def ask():
        async with httpx2.AsyncClient() as client:
            return (await client.get(JOB_URL)).content

    assert asyncio.run(ask()) == COMPLETED.body


def test_httpx_under_trio(interception):
    trio, httpx = pytest.importorskip("trio"), pytest.importorskip("httpx")

    async def ask():
        async with httpx.AsyncClient() as client:
            return (await client.get(JOB_URL)).content

    assert trio.run(ask) == COMPLETED.body
    with pytest.raises(NetworkBlockedError):
        trio.run(trio.open_tcp_stream, "other.invalid", 80)


def test_uvloop(interception):
    uvloop, httpx = pytest.importorskip("uvloop"), pytest.importorskip("httpx")

    async def ask():
        async with httpx.AsyncClient() as client:
            assert (await client.get(JOB_URL)).content == COMPLETED.body
        async with await asyncio.start_server(lambda _, out: out.close(), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        await asyncio.open_connection("192.0.2.1", 80)

    with pytest.raises(NetworkBlockedError, match=r"uvloop .* indexjob_server"):
        uvloop.run(ask())


def test_curl_cffi(interception, loopback):
    curl_cffi = pytest.importorskip("curl_cffi")
    live = loopback(lambda _: COMPLETED)
    assert curl_cffi.get(live.url).content == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"curl_cffi .* indexjob_server"):
        curl_cffi.get(JOB_URL)


def fake_pycurl():
    class Curl:
        def setopt(self, option, value):
            self.url = value

    return types.SimpleNamespace(Curl=Curl, URL=10002)


def fake_grpc():
    def channel(target, *_):
        return target

    return types.SimpleNamespace(insecure_channel=channel, secure_channel=channel)


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Makes modules that can't be installed everywhere importable: each is one of the functions
    above."""
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules["fakes"] = sys.modules[__name__]

    def make(name):
        text = f"import fakes\nglobals().update(vars(fakes.fake_{name}()))\n"
        tmp_path.joinpath(f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    yield make
    del sys.modules["fakes"]
    for name in ("pycurl", "grpc"):
        sys.modules.pop(name, None)


def test_pycurl_and_grpc_when_they_are_imported(importable, interception):
    for name in ("pycurl", "grpc"):
        importable(name)
    import grpc
    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, "http://127.0.0.1:8000/x")
    assert curl.url == "http://127.0.0.1:8000/x"
    assert grpc.insecure_channel("localhost:50051") == "localhost:50051"
    for attempt, client in (
        (lambda: curl.setopt(pycurl.URL, JOB_URL), "pycurl"),
        (lambda: curl.setopt(pycurl.URL, b"api.digitalocean.com/v2"), "pycurl"),
        (lambda: grpc.secure_channel("dns:///other.invalid:443", None), "grpc"),
        (lambda: grpc.insecure_channel("192.0.2.1:443"), "grpc"),
    ):
        with pytest.raises(NetworkBlockedError, match=rf"{client} .* indexjob_server"):
            attempt()
    interception.stop()
    assert grpc.insecure_channel("192.0.2.1:443") == "192.0.2.1:443"
    assert pycurl.Curl.__module__ != "pytest_indexjob.interception.foreign_sockets"
    assert json.dumps([str(miss) for miss in interception.journal.misses]).count("the test") == 4
