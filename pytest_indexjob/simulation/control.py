"""The control API of a simulator that is served: so that a suite in another language can drive it.

Its orders lie under ``/_indexjob``, where the service has nothing: what a test in Python says by
calling the simulator's methods. Bodies are JSON. An order that can't be obeyed is answered 400 and
changes nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.api.wire import WireModel
from pytest_indexjob.exchange import Exchange, Headers, Journal, Request, Response, shown_url
from pytest_indexjob.simulation import faults, scenarios
from pytest_indexjob.simulation.control_access import PREFIX, is_order
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.simulation.uploads import Upload
from pytest_indexjob.virtual_time.clock import VirtualClock

# A server may run for days, and its clients may send and get large bodies.
_MOST_KEPT = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_JSON = (("Content-Type", "application/json"),)
_MOST_DATA_SOURCES = 100_000
# A schedule starts up to a job a day, so an endless time would be endless work.
_LONGEST_TIME = 100 * 366 * 86400.0


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
            ("GET", "/jobs"): lambda _: self._shown("jobs"),
            ("POST", "/jobs"): self._start,
            ("POST", "/plan"): self._plan,
            ("GET", "/knowledge_bases"): lambda _: self._shown("knowledge_bases"),
            ("POST", "/knowledge_bases"): self._add_knowledge_base,
            ("GET", "/data_sources"): lambda _: self._shown("data_sources"),
            ("POST", "/data_sources"): self._add_data_source,
            ("POST", "/plan_database"): self._plan_database,
            ("GET", "/agents"): lambda _: self._shown("agents"),
            ("GET", "/uploads"): lambda _: self._shown("uploads"),
            ("GET", "/schedules"): lambda _: self._shown("schedules"),
            ("POST", "/answers"): self._add_answer,
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
        except (ValueError, TypeError, ArithmeticError, RecursionError, IndexJobError) as error:
            return _answer(400, {"id": "invalid_argument", "message": str(error)[:1000]})

    def _index(self, _body: dict[str, Any]) -> dict[str, Any]:
        orders = [f"{method} {PREFIX}{path}" for method, path in self._orders]
        return {"orders": orders, "scenarios": scenarios.names(), "faults": faults.names()}

    def _shown(self, what: str) -> dict[str, Any]:
        return {what: [_wire(each) for each in getattr(self.simulator, what)]}

    def _start(self, body: dict[str, Any]) -> dict[str, Any]:
        name = _checked_scenario(body)
        for field in ("uuid", "knowledge_base_uuid"):
            if body.get(field) is not None:
                _text(body[field], field)
        return {"job": self.simulator.start(name, **body).to_wire()}

    def _plan(self, body: dict[str, Any]) -> dict[str, Any]:
        self.simulator.plan(_checked_scenario(body), **body)
        return {}

    def _add_knowledge_base(self, body: dict[str, Any]) -> dict[str, Any]:
        name = _text(body.pop("name", "knowledge-base"), "name")
        database = _text(body.pop("database", "ready"), "database")
        after = _seconds(body.pop("after", None))
        added = self.simulator.add_knowledge_base(name, database=database, after=after, **body)
        return {"knowledge_base": added.to_wire()}

    def _add_data_source(self, body: dict[str, Any]) -> dict[str, Any]:
        uuid = _text(body.pop("knowledge_base_uuid", None), "knowledge_base_uuid")
        try:
            added = self.simulator.add_data_source(uuid, **body)
        except KeyError:
            raise ValueError(
                f"there is no knowledge base {uuid!r}: make it with POST {PREFIX}/knowledge_bases"
            ) from None
        return {"knowledge_base_data_source": added.to_wire()}

    def _plan_database(self, body: dict[str, Any]) -> dict[str, Any]:
        life = _text(body.get("life", "online"), "life")
        self.simulator.plan_database(life, after=_seconds(body.get("after")))
        return {}

    def _add_answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.simulator.answer(
            _text(body.get("method"), "method"),
            _text(body.get("path"), "path"),
            json=body.get("json"),
            status=body.get("status", 200),
            headers=_headers(body.get("headers") or {}),
            times=math.inf if body.get("times") is None else _number(body["times"], "times"),
        )
        return {}

    def _inject(self, body: dict[str, Any]) -> dict[str, Any]:
        on = body.get("on")
        self.simulator.inject(
            _text(body.get("fault"), "fault"),
            times=_number(body.get("times", 1), "times"),
            on=None if on is None else _text(on, "on"),
        )
        return {}

    def _time(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"elapsed": self.clock.elapsed, "time": self.clock.time()}

    def _advance(self, body: dict[str, Any]) -> dict[str, Any]:
        seconds = _number(body.get("advance"), "advance")
        if self.clock.elapsed + seconds > _LONGEST_TIME:
            raise ValueError(f"the clock goes at most {_LONGEST_TIME:.0f} seconds from its start")
        self.clock.advance(seconds)
        return self._time({})

    def _journal(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {
            "exchanges": [
                _shown_exchange(exchange) for exchange in self.simulator.journal.exchanges
            ]
        }

    def _reset(self, _body: dict[str, Any]) -> dict[str, Any]:
        self.simulator = self._new_simulator()
        if self._served_at:
            self.simulator.serve_at(self._served_at)
        return {}


def _checked_scenario(body: dict[str, Any]) -> str:
    """The scenario's name, which is taken out of the body; what is left are overrides."""
    for name in ("data_sources", "total_data_sources"):
        count = body.get(name)
        if isinstance(count, int | float) and count > _MOST_DATA_SOURCES:
            raise ValueError(f"{name} must be at most {_MOST_DATA_SOURCES}, not {count!r}")
    return _text(body.pop("scenario", "completed"), "scenario")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return value


def _seconds(value: object) -> float | None:
    return None if value is None else _number(value, "after")


def _headers(value: object) -> Headers:
    if not isinstance(value, dict):
        raise TypeError("headers must be an object of names and values")
    return tuple(value.items())


def _wire(shown: object) -> Any:
    """A part of the simulator's state as JSON: an agent is JSON already."""
    if isinstance(shown, WireModel):
        return shown.to_wire()
    if isinstance(shown, Upload):
        body = None if shown.body is None else base64.b64encode(shown.body).decode()
        return dataclasses.asdict(shown) | {"body": body}
    return shown


def _shown_exchange(exchange: Exchange) -> dict[str, Any]:
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
