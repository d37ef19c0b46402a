"""What the simulator's resources share: time, ids, pages, refusals, and the reading of a body.

A resource is a file with one class. Its ``handlers`` answer the calls of ``api.calls`` by their
names: each takes the request and the arguments of the path, and returns the JSON of the answer (or
its bytes). It refuses by raising ``Refusal``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pytest_indexjob.api.models import utc
from pytest_indexjob.exchange import Request

if TYPE_CHECKING:
    from pytest_indexjob.api.client import Clock

Handler = Callable[..., "Mapping[str, Any] | bytes"]

# Version 1 uuids of one machine, as the live service's are. Counted up, so that a run repeats
# itself.
NODE = "11f0-9c3a-0a58a9feac02"
LARGEST_BODY = 1024 * 1024
_PER_PAGE = 20  # a guess; the most is one too
_MOST_PER_PAGE = 200
_NAME = re.compile(r"[A-Za-z0-9.-]{3,63}")


class Refusal(Exception):
    """An error answer, on its way out of the call that found the reason."""

    def __init__(self, status: int, id: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.id = id
        self.message = message
        self.headers = headers


def not_found() -> Refusal:
    """404, as the service says it."""
    return Refusal(404, "not_found", "The resource you requested could not be found.")


def invalid(message: str) -> Refusal:
    """400, with the reason."""
    return Refusal(400, "invalid_argument", message)


@dataclasses.dataclass
class Desk:
    """What every resource needs to know: the clock, where the API is, and the guesses.

    ``conflict_status`` and ``conflict_id`` are what the service refuses with where something is in
    use; guesses, as ``cancel_delay`` and ``database_delay`` (both in seconds) are.
    """

    clock: Clock
    base_url: str
    conflict_status: int
    conflict_id: str
    cancel_delay: float
    database_delay: float
    strict: bool
    served_at: str = ""

    def __post_init__(self) -> None:
        self.epoch = self.clock.time() - self.clock.monotonic()

    @property
    def now(self) -> float:
        """The moment on the clock, in seconds."""
        return self.clock.monotonic()

    def time(self, moment: float) -> datetime:
        """The whole second of a moment on the clock, in UTC."""
        return utc(int(self.epoch + moment + 1e-6))

    def conflict(self, message: str) -> Refusal:
        """The refusal of what is in use."""
        return Refusal(self.conflict_status, self.conflict_id, message)

    def page(
        self, request: Request, name: str, items: Sequence[Any], wire: Callable[[Any], Any]
    ) -> dict[str, Any]:
        """One page of items, the newest first (a guess), with its links and its meta."""
        query = parse_qs(urlsplit(request.url).query)
        page = _number(query, "page", 1)
        per_page = min(_number(query, "per_page", _PER_PAGE), _MOST_PER_PAGE)
        total = len(items)
        pages = max(-(-total // per_page), 1)
        last = total - (page - 1) * per_page
        shown = items[max(last - per_page, 0) : max(last, 0)][::-1]
        near = {"first": 1, "previous": page - 1, "next": page + 1, "last": pages}
        if page == 1:
            del near["first"], near["previous"]
        if page >= pages:
            del near["next"], near["last"]
        url = (self.served_at or self.base_url) + urlsplit(request.url).path
        links = {name: f"{url}?page={at}&per_page={per_page}" for name, at in near.items()}
        meta = {"page": page, "pages": pages, "total": total}
        return {name: [wire(item) for item in shown], "links": {"pages": links}, "meta": meta}


def numbered_uuid(first: int, number: int, block: str) -> str:
    """A uuid of version 1, the next one for each number."""
    return f"{(first + number) & 0xFFFFFFFF:08x}-{block}-{NODE}"


def compact(body: object) -> bytes:
    """JSON as the service sends it."""
    return json.dumps(body, separators=(",", ":")).encode()


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise invalid(f"{name} must be a whole number of 1 or more")
    return int(text)


# Bodies of requests.


def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body, ``{}`` for an empty body."""
    if len(request.body) > LARGEST_BODY:
        raise invalid(f"the body is larger than {LARGEST_BODY} bytes")
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def text_in(body: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    """A text of a body; ``""`` where it is absent."""
    value = body.get(name)
    if value is None or (value == "" and not required):
        value = ""
    if not isinstance(value, str) or (required and not value):
        raise invalid(f"{name} {'is required and ' if required else ''}must be a string")
    return value


def name_in(body: Mapping[str, Any]) -> str:
    """The name of something that is made. Source of the rule: the published reference."""
    name = text_in(body, "name", required=True)
    if not _NAME.fullmatch(name):
        raise invalid("name must have 3 to 63 letters, digits, '-' and '.'")
    return name


def object_in(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A JSON object within a body, or ``None``."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"{name} must be an object")
    return value


def list_in(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> list[Any]:
    """A list within a body, ``[]`` where it is absent; each item of one type and not empty."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(_is(item, kind) for item in value):
        raise invalid(f"{name} must be a list, each of its items of the right type")
    return value


def _is(item: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(item, kind) and not isinstance(item, bool) and item != ""


def same_uuid(body: Mapping[str, Any], name: str, uuid: str) -> None:
    """Refuse a body whose uuid is another than the path's."""
    if body.get(name) not in (None, "", uuid):
        raise invalid("the uuid of the body is not that of the path")
