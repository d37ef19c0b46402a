"""The limits: transports that only hand out answers, for what a client itself costs."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx
import requests
from requests.adapters import BaseAdapter

# Those of the simulator's answers, since a client takes its time for each.
HEADERS = {
    "Content-Type": "application/json",
    "ratelimit-limit": "5000",
    "ratelimit-remaining": "4999",
    "ratelimit-reset": "1795694400",
}


class BareAdapter(BaseAdapter):
    """A transport of requests."""

    def __init__(self, give: Callable[[], bytes]) -> None:
        super().__init__()
        self.give = give

    def send(self, request, **_):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response.raw = io.BytesIO(self.give())
        response.headers.update(HEADERS)
        return response

    def close(self):
        pass


def bare_session(give: Callable[[], bytes]) -> requests.Session:
    session = requests.Session()
    session.mount("https://", BareAdapter(give))
    return session


def bare_transport(give: Callable[[], bytes]) -> httpx.MockTransport:
    """A transport of httpx."""
    return httpx.MockTransport(lambda _: httpx.Response(200, content=give(), headers=HEADERS))
