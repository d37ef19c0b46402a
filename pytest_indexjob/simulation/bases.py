"""The knowledge bases that a simulator holds, with their data sources and their databases' lives.

Source of facts: the live service (a new database takes minutes). Guesses: how long exactly, that a
knowledge base with the id of a database is ready at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from pytest_indexjob.api.errors import DecodeError
from pytest_indexjob.api.knowledge_bases import (
    SOURCE_KINDS,
    ChunkingAlgorithm,
    CrawlingOption,
    DatabaseStatus,
    KnowledgeBase,
    KnowledgeBaseDataSource,
)
from pytest_indexjob.api.wire import WireModel, shown
from pytest_indexjob.simulation.resource import (
    ROUNDING,
    Refusal,
    bad_argument,
    made_uuid,
    not_found,
)

M = TypeVar("M", bound=WireModel)

_NAMING_FIELDS = (
    "bucket_name",
    "base_url",
    "original_file_name",
    "folder",
    "folder_id",
    "folder_name",
)
_LONGEST = 1e12  # seconds
# How a database ends: the status that it comes to.
LIVES = {
    status.name.lower().replace("_", "-"): status
    for status in DatabaseStatus
    if status is not DatabaseStatus.CREATING
} | {"never": DatabaseStatus.CREATING}


@dataclasses.dataclass(frozen=True, slots=True)
class DatabaseLife:
    """A database that is CREATING for ``after`` seconds, and then has the status ``end``."""

    end: DatabaseStatus
    after: float

    @classmethod
    def of(cls, name: str, after: float) -> DatabaseLife:
        """The life of that name, or the one that ends with the status of that name.

        Raises ``ValueError`` for an unknown name or a negative time.
        """
        end = LIVES.get(str(name).lower().replace("_", "-"))
        if end is None:
            known = ", ".join((*LIVES, "ready"))
            raise ValueError(f"there is no life {name!r} of a database. There are: {known}")
        if not isinstance(after, int | float) or not 0 <= after <= _LONGEST:
            raise ValueError(f"after must be 0 or more seconds, not {shown(after)}")
        return cls(end, after)


READY = DatabaseLife(DatabaseStatus.ONLINE, 0.0)


@dataclasses.dataclass(slots=True)
class Base:
    """A knowledge base. ``created`` is in the clock's seconds.

    ``is_implied`` is true of a knowledge base that nobody made: a job named it.
    """

    model: KnowledgeBase
    created: float
    life: DatabaseLife
    is_implied: bool = False
    sources: dict[str, KnowledgeBaseDataSource] = dataclasses.field(default_factory=dict)

    @property
    def online_at(self) -> float | None:
        """The moment at which the database is online, or ``None`` where it never is."""
        return self.created + self.life.after if self.life.end is DatabaseStatus.ONLINE else None

    @property
    def uuid(self) -> str:
        """The uuid of the knowledge base."""
        return self.model.uuid

    @property
    def can_be_indexed(self) -> bool:
        """Whether it has data sources, as far as that is known."""
        return bool(self.sources) or self.is_implied

    def is_online(self, now: float) -> bool:
        """Whether the database is online at a moment."""
        return self.database_status(now) is DatabaseStatus.ONLINE

    def database_status(self, now: float) -> DatabaseStatus:
        """How the database stands at a moment."""
        is_made = now + ROUNDING >= self.created + self.life.after
        return self.life.end if is_made else DatabaseStatus.CREATING


class Bases:
    """All knowledge bases, by uuid, in the order in which they were made."""

    def __init__(self) -> None:
        self.by_uuid: dict[str, Base] = {}
        self.owners: dict[str, str] = {}  # the knowledge base of each data source
        self.removed: set[str] = set()
        self.attached: dict[str, list[str]] = {}  # the knowledge bases of each agent
        self._made = 0
        self._made_sources = 0

    def found(self, uuid: str) -> Base:
        """The knowledge base of that uuid. Raises ``Refusal`` for none."""
        if uuid not in self.by_uuid:
            raise not_found()
        return self.by_uuid[uuid]

    def found_source(self, base: Base, uuid: str) -> KnowledgeBaseDataSource:
        """A data source of a knowledge base. Raises ``Refusal`` for one that it does not have."""
        if uuid not in base.sources:
            raise not_found()
        return base.sources[uuid]

    def add(
        self, model: KnowledgeBase, created: float, life: DatabaseLife, *, is_implied: bool = False
    ) -> Base:
        """Make a knowledge base; a uuid is made up for a model that has none.

        Raises ``ValueError`` for a uuid that is taken.
        """
        uuid = model.uuid or made_uuid(0x61F7A3DE, self._made)
        if uuid in self.by_uuid:
            raise ValueError(f"there is a knowledge base {uuid} already: give another uuid")
        self._made += 1
        base = Base(dataclasses.replace(model, uuid=uuid), created, life, is_implied)
        self.by_uuid[uuid] = base
        return base

    def add_source(self, base: Base, model: KnowledgeBaseDataSource) -> KnowledgeBaseDataSource:
        """Give a knowledge base a data source. Raises ``ValueError`` for a uuid that is taken."""
        uuid = model.uuid or made_uuid(0x71BB02A5, self._made_sources)
        if uuid in self.owners:
            raise ValueError(f"there is a data source {uuid} already: give another uuid")
        self._made_sources += 1
        source = dataclasses.replace(model, uuid=uuid)
        base.sources[uuid] = source
        self.owners[uuid] = base.uuid
        return source

    def names_of(self, uuid: str) -> tuple[str, ...]:
        """What a data source is known by: its bucket, URL, folder or file."""
        base = self.by_uuid.get(self.owners.get(uuid, ""))
        if base is None:
            return ()
        source = base.sources[uuid]
        holder = getattr(source, source.kind) if source.kind else source
        named = (getattr(holder, name, "") for name in _NAMING_FIELDS)
        return tuple(name for name in named if name)

    def is_attached(self, uuid: str) -> bool:
        """Whether any agent has the knowledge base."""
        return any(uuid in uuids for uuids in self.attached.values())

    def remove(self, base: Base) -> None:
        """Take away a knowledge base with its data sources."""
        for uuid in base.sources:
            del self.owners[uuid]
        del self.by_uuid[base.uuid]
        self.removed.add(base.uuid)


def read_source(body: Any) -> KnowledgeBaseDataSource:
    """The data source that a request describes. Raises ``Refusal`` for what describes none."""
    model = read_model(KnowledgeBaseDataSource, body)
    try:
        check_kind(model)
    except ValueError as error:
        raise bad_argument(str(error)) from None
    region = model.region
    if model.bucket_name and isinstance(body.get("bucket_region"), str):
        region = body["bucket_region"]  # as the field of the answer is called in a request
    return dataclasses.replace(
        model,
        uuid="",
        created_at=None,
        updated_at=None,
        last_datasource_indexing_job=None,
        region=region,
    )


def check_kind(model: KnowledgeBaseDataSource) -> None:
    """Raise ``ValueError`` for a data source that is of no kind, or of several."""
    kinds = [name for name in SOURCE_KINDS if getattr(model, name) is not None]
    if len(kinds) > 1 or not (kinds or model.bucket_name):
        raise ValueError(f"a data source needs exactly one of {', '.join(SOURCE_KINDS)}")


def read_model(model: type[M], body: Any) -> M:
    """The model that a request's body describes, without the fields that the contract lacks.

    Raises ``Refusal`` for a value of another type and for an unknown word.
    """
    try:
        return _known_only(model.from_wire(body))
    except DecodeError as error:
        raise bad_argument(str(error)) from None


def _known_only(model: M) -> M:
    changes: dict[str, Any] = {"extra": {}}
    for name in model.kinds():
        value = getattr(model, name)
        if isinstance(value, WireModel):
            changes[name] = _known_only(value)
        elif isinstance(value, ChunkingAlgorithm | CrawlingOption) and not value.is_known:
            raise bad_argument(f"{name} can't be {value.value!r}")
    return dataclasses.replace(model, **changes)  # type: ignore[type-var]  # each is a dataclass


def refuse_use(status: int, id: str, what: str) -> Refusal:
    """The refusal to take away what is in use: a guess, with the status and id of a conflict."""
    return Refusal(status, id, f"{what} is in use")
