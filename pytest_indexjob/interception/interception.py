"""The core: one source answers the HTTP clients of this process, for the length of a test.

A request comes in by one of the ways in: the connections of ``http.client`` and urllib3, the
transports of httpx, the connectors of aiohttp, the session of the plugin's own client, the
loopback server. Each has a file of its own, asks ``claims`` whether a host is the source's, and
gives the request to ``answer``, ``answer_async`` or ``answer_for_server``. Here the source is
asked, the exchange goes to the journal, a miss is kept, and what an answer takes of the test's time
is spent. What is not the source's goes on to the real client, below which the guard stands.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

import pytest

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.exchange import (
    Exchange,
    Request,
    Response,
    Source,
    TransportFault,
    netloc_of,
    target_of,
)
from pytest_indexjob.interception import complaints
from pytest_indexjob.interception.clients import ClientPatches
from pytest_indexjob.interception.guard import Guard
from pytest_indexjob.interception.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import requests

    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.recording.cassette import Playback
    from pytest_indexjob.recording.recorder import Recorder
    from pytest_indexjob.secrecy.redaction import Redaction
    from pytest_indexjob.simulation.simulator import Simulator
    from pytest_indexjob.virtual_time.clock import VirtualClock

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Interception:
    """Stands between the clients of this process and one source, from ``start`` to ``stop``.

    ``source`` answers the requests to its ``hosts``, to the API and to ``base_url``. Every exchange
    goes to ``journal``, and so does every miss: a request that the source could not answer, a
    connection that the guard stopped. More than ``max_polls`` requests, or sleeping on the clock
    past ``max_hours`` of it, fail the test; both count from the job that the test started last.
    ``redaction(credentials)`` gives what takes secrets out of all that is told of the test: those
    that the user named, and these, which the test's clients sent.
    """

    def __init__(
        self,
        journal: Journal,
        clock: VirtualClock,
        *,
        test: str = "",
        base_url: str = API_URL,
        allowed_hosts: Iterable[str] = (),
        max_polls: int = 10_000,
        max_hours: float = 48.0,
        redaction: Callable[[frozenset[str]], Redaction] | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.source: Source | None = None
        self.recorder: Recorder | None = None
        self.playback: Playback | None = None
        self.guard = Guard(journal, test, allowed_hosts)
        self.active = False
        self._test = test
        self._redaction_of = redaction
        self._redaction: Redaction | None = None
        self._sent: frozenset[str] = frozenset()
        self._exchanges_read = 0
        self._strict = False
        self._api_hosts = frozenset(target_of(url).netloc for url in (API_URL, base_url))
        self._limits = Limits(journal, clock, max_polls, max_hours)
        self._patches = ClientPatches(self)

    def start(self, *, guarded: bool = True) -> Self:
        """Put it in place, with the guard below it unless that is not wanted."""
        try:
            self._patches.start(self.guard.patches() if guarded else ())
        except BaseException:  # a time-out's or the keyboard's interrupt, too
            self.stop()
            raise
        self._limits.start()
        self.active = True
        if guarded:
            self.guard.start()
        return self

    def stop(self) -> None:
        """Take it away: everything is as it was before ``start``."""
        self.active = False
        self.guard.stop()
        self._limits.stop()
        self._patches.stop()

    def simulate(self, simulator: Simulator) -> None:
        """Let the simulator answer."""
        self.source = simulator

    def begin(self) -> None:
        """Let the limits count anew: the test started a job, and what follows may be as long."""
        self._limits.begin()

    def play(self, playback: Playback, *, strict: bool, recorder: Recorder | None = None) -> None:
        """Let recordings answer; ``strict`` also complains of answers that were left unplayed.

        With a ``recorder`` the service answers what they do not, and it is recorded.
        """
        self.source = recorder or playback
        self.playback = playback
        self.recorder = recorder
        self._strict = strict

    def session(self) -> requests.Session:
        """A requests session that is answered directly, with no connection below it."""
        from pytest_indexjob.interception.sessions import answered_session

        return answered_session(self)

    # What the ways in ask.

    def claims(self, host: str | None, port: int | None, scheme: str) -> bool:
        """Whether requests to a host are the source's to answer."""
        if not self.active or host is None or scheme not in _DEFAULT_PORTS or self.guard.passing():
            return False
        netloc = netloc_of(host, port, scheme)
        return netloc in self._api_hosts or (
            self.source is not None and netloc in self.source.hosts
        )

    def answer(
        self,
        request: Request,
        timeout: float | None = None,
        forward: Callable[[], Response] | None = None,
    ) -> Response:
        """The source's answer, once its delay was slept on the clock.

        ``timeout`` is how many seconds the client waits for it. Where the service is to be asked,
        to record what it says, ``forward()`` does so by the client's own means, and raises the
        client's own errors. Raises ``TransportFault`` for no answer, and the ``IndexJobError`` of a
        source that can't answer, which is kept as a miss.
        """
        exchange, seconds = self._ask(request, timeout, forward)
        if seconds:
            self.clock.sleep(seconds)
        return self._keep(exchange)

    async def answer_async(
        self,
        request: Request,
        timeout: float | None = None,
        forward: Callable[[], Awaitable[Response]] | None = None,
    ) -> Response:
        """As ``answer``, while other tasks run."""
        exchange, seconds = await self._ask_async(request, timeout, forward)
        if seconds:
            await self._sleep_async(exchange, seconds)
        return self._keep(exchange)

    def answer_for_server(self, request: Request) -> Response:
        """The source's answer for a server's client, whose delay the server spends.

        No exception reaches that client: what the test is to fail with is told in the answer.
        """
        try:
            return self._keep(self._ask(request, None)[0])
        except IndexJobError as error:
            return complaints.as_response(error)
        except pytest.fail.Exception:
            raise TransportFault("reset") from None

    def _ask(
        self,
        request: Request,
        timeout: float | None,
        forward: Callable[[], Response] | None = None,
    ) -> tuple[Exchange, float]:
        """What comes of a request, and how many seconds it takes until the client sees that."""
        self._limits.check_requests()
        at = self.clock.elapsed
        try:
            if self.source is None:
                raise complaints.nothing_answers(request, self._test)
            response = self._handle(self.source, request, forward)
        except TransportFault as fault:
            waited = timeout if fault.kind == "timeout" else None
            return Exchange(request, None, fault, at), waited or 0.0
        except IndexJobError as error:
            return Exchange(request, None, error, at), 0.0
        if timeout is not None and response.delay > timeout:
            return Exchange(request, None, TransportFault("timeout"), at), timeout
        return Exchange(request, response, None, at), response.delay

    def _handle(
        self, source: Source, request: Request, forward: Callable[[], Response] | None
    ) -> Response:
        if self.recorder is None or forward is None:
            return source.handle(request)
        response = self.recorder.played(request)
        if response is None:
            with self._kept_error(request), self.guard.let_pass():
                response = forward()
            self.recorder.keep(request, response)
        return response

    async def _ask_async(
        self,
        request: Request,
        timeout: float | None,
        forward: Callable[[], Awaitable[Response]] | None,
    ) -> tuple[Exchange, float]:
        if self.recorder is None or not self.recorder.records:
            return self._ask(request, timeout)
        import asyncio

        self._limits.check_requests()
        at = self.clock.elapsed
        try:
            response = self.recorder.played(request)
            if response is None and forward is None:
                response = await asyncio.to_thread(self.recorder.ask, request)
                self.recorder.keep(request, response)
            elif response is None and forward is not None:
                # Its task, and the threads in which an event loop looks names up.
                everywhere, here = self.guard.let_all_pass(), self.guard.let_pass()
                with self._kept_error(request), everywhere, here:
                    response = await forward()
                self.recorder.keep(request, response)
        except (TransportFault, IndexJobError) as error:
            return Exchange(request, None, error, at), 0.0
        return Exchange(request, response, None, at), 0.0

    @contextlib.contextmanager
    def _kept_error(self, request: Request) -> Iterator[None]:
        """Keep in the journal that the client's own call failed; its error reaches the client."""
        try:
            yield
        except Exception as error:
            late = "timeout" in type(error).__name__.lower()
            fault = TransportFault("timeout" if late else "refused")
            self.journal.add(Exchange(request, None, fault, self.clock.elapsed))
            raise

    async def _sleep_async(self, exchange: Exchange, seconds: float) -> None:
        import asyncio

        try:
            await self.clock.sleep_async(seconds)
        except asyncio.CancelledError:
            # The client gave up before its answer came.
            gave_up = exchange._replace(response=None, error=TransportFault("timeout"))
            self.journal.add(gave_up)
            raise

    def _keep(self, exchange: Exchange) -> Response:
        """Keep what came of a request; gives the response, or raises the error."""
        self.journal.add(exchange)
        if isinstance(exchange.error, IndexJobError):
            self.journal.add_miss(exchange.error)
        if exchange.response is None:
            raise exchange.error or AssertionError("an exchange has a response or an error")
        return exchange.response

    # What the test is told.

    def redact(self, text: str) -> str:
        """Take the secrets out of a text that is to be shown."""
        return self._current_redaction().redact_text(text)

    def redact_values(self, text: str) -> str:
        """Take what is surely secret out of a text that may be anything."""
        return self._current_redaction().redact_values(text)

    def shown_exchanges(self) -> list[Exchange]:
        """The exchanges as they can be shown, which is as a cassette would keep them."""
        return list(map(self._current_redaction().redact_exchange, self.journal.exchanges))

    def _current_redaction(self) -> Redaction:
        """That of what the user named, and of all that the clients have sent so far."""
        from pytest_indexjob.secrecy.redaction import Redaction, credentials

        new = self.journal.exchanges[self._exchanges_read :]
        self._exchanges_read += len(new)
        asked = [each.request for each in new]
        sent = self._sent.union(*(credentials(it.headers, it.url, it.body) for it in asked))
        if self._redaction is None or sent != self._sent:
            self._sent = sent
            self._redaction = self._redaction_of(sent) if self._redaction_of else Redaction(sent)
        return self._redaction

    @property
    def cassettes(self) -> list[str]:
        """The files that were put in front of the test."""
        recordings = self.playback.recordings if self.playback else ()
        return [str(recording.path) for recording in recordings]

    @property
    def sleeps(self) -> list[tuple[float, float]]:
        """When the clock was slept on, and for how long, in seconds."""
        return list(zip(self.clock.slept_at, self.clock.sleeps, strict=True))

    def complaint(self, *, passed: bool = False) -> str:
        """What the test is to fail with, each thing once, or ``""``.

        Unplayed answers count if it ``passed`` so far, and so does a failure of its timeline, which
        only other threads may have met.
        """
        unplayed = self.playback.unplayed if self.playback and self._strict and passed else []
        stuck = self.clock.timeline.failure if self.clock.timeline and passed else ""
        text = complaints.complaint(self._limits.exceeded or stuck, self.journal.misses, unplayed)
        return self.redact(text) if text else ""

    def take_complaint(self, *, passed: bool = False) -> str:
        """As ``complaint``, and what it says is not said again."""
        text = self.complaint(passed=passed)
        self.journal.misses.clear()
        self._limits.exceeded = ""
        return text
