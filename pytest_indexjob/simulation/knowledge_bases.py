"""Knowledge bases of the simulator, and the lives of their databases.

Guesses: how long a new database is CREATING, that a knowledge base with a ``database_id`` is ready
at once, that the first job starts when the database is ONLINE, and that what is in use can't be
deleted.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_indexjob.api.knowledge_bases import DatabaseStatus, KnowledgeBase
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation import faults
from pytest_indexjob.simulation.resource import (
    Desk,
    Handler,
    Refusal,
    json_object,
    list_in,
    name_in,
    not_found,
    numbered_uuid,
    object_in,
    same_uuid,
    text_in,
)

_TEXTS = ("project_id", "region", "embedding_model_uuid", "database_id")
# What each life of a database ends in; it is CREATING before. "never" stays so.
DATABASE_LIVES: Mapping[str, DatabaseStatus] = {
    "online": DatabaseStatus.ONLINE,
    "unhealthy": DatabaseStatus.UNHEALTHY,
    "decommissioned": DatabaseStatus.DECOMMISSIONED,
    "never": DatabaseStatus.CREATING,
}


@dataclasses.dataclass
class Entry:
    """A knowledge base as the simulator keeps it. Moments are seconds on the clock."""

    model: KnowledgeBase
    life: str
    ready_at: float

    def status(self, now: float) -> DatabaseStatus:
        """How its database stands."""
        return DATABASE_LIVES[self.life] if now >= self.ready_at else DatabaseStatus.CREATING


class KnowledgeBases:
    """All knowledge bases. ``in_use(uuid)`` says why one can't be deleted, or ``""``."""

    def __init__(
        self,
        desk: Desk,
        *,
        latest_job: Callable[[str], IndexingJob | None],
        add_source: Callable[[str, Mapping[str, Any]], object],
        check_source: Callable[[Mapping[str, Any]], object],
        in_use: Callable[[str], str],
        forget: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self._latest_job = latest_job
        self._add_source = add_source
        self._check_source = check_source
        self._in_use = in_use
        self._forget = forget
        self._entries: dict[str, Entry] = {}
        self._to_index: set[str] = set()  # whose first job starts by itself
        self._made = 0
        self._plan: tuple[str, float | None] = ("online", None)
        self.handlers: dict[str, Handler] = {
            "knowledge_bases.create": self._create,
            "knowledge_bases.list": self._list,
            "knowledge_bases.get": self._get,
            "knowledge_bases.update": self._update,
            "knowledge_bases.delete": self._delete,
        }

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._entries

    @property
    def all(self) -> tuple[KnowledgeBase, ...]:
        """All knowledge bases as GET shows them, in the order in which they were made."""
        return tuple(self._shown(entry) for entry in self._entries.values())

    def plan(self, life: str, after: float | None) -> None:
        """Say how the databases live of knowledge bases that a client makes."""
        check_life(life)
        self._plan = (life, after)

    def add(
        self, model: KnowledgeBase, *, database: str = "online", after: float = 0.0
    ) -> KnowledgeBase:
        """Keep a knowledge base. Raises ``ValueError`` for a uuid that is taken."""
        return self._shown(self._keep(model, database, after))

    def _keep(self, model: KnowledgeBase, database: str, after: float) -> Entry:
        check_life(database)
        if model.uuid in self._entries:
            raise ValueError(f"there is a knowledge base {model.uuid} already")
        now = self._desk.now
        self._made += 1
        moment = self._desk.time(now)
        model = dataclasses.replace(
            model,
            uuid=model.uuid or numbered_uuid(0x61F7A3DE, self._made - 1, "b5f2"),
            database_id=model.database_id or numbered_uuid(0x8A2E1F00, self._made - 1, "b5f2"),
            created_at=model.created_at or moment,
            updated_at=model.updated_at or moment,
        )
        entry = Entry(model, database, now + after)
        self._entries[model.uuid] = entry
        return entry

    def require(self, uuid: str) -> Entry:
        """The knowledge base. Refuses with 404 for an unknown uuid."""
        entry = self._entries.get(uuid)
        if entry is None:
            raise not_found()
        return entry

    def check_ready(self, uuid: str) -> None:
        """Refuse a job before the database is ONLINE; an unknown knowledge base springs into being.

        With ``strict`` an unknown knowledge base is refused with 404.
        """
        if uuid not in self._entries:
            if self._desk.strict:
                raise not_found()
            self.spring(uuid)
            return
        if self._entries[uuid].status(self._desk.now) is not DatabaseStatus.ONLINE:
            # As the fault `provisioning`: the message was seen live, status and id are guesses.
            fault = faults.get("provisioning")
            said = json.loads(fault.body or b"{}")
            raise Refusal(fault.status or 400, said["id"], said["message"])

    def spring(self, uuid: str) -> None:
        """Let a knowledge base be there that nobody made."""
        if uuid not in self._entries:
            self._keep(KnowledgeBase(uuid=uuid, name=f"kb-{uuid[:8]}"), "online", 0.0)

    def due(self, now: float) -> list[tuple[float, str]]:
        """The first jobs that start by themselves until now: the moment, and the knowledge base."""
        found = [
            (self._entries[uuid].ready_at, uuid)
            for uuid in self._to_index
            if self._entries[uuid].status(now) is DatabaseStatus.ONLINE
        ]
        self._to_index.difference_update(uuid for _, uuid in found)
        return found

    def _shown(self, entry: Entry) -> KnowledgeBase:
        return dataclasses.replace(
            entry.model, last_indexing_job=self._latest_job(entry.model.uuid)
        )

    def wire(self, uuid: str) -> dict[str, Any]:
        """A knowledge base as JSON."""
        return self._shown(self._entries[uuid]).to_wire()

    # The calls.

    def _create(self, request: Request) -> dict[str, Any]:
        body = json_object(request)
        name = name_in(body)
        if any(entry.model.name == name for entry in self._entries.values()):
            raise self._desk.conflict(f"there is a knowledge base named {name} already")  # a guess
        given: dict[str, Any] = {field: text_in(body, field) for field in _TEXTS}
        sources = list_in(body, "datasources", dict)
        for source in sources:
            self._check_source(source)
        tags = tuple(list_in(body, "tags", str))
        reranking = object_in(body, "reranking_config")
        model = KnowledgeBase(name=name, tags=tags, reranking_config=reranking, **given)
        life, after = self._plan
        # With a database that is there already it is ready at once: a guess.
        delay = 0.0 if given["database_id"] and after is None else after
        shown = self.add(
            model, database=life, after=self._desk.database_delay if delay is None else delay
        )
        for source in sources:
            self._add_source(shown.uuid, source)
        if sources:
            self._to_index.add(shown.uuid)
        return {"knowledge_base": self.wire(shown.uuid)}

    def _list(self, request: Request) -> dict[str, Any]:
        entries = list(self._entries.values())
        return self._desk.page(
            request, "knowledge_bases", entries, lambda entry: self._shown(entry).to_wire()
        )

    def _get(self, _request: Request, uuid: str) -> dict[str, Any]:
        entry = self.require(uuid)
        status = entry.status(self._desk.now)
        return {"knowledge_base": self.wire(uuid), "database_status": status.value}

    def _update(self, request: Request, uuid: str) -> dict[str, Any]:
        body = json_object(request)
        same_uuid(body, "uuid", uuid)
        entry = self.require(uuid)
        changed: dict[str, Any] = {
            field: text for field in ("project_id", "database_id") if (text := text_in(body, field))
        }
        if body.get("name") not in (None, ""):
            changed["name"] = name_in(body)
        reranking = object_in(body, "reranking_config")
        if reranking is not None:
            changed["reranking_config"] = reranking
        moment = self._desk.time(self._desk.now)
        entry.model = dataclasses.replace(entry.model, updated_at=moment, **changed)
        return {"knowledge_base": self.wire(uuid)}

    def _delete(self, _request: Request, uuid: str) -> dict[str, Any]:
        self.require(uuid)
        reason = self._in_use(uuid)
        if reason:
            raise self._desk.conflict(reason)
        del self._entries[uuid]
        self._to_index.discard(uuid)
        self._forget(uuid)
        return {"uuid": uuid}


def check_life(life: str) -> None:
    """Raise ``ValueError``, naming the lives, for a name that is none."""
    if life not in DATABASE_LIVES:
        near = difflib.get_close_matches(str(life), DATABASE_LIVES, n=1)
        did = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{life!r} is no life of a database{did}: {', '.join(DATABASE_LIVES)}")
