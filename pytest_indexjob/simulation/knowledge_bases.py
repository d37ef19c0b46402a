"""The calls of knowledge bases and of their data sources.

Source of facts: the published OpenAPI, the documentation (names, that a knowledge base made with
data sources is indexed by itself). Guesses are settings of ``Simulator``: when this job starts,
whether what is in use can be deleted, whether deleting a data source starts a job.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_indexjob.api.knowledge_bases import KnowledgeBase, KnowledgeBaseDataSource
from pytest_indexjob.simulation.bases import (
    Base,
    Bases,
    DatabaseLife,
    read_model,
    read_source,
    refuse_use,
)
from pytest_indexjob.simulation.resource import (
    Handler,
    Refusal,
    Resource,
    bad_argument,
    json_object,
    written,
)

if TYPE_CHECKING:
    from pytest_indexjob.exchange import Request
    from pytest_indexjob.simulation.jobs import Jobs
    from pytest_indexjob.simulation.simulator import Simulator

_NAME = re.compile(r"[A-Za-z0-9.-]{3,63}\Z")  # doc
_SETTABLE = (
    "name",
    "project_id",
    "region",
    "embedding_model_uuid",
    "database_id",
    "tags",
    "reranking_config",
)
_CHANGEABLE = ("name", "project_id", "database_id", "tags", "reranking_config")


class KnowledgeBases(Resource):
    """The knowledge bases of a simulator."""

    def __init__(self, simulator: Simulator, bases: Bases, jobs: Jobs) -> None:
        super().__init__(simulator)
        self._bases = bases
        self._jobs = jobs
        self._life: DatabaseLife | None = None
        self._to_index: list[Base] = []

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {
            "knowledge_bases.create": self._create,
            "knowledge_bases.list": self._list,
            "knowledge_bases.get": self._get,
            "knowledge_bases.update": self._update,
            "knowledge_bases.delete": self._delete,
        }

    # What a test says.

    def plan_database(self, life: DatabaseLife) -> None:
        """Choose the life of the databases of the knowledge bases that POST makes."""
        self._life = life

    def start_due(self) -> None:
        """Start the jobs of the knowledge bases whose databases have come online."""
        for base in tuple(self._to_index):
            due_at = base.online_at if self._simulator.first_job_waits else base.created
            if due_at is not None and due_at <= self._now():
                self._to_index.remove(base)
                self.start_job(base, due_at)

    def start_job(self, base: Base, created: float) -> None:
        """Start a job that no call asked for, unless there is nothing to index or a job runs."""
        if base.sources and not self._jobs.is_busy(base.uuid, created):
            with contextlib.suppress(Refusal):
                self._jobs.start_planned(base, created=created)

    # The calls.

    def _create(self, request: Request) -> bytes:
        body = json_object(request)
        model = read_model(KnowledgeBase, _chosen(body, _SETTABLE))
        _require_name(model.name)
        listed = body.get("datasources")
        listed = [] if listed is None else listed
        if not isinstance(listed, list):
            raise bad_argument("datasources must be a list")
        sources = [read_source(each) for each in listed]
        base = self.add(model, self._life_of(model))
        for source in sources:
            self._bases.add_source(base, self.timed(source))
        if sources and (base.online_at is not None or not self._simulator.first_job_waits):
            self._to_index.append(base)
            self.start_due()
        return written({"knowledge_base": self.wire(base)})

    def _life_of(self, model: KnowledgeBase) -> DatabaseLife:
        if model.database_id:
            return DatabaseLife.of("online", self._simulator.own_database_delay)
        return self._life or DatabaseLife.of("online", self._simulator.database_delay)

    def add(self, model: KnowledgeBase, life: DatabaseLife, *, is_implied: bool = False) -> Base:
        """Make a knowledge base now. Raises ``ValueError`` for a uuid that is taken."""
        now = self._time(self._now())
        base = self._bases.add(
            dataclasses.replace(
                model, created_at=model.created_at or now, updated_at=model.updated_at or now
            ),
            self._now(),
            life,
            is_implied=is_implied,
        )
        if not base.model.database_id:
            base.model = dataclasses.replace(base.model, database_id=f"database-{base.uuid}")
        return base

    def timed(self, source: KnowledgeBaseDataSource) -> KnowledgeBaseDataSource:
        """A data source that is made now."""
        now = self._time(self._now())
        return dataclasses.replace(
            source, created_at=source.created_at or now, updated_at=source.updated_at or now
        )

    def _list(self, request: Request) -> bytes:
        shown, rest = self._page(request, tuple(self._bases.by_uuid.values()))
        return written({"knowledge_bases": [self.wire(base) for base in shown], **rest})

    def _get(self, _request: Request, uuid: str) -> bytes:
        base = self._bases.found(uuid)
        status = base.database_status(self._now()).value
        return written({"knowledge_base": self.wire(base), "database_status": status})

    def _update(self, request: Request, uuid: str) -> bytes:
        base = self._bases.found(uuid)
        body = json_object(request)
        if body.get("uuid") not in (None, "", uuid):
            raise bad_argument("the uuid of the body is not that of the path")
        given = _chosen(body, _CHANGEABLE)
        model = read_model(KnowledgeBase, given)
        changes = {name: getattr(model, name) for name in given if given[name] is not None}
        if "name" in changes:
            _require_name(model.name)
        base.model = dataclasses.replace(base.model, **changes, updated_at=self._time(self._now()))
        return written({"knowledge_base": self.wire(base)})

    def _delete(self, _request: Request, uuid: str) -> bytes:
        base = self._bases.found(uuid)
        in_use = self._bases.is_attached(uuid) or self._jobs.is_busy(uuid, self._now())
        if in_use and not self._simulator.deletes_in_use:
            simulator = self._simulator
            raise refuse_use(
                simulator.conflict_status, simulator.conflict_id, f"knowledge base {uuid}"
            )
        self._bases.remove(base)
        if base in self._to_index:
            self._to_index.remove(base)
        return written({"uuid": uuid})

    def wire(self, base: Base) -> dict[str, Any]:
        """A knowledge base as the service would send it now, with its last job as GET shows it."""
        wire = base.model.to_wire()
        job = self._jobs.latest(base.uuid)
        if job is not None:
            wire["last_indexing_job"] = self._jobs.wire(job)
        return wire


class DataSources(Resource):
    """The data sources of a simulator's knowledge bases."""

    def __init__(
        self, simulator: Simulator, bases: Bases, jobs: Jobs, knowledge_bases: KnowledgeBases
    ) -> None:
        super().__init__(simulator)
        self._bases = bases
        self._jobs = jobs
        self._knowledge_bases = knowledge_bases

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {
            "data_sources.create": self._create,
            "data_sources.list": self._list,
            "data_sources.update": self._update,
            "data_sources.delete": self._delete,
        }

    def _create(self, request: Request, uuid: str) -> bytes:
        base = self._bases.found(uuid)
        body = json_object(request)
        _check_base(body, uuid)
        source = self._knowledge_bases.timed(read_source(body))
        added = self._bases.add_source(base, source)
        return written({"knowledge_base_data_source": self.wire(base, added)})

    def _list(self, request: Request, uuid: str) -> bytes:
        base = self._bases.found(uuid)
        shown, rest = self._page(request, tuple(base.sources.values()))
        wires = [self.wire(base, source) for source in shown]
        return written({"knowledge_base_data_sources": wires, **rest})

    def _update(self, request: Request, uuid: str, source_uuid: str) -> bytes:
        base = self._bases.found(uuid)
        source = self._bases.found_source(base, source_uuid)
        body = json_object(request)
        _check_base(body, uuid)
        if body.get("data_source_uuid") not in (None, "", source_uuid):
            raise bad_argument("the data_source_uuid of the body is not that of the path")
        given = _chosen(body, ("chunking_algorithm", "chunking_options"))
        model = read_model(KnowledgeBaseDataSource, given)
        changes = {name: getattr(model, name) for name in given if given[name] is not None}
        changed = dataclasses.replace(source, **changes, updated_at=self._time(self._now()))
        base.sources[source_uuid] = changed
        return written({"knowledge_base_data_source": self.wire(base, changed)})

    def _delete(self, _request: Request, uuid: str, source_uuid: str) -> bytes:
        base = self._bases.found(uuid)
        self._bases.found_source(base, source_uuid)
        simulator = self._simulator
        if self._jobs.is_busy(uuid, self._now()) and not simulator.deletes_in_use:
            raise refuse_use(
                simulator.conflict_status, simulator.conflict_id, f"data source {source_uuid}"
            )
        del base.sources[source_uuid], self._bases.owners[source_uuid]
        if simulator.delete_starts_job and base.is_online(self._now()):
            self._knowledge_bases.start_job(base, self._now())
        return written({"data_source_uuid": source_uuid, "knowledge_base_uuid": uuid})

    def wire(self, base: Base, source: KnowledgeBaseDataSource) -> dict[str, Any]:
        """A data source as the service would send it now, with its part in the last job."""
        wire = source.to_wire()
        part = self._jobs.latest_part(base.uuid, source.uuid)
        if part is not None:
            wire["last_datasource_indexing_job"] = part
        return wire


def _chosen(body: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: body[name] for name in names if name in body}


def check_name(name: str) -> None:
    """Raise ``ValueError`` for what can't be the name of a knowledge base."""
    if not _NAME.match(name):
        raise ValueError("name must have 3 to 63 letters, digits, hyphens and dots")


def _require_name(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise bad_argument(str(error)) from None


def _check_base(body: dict[str, Any], uuid: str) -> None:
    if body.get("knowledge_base_uuid") not in (None, "", uuid):
        raise bad_argument("the knowledge_base_uuid of the body is not that of the path")
