"""The control API of a simulator that is served: so that a suite in another language can drive it.

All of it lies under ``/_indexjob``, where the service has nothing. Bodies are JSON; what makes no
sense is answered 400.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlsplit

from pytest_indexjob.exchange import Exchange, Journal, Request, Response, shown_url
from pytest_indexjob.simulation import faults, scenarios
from pytest_indexjob.simulation.control_access import PREFIX, is_order
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.virtual_time.clock import VirtualClock

# A server may run for days, and its clients may send and get large bodies.
_MOST_KEPT = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_JSON = (("Content-Type", "application/json"),)


class Controlled:
    """A source that answers as the simulator, and under ``/_indexjob`` takes orders.

    ``make`` makes the simulator for a clock, at first and after a reset.
    """

    def __init__(self, clock: VirtualClock, make: Callable[[VirtualClock], Simulator]) -> None:
        self.clock = clock
        self._make = make
        self.simulator = self._new_simulator()
        self._served_at = ""
        self._orders: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", ""): self._index,
            ("POST", "/jobs"): self._start,
            ("POST", "/plan"): self._plan,
            ("POST", "/faults"): self._inject,
            ("GET", "/clock"): self._time,
            ("POST", "/clock"): self._advance,
            ("GET", "/journal"): self._journal,
            ("POST", "/reset"): self._reset,
        }

    def serve_at(self, url: str) -> None:
        """Let every URL in an answer lead to the server at ``url``, after a reset too."""
        self._served_at = url
        self.simulator.serve_at(url)

    def handle(self, request: Request) -> Response:
        """The simulator's answer, or what came of an order."""
        if not is_order(request):
            response = self.simulator.handle(request)
            self.simulator.journal.misses.clear()
            return response
        return self._obey(request, urlsplit(request.url).path[len(PREFIX) :].rstrip("/"))

    def _new_simulator(self) -> Simulator:
        simulator = self._make(self.clock)
        simulator.journal = Journal(most_exchanges=_MOST_KEPT, most_bytes=_MOST_BYTES)
        return simulator

    def _obey(self, request: Request, path: str) -> Response:
        order = self._orders.get((request.method, path))
        if order is None:
            known = ", ".join(f"{method} {PREFIX}{path}" for method, path in self._orders)
            return _answer(
                404, {"id": "not_found", "message": f"there is no such order. There are: {known}"}
            )
        try:
            body = json.loads(request.body or b"{}")
            if not isinstance(body, dict):
                raise TypeError("a JSON object is needed")
            return _answer(200, order(body))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return _answer(400, {"id": "invalid_argument", "message": str(error)[:1000]})

    def _index(self, _body: dict[str, Any]) -> dict[str, Any]:
        orders = [f"{method} {PREFIX}{path}" for method, path in self._orders]
        return {"orders": orders, "scenarios": scenarios.names(), "faults": faults.names()}

    def _start(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body.pop("scenario", "completed")
        return {"job": self.simulator.start(_text(name), **body).to_wire()}

    def _plan(self, body: dict[str, Any]) -> dict[str, Any]:
        self.simulator.plan(_text(body.pop("scenario", "completed")), **body)
        return {}

    def _inject(self, body: dict[str, Any]) -> dict[str, Any]:
        on = body.get("on")
        times = body.get("times", 1)
        if not isinstance(times, int | float) or isinstance(times, bool):
            raise TypeError(f"times must be a number, not {times!r}")
        self.simulator.inject(
            _text(body.get("fault")), times=times, on=None if on is None else _text(on)
        )
        return {}

    def _time(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"elapsed": self.clock.elapsed, "time": self.clock.time()}

    def _advance(self, body: dict[str, Any]) -> dict[str, Any]:
        seconds = body.get("advance")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise TypeError(f"advance must be a number of seconds, not {seconds!r}")
        self.clock.advance(seconds)
        return self._time({})

    def _journal(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"exchanges": [_shown(exchange) for exchange in self.simulator.journal.exchanges]}

    def _reset(self, _body: dict[str, Any]) -> dict[str, Any]:
        self.simulator = self._new_simulator()
        if self._served_at:
            self.simulator.serve_at(self._served_at)
        return {}


def _text(value: object) -> str:
    if not isinstance(value, str):
        _refuse(value)
    return value


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"a name is needed, not {value!r}")


def _shown(exchange: Exchange) -> dict[str, Any]:
    request, response = exchange.request, exchange.response
    status = response.status if response else None
    shown = {
        "method": request.method,
        "url": shown_url(request.url),
        "status": status,
        "at": exchange.at,
    }
    return shown if response else {**shown, "error": str(exchange.error)}


def _answer(status: int, body: Any) -> Response:
    return Response(status, _JSON, json.dumps(body).encode())
