"""Agents, as far as knowledge bases hang on them. What is not known of an agent is kept as it came.

Source of facts: the published reference for the paths. Guess: an agent's fields beyond its uuid,
its times and its knowledge bases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_indexjob.simulation.resource import (
    Handler,
    Resource,
    bad_argument,
    json_object,
    made_uuid,
    not_found,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_indexjob.exchange import Request
    from pytest_indexjob.simulation.bases import Base, Bases
    from pytest_indexjob.simulation.simulator import Simulator

# A body can't set these fields: the service gives them.
_GIVEN = ("uuid", "knowledge_bases", "knowledge_base_uuid", "created_at", "updated_at")


class Agents(Resource):
    """The agents of a simulator, each with the uuids of its knowledge bases."""

    def __init__(
        self, simulator: Simulator, bases: Bases, wire_base: Callable[[Base], dict[str, Any]]
    ) -> None:
        super().__init__(simulator)
        self._bases = bases
        self._wire_base = wire_base
        self._made = 0
        self._agents: dict[str, dict[str, Any]] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {
            "agents.create": self._create,
            "agents.list": self._list,
            "agents.get": lambda _request, uuid: self._answer(self._found(uuid)),
            "agents.update": self._update,
            "agents.delete": self._delete,
            "agents.attach_all": self._attach_all,
            "agents.attach": lambda _request, uuid, base: self._attach(uuid, [base]),
            "agents.detach": self._detach,
        }

    @property
    def all(self) -> tuple[dict[str, Any], ...]:
        """The agents as the service would send them now."""
        return tuple(self._wire(uuid) for uuid in self._agents)

    def _found(self, uuid: str) -> str:
        if uuid not in self._agents:
            raise not_found()
        return uuid

    def _create(self, request: Request) -> bytes:
        body = json_object(request)
        _check(body)
        named = _texts(body, "knowledge_base_uuid")
        for each in named:
            self._bases.found(each)
        uuid = made_uuid(0x3C4D5E6F, self._made, "b5f2")
        self._made += 1
        now = self._shown_now()
        self._agents[uuid] = _kept(body) | {"uuid": uuid, "created_at": now, "updated_at": now}
        self._bases.attached[uuid] = list(dict.fromkeys(named))
        return self._answer(uuid)

    def _list(self, request: Request) -> bytes:
        shown, rest = self._page(request, tuple(self._agents))
        return written({"agents": [self._wire(uuid) for uuid in shown], **rest})

    def _update(self, request: Request, uuid: str) -> bytes:
        self._found(uuid)
        body = json_object(request)
        _check(body)
        if body.get("uuid") not in (None, "", uuid):
            raise bad_argument("the uuid of the body is not that of the path")
        self._agents[uuid] |= _kept(body) | {"updated_at": self._shown_now()}
        return self._answer(uuid)

    def _delete(self, _request: Request, uuid: str) -> bytes:
        body = self._answer(self._found(uuid))
        del self._agents[uuid], self._bases.attached[uuid]
        return body

    def _attach_all(self, request: Request, uuid: str) -> bytes:
        return self._attach(uuid, _texts(json_object(request), "knowledge_base_uuids"))

    def _attach(self, uuid: str, knowledge_base_uuids: list[str]) -> bytes:
        self._found(uuid)
        for each in knowledge_base_uuids:
            self._bases.found(each)
        attached = self._bases.attached[uuid]
        attached += [each for each in knowledge_base_uuids if each not in attached]
        return self._answer(uuid)

    def _detach(self, _request: Request, uuid: str, knowledge_base_uuid: str) -> bytes:
        attached = self._bases.attached[self._found(uuid)]
        if knowledge_base_uuid not in attached:
            raise not_found()
        attached.remove(knowledge_base_uuid)
        return self._answer(uuid)

    def _shown_now(self) -> str:
        return self._time(self._now()).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _wire(self, uuid: str) -> dict[str, Any]:
        bases = [self._bases.by_uuid.get(each) for each in self._bases.attached[uuid]]
        shown = [self._wire_base(base) for base in bases if base is not None]
        return self._agents[uuid] | ({"knowledge_bases": shown} if shown else {})

    def _answer(self, uuid: str) -> bytes:
        return written({"agent": self._wire(uuid)})


def _kept(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _GIVEN}


def _check(body: dict[str, Any]) -> None:
    for name in ("uuid", "name", "description", "instruction", "project_id", "region"):
        if body.get(name) is not None and not isinstance(body[name], str):
            raise bad_argument(f"{name} must be a string")


def _texts(body: dict[str, Any], name: str) -> list[str]:
    texts = body.get(name)
    texts = [] if texts is None else texts
    if not isinstance(texts, list) or not all(isinstance(each, str) and each for each in texts):
        raise bad_argument(f"{name} must be a list of strings")
    return texts
