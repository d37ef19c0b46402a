"""Data sources of the simulator's knowledge bases. That deleting one starts no job is a guess."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.knowledge_bases import (
    SECRET_FIELDS,
    SOURCE_KINDS,
    KnowledgeBaseDataSource,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation.resource import (
    Desk,
    Handler,
    invalid,
    json_object,
    not_found,
    numbered_uuid,
    same_uuid,
)

_KEPT = frozenset((*SOURCE_KINDS, "chunking_algorithm", "chunking_options"))


class DataSources:
    """All data sources, by their knowledge bases.

    ``require(uuid)`` refuses for an unknown knowledge base. ``jobs_of(uuid)`` gives its jobs, the
    latest first; ``is_busy(uuid)`` says whether one of them runs.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        require: Callable[[str], object],
        jobs_of: Callable[[str], tuple[IndexingJob, ...]],
        is_busy: Callable[[str], bool],
    ) -> None:
        self._desk = desk
        self._require = require
        self._jobs_of = jobs_of
        self._is_busy = is_busy
        self._by_knowledge_base: dict[str, dict[str, KnowledgeBaseDataSource]] = {}
        self._made = 0
        self.handlers: dict[str, Handler] = {
            "data_sources.create": self._create,
            "data_sources.list": self._list,
            "data_sources.update": self._update,
            "data_sources.delete": self._delete,
        }

    @property
    def all(self) -> tuple[KnowledgeBaseDataSource, ...]:
        """All data sources as GET shows them, those of one knowledge base after the other's."""
        return tuple(
            self._shown(uuid, source)
            for uuid, sources in self._by_knowledge_base.items()
            for source in sources.values()
        )

    def uuids_of(self, knowledge_base_uuid: str) -> tuple[str, ...]:
        """The uuids of a knowledge base's data sources."""
        return tuple(self._by_knowledge_base.get(knowledge_base_uuid, ()))

    def check(self, body: Mapping[str, Any]) -> KnowledgeBaseDataSource:
        """A data source of a request's body. Refuses with 400 for a body that is none."""
        kinds = [kind for kind in SOURCE_KINDS if body.get(kind) is not None]
        if len(kinds) != 1:
            there = " and ".join(kinds) or "none"
            raise invalid(f"a data source has one of {', '.join(SOURCE_KINDS)}, not {there}")
        kept = {name: body[name] for name in _KEPT if body.get(name) is not None}
        for name, value in kept.items():
            if isinstance(value, dict):  # keys and tokens are in no answer
                kept[name] = {key: each for key, each in value.items() if key not in SECRET_FIELDS}
        try:
            source = KnowledgeBaseDataSource.from_wire(kept)
        except DecodeError as error:
            raise invalid(str(error)) from None
        if not source.chunking_algorithm.is_known:
            raise invalid("chunking_algorithm is none that the reference lists")
        return source

    def add(
        self, knowledge_base_uuid: str, source: KnowledgeBaseDataSource | Mapping[str, Any]
    ) -> KnowledgeBaseDataSource:
        """Keep a data source."""
        if not isinstance(source, KnowledgeBaseDataSource):
            source = self.check(source)
        moment = self._desk.time(self._desk.now)
        number, self._made = self._made, self._made + 1
        source = dataclasses.replace(
            source,
            uuid=source.uuid or numbered_uuid(0x70AA91F4, number, "b5f2"),
            created_at=source.created_at or moment,
            updated_at=source.updated_at or moment,
        )
        if any(source.uuid in sources for sources in self._by_knowledge_base.values()):
            raise ValueError(f"there is a data source {source.uuid} already")
        self._by_knowledge_base.setdefault(knowledge_base_uuid, {})[source.uuid] = source
        return self._shown(knowledge_base_uuid, source)

    def forget(self, knowledge_base_uuid: str) -> None:
        """Drop the data sources of a knowledge base."""
        self._by_knowledge_base.pop(knowledge_base_uuid, None)

    def _shown(
        self, knowledge_base_uuid: str, source: KnowledgeBaseDataSource
    ) -> KnowledgeBaseDataSource:
        last = self._last_part(knowledge_base_uuid, source.uuid)
        return dataclasses.replace(source, last_datasource_indexing_job=last)

    def _last_part(self, knowledge_base_uuid: str, uuid: str) -> IndexedDataSource | None:
        """A data source's part in the latest job that names it."""
        for job in self._jobs_of(knowledge_base_uuid):
            for part in job.data_source_jobs:
                if part.data_source_uuid == uuid:
                    return part
        return None

    def _found(self, knowledge_base_uuid: str, uuid: str) -> KnowledgeBaseDataSource:
        self._require(knowledge_base_uuid)
        source = self._by_knowledge_base.get(knowledge_base_uuid, {}).get(uuid)
        if source is None:
            raise not_found()
        return source

    # The calls.

    def _answer(self, knowledge_base_uuid: str, source: KnowledgeBaseDataSource) -> dict[str, Any]:
        return {"knowledge_base_data_source": self._shown(knowledge_base_uuid, source).to_wire()}

    def _create(self, request: Request, knowledge_base_uuid: str) -> dict[str, Any]:
        self._require(knowledge_base_uuid)
        body = json_object(request)
        same_uuid(body, "knowledge_base_uuid", knowledge_base_uuid)
        return self._answer(knowledge_base_uuid, self.add(knowledge_base_uuid, body))

    def _list(self, request: Request, knowledge_base_uuid: str) -> dict[str, Any]:
        self._require(knowledge_base_uuid)
        sources = list(self._by_knowledge_base.get(knowledge_base_uuid, {}).values())
        return self._desk.page(
            request,
            "knowledge_base_data_sources",
            sources,
            lambda source: self._shown(knowledge_base_uuid, source).to_wire(),
        )

    def _update(self, request: Request, knowledge_base_uuid: str, uuid: str) -> dict[str, Any]:
        source = self._found(knowledge_base_uuid, uuid)
        body = json_object(request)
        same_uuid(body, "knowledge_base_uuid", knowledge_base_uuid)
        same_uuid(body, "data_source_uuid", uuid)
        changes = {
            name: body[name]
            for name in ("chunking_algorithm", "chunking_options")
            if body.get(name) is not None
        }
        kind = {source.kind: getattr(source, source.kind)} if source.kind else {}
        checked = self.check({**kind, **changes}) if kind else source
        source = dataclasses.replace(
            source,
            updated_at=self._desk.time(self._desk.now),
            **{name: getattr(checked, name) for name in changes},
        )
        self._by_knowledge_base[knowledge_base_uuid][uuid] = source
        return self._answer(knowledge_base_uuid, source)

    def _delete(self, _request: Request, knowledge_base_uuid: str, uuid: str) -> dict[str, Any]:
        self._found(knowledge_base_uuid, uuid)
        if self._is_busy(knowledge_base_uuid):
            raise self._desk.conflict(f"data source {uuid} is being indexed")
        del self._by_knowledge_base[knowledge_base_uuid][uuid]
        return {"data_source_uuid": uuid, "knowledge_base_uuid": knowledge_base_uuid}
