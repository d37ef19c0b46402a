"""What the resources share: refusals, pages with their links, bodies in JSON, uuids and times."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pytest_indexjob.api.calls import api_path
from pytest_indexjob.api.models import utc
from pytest_indexjob.api.wire import INT64_MAX

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_indexjob.exchange import Request
    from pytest_indexjob.simulation.simulator import Simulator

Handler = Callable[..., bytes]

# Version 1 uuids of one machine, as the live service's are. Counted up, so that a run repeats
# itself.
_NODE = "11f0-9c3a-0a58a9feac02"
_LARGEST_BODY = 1024 * 1024
_DEEPEST_BODY = 100  # as protobuf's JSON
# Sums of floats fall short of a moment by less than a clock could tell.
ROUNDING = 1e-6


class Refusal(Exception):
    """An error answer, raised by the call that found the reason."""

    def __init__(self, status: int, id: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.id = id
        self.message = message
        self.headers = headers


def bad_argument(message: str) -> Refusal:
    """The refusal of a request whose body or query is wrong."""
    return Refusal(400, "invalid_argument", message)


def not_found() -> Refusal:
    """The refusal of a request for a resource that is not there."""
    return Refusal(404, "not_found", "The resource you requested could not be found.")


class Resource:
    """One kind of resource: its state, and a handler for each of its calls."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        raise NotImplementedError

    def _now(self) -> float:
        """The moment that an answer tells of, in the clock's seconds."""
        return self._simulator.clock.monotonic() - self._simulator.read_age

    def _wall_time(self) -> float:
        """Seconds since the epoch."""
        return self._simulator.epoch + self._simulator.clock.monotonic()

    def _time(self, at: float) -> datetime:
        """The time of day of a moment of the monotonic clock, in whole seconds as the service's."""
        return utc(int(self._simulator.epoch + at + ROUNDING))

    def _page(self, request: Request, items: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The items of the page that a request asks for, and the links and meta.

        ``items`` are in the order in which they were made.
        """
        parts = urlsplit(request.url)
        query = parse_qs(parts.query, keep_blank_values=True)
        page = _number(query, "page", 1)
        per_page = min(
            _number(query, "per_page", self._simulator.per_page), self._simulator.most_per_page
        )
        total = len(items)
        pages = max(-(-total // per_page), 1)
        begin, end = (page - 1) * per_page, page * per_page
        if self._simulator.newest_first:
            shown = items[max(total - end, 0) : max(total - begin, 0)][::-1]
        else:
            shown = items[begin:end]
        # A page beyond the end leads back to the last page.
        before = min(page - 1, pages)
        near = {"first": 1, "previous": before, "next": page + 1, "last": pages}
        if page == 1:
            del near["first"], near["previous"]
        if page >= pages:
            del near["next"], near["last"]
        base = self._simulator.served_at or self._simulator.base_url
        path = api_path(request.url)
        links = {
            name: f"{base}{path}?page={number}&per_page={per_page}" for name, number in near.items()
        }
        return shown, links_and_meta(links, page, pages, total)


def links_and_meta(links: dict[str, str], page: int, pages: int, total: int) -> dict[str, Any]:
    """What follows the items of a list."""
    return {
        "links": {"pages": links},
        "meta": {"page": page, "pages": pages, "total": total},
    }


def written(body: dict[str, Any]) -> bytes:
    """A JSON object as bytes."""
    return json.dumps(body, separators=(",", ":")).encode()


def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises ``Refusal`` for any other body."""
    if len(request.body) > _LARGEST_BODY:
        raise bad_argument(f"the body is larger than {_LARGEST_BODY} bytes")
    try:
        body = json.loads(request.body.decode() or "{}", parse_float=_number_of)
        # Neither NaN, nor a number too large for a float, nor half a character is JSON.
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise bad_argument("the body is not JSON") from None
    if not isinstance(body, dict):
        raise bad_argument("the body must be a JSON object")
    if _is_deeper(body, _DEEPEST_BODY):
        raise bad_argument(f"the body has more than {_DEEPEST_BODY} levels")
    return body


def _number_of(text: str) -> float:
    """A JSON number that is written with a point or an exponent; 3.0 is the whole number 3."""
    number = float(text)
    return int(number) if abs(number) <= INT64_MAX and number.is_integer() else number


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def made_uuid(first: int, number: int, group: str = "b5f1") -> str:
    """The uuid of a resource's member: ``first`` is the resource's own, ``number`` counts up."""
    return f"{(first + number) & 0xFFFFFFFF:08x}-{group}-{_NODE}"


def checked_times(times: object) -> float:
    """How often something is to happen. Raises ``ValueError`` for what is no number of times."""
    is_number = isinstance(times, int | float) and not isinstance(times, bool) and times > 0
    if not is_number or (times != math.inf and times != int(times)):  # type: ignore[call-overload]
        raise ValueError(
            f'times must be a whole number of 1 or more, or float("inf") for always, not {times!r}'
        )
    return times  # type: ignore[return-value]


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    if not re.fullmatch(r"[0-9]{1,19}", text) or not 1 <= int(text) <= INT64_MAX:
        raise bad_argument(f"{name} must be a whole number of 1 to {INT64_MAX}")
    return int(text)
