"""Agents of the simulator, as far as knowledge bases hang on them.

What an agent's body holds besides is kept as it came, and given back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation.resource import (
    Desk,
    Handler,
    json_object,
    list_in,
    not_found,
    numbered_uuid,
    text_in,
)


class Agents:
    """All agents. ``require(uuid)`` refuses for an unknown knowledge base; ``wire`` shows one."""

    def __init__(
        self,
        desk: Desk,
        *,
        require: Callable[[str], object],
        wire: Callable[[str], dict[str, Any]],
    ) -> None:
        self._desk = desk
        self._require = require
        self._wire = wire
        self._by_uuid: dict[str, dict[str, Any]] = {}
        self._attached: dict[str, list[str]] = {}
        self._made = 0
        self.handlers: dict[str, Handler] = {
            "agents.create": self._create,
            "agents.list": self._list,
            "agents.get": self._get,
            "agents.update": self._update,
            "agents.delete": self._delete,
            "agents.attach_all": self._attach_all,
            "agents.attach": self._attach,
            "agents.detach": self._detach,
        }

    @property
    def all(self) -> tuple[dict[str, Any], ...]:
        """All agents as GET shows them, in the order in which they were made."""
        return tuple(self._shown(uuid) for uuid in self._by_uuid)

    def user_of(self, knowledge_base_uuid: str) -> str:
        """The uuid of an agent that has the knowledge base, or ``""``."""
        users = (uuid for uuid, kbs in self._attached.items() if knowledge_base_uuid in kbs)
        return next(users, "")

    def _shown(self, uuid: str) -> dict[str, Any]:
        knowledge_bases = [self._wire(each) for each in self._attached[uuid]]
        return {**self._by_uuid[uuid], "knowledge_bases": knowledge_bases}

    def _found(self, uuid: str) -> dict[str, Any]:
        if uuid not in self._by_uuid:
            raise not_found()
        return self._by_uuid[uuid]

    def _now(self) -> str:
        return self._desk.time(self._desk.now).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _create(self, request: Request) -> dict[str, Any]:
        body = json_object(request)
        text_in(body, "name", required=True)
        wanted = list_in(body, "knowledge_base_uuid", str)
        for each in wanted:
            self._require(each)
        number, self._made = self._made, self._made + 1
        uuid = numbered_uuid(0xA6E27000, number, "b5f2")
        body.pop("knowledge_base_uuid", None)
        now = self._now()
        self._by_uuid[uuid] = {**body, "uuid": uuid, "created_at": now, "updated_at": now}
        self._attached[uuid] = list(dict.fromkeys(wanted))
        return {"agent": self._shown(uuid)}

    def _list(self, request: Request) -> dict[str, Any]:
        return self._desk.page(request, "agents", list(self._by_uuid), self._shown)

    def _get(self, _request: Request, uuid: str) -> dict[str, Any]:
        self._found(uuid)
        return {"agent": self._shown(uuid)}

    def _update(self, request: Request, uuid: str) -> dict[str, Any]:
        agent = self._found(uuid)
        body = json_object(request)
        kept = {"uuid": uuid, "created_at": agent["created_at"], "updated_at": self._now()}
        self._by_uuid[uuid] = {**agent, **body, **kept}
        return {"agent": self._shown(uuid)}

    def _delete(self, _request: Request, uuid: str) -> dict[str, Any]:
        self._found(uuid)
        shown = self._shown(uuid)
        del self._by_uuid[uuid], self._attached[uuid]
        return {"agent": shown}

    def _attach_all(self, request: Request, uuid: str) -> dict[str, Any]:
        self._found(uuid)
        wanted = list_in(json_object(request), "knowledge_base_uuids", str)
        for each in wanted:
            self._require(each)
        for each in wanted:
            self._attach(request, uuid, each)
        return {"agent": self._shown(uuid)}

    def _attach(self, _request: Request, uuid: str, knowledge_base_uuid: str) -> dict[str, Any]:
        self._found(uuid)
        self._require(knowledge_base_uuid)
        if knowledge_base_uuid not in self._attached[uuid]:
            self._attached[uuid].append(knowledge_base_uuid)
        return {"agent": self._shown(uuid)}

    def _detach(self, _request: Request, uuid: str, knowledge_base_uuid: str) -> dict[str, Any]:
        self._found(uuid)
        if knowledge_base_uuid not in self._attached[uuid]:
            raise not_found()
        self._attached[uuid].remove(knowledge_base_uuid)
        return {"agent": self._shown(uuid)}
