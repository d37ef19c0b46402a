"""What a value of the service looks like in JSON: one ``Kind`` for each, and models made of them.

Source: the published reference and OpenAPI (formats), and bodies of the live service (omission of
zeros, whole-second timestamps). Reading is lenient where the service has been seen to differ or to
change: ``null`` and ``""`` count as absent, unknown fields and enum values are kept. Reading is
strict where a value can't mean what it should.

A model's fields are its annotations, and each names its kind. Whoever needs to know what a field
holds (the schema, the simulator, the strategies, coverage) asks ``Model.kinds()``.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pytest_indexjob.api.errors import DecodeError

UINT64_MAX = 2**64 - 1
INT64_MAX = 2**63 - 1
Schema = dict[str, Any]

_DIGITS = re.compile(r"[0-9]{1,20}\Z")
_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)


class WireEnum(StrEnum):
    """A string enum of the service.

    A member bears the last part of its wire value. A value that the contract does not list makes a
    member, too.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # A value that the service added later: visible, equal to itself, and written back as it
        # came.
        member = str.__new__(cls, value)
        member._name_ = value.removeprefix(cls.prefix())
        member._value_ = value
        return member

    @classmethod
    def words_never_sent(cls) -> Mapping[str, str]:
        """Words that public code expects, each with the name that the service has for it."""
        return {}

    @classmethod
    def prefix(cls) -> str:
        """What every wire value begins with, such as ``INDEX_JOB_STATUS_``."""
        return next(iter(cls)).value.removesuffix("UNKNOWN")

    @classmethod
    def lists(cls, value: object) -> bool:
        """Whether the published contract lists a wire value."""
        return value in cls._value2member_map_

    @property
    def is_known(self) -> bool:
        """Whether the published contract lists this value."""
        return type(self).lists(self._value_)

    @classmethod
    def parse(cls, value: object) -> Self:
        """The member for a member, a wire string or a short name.

        Short names are ``"NO_CHANGES"`` and ``"no-changes"``.

        Raises ``ValueError``, naming the valid names and the nearest, for anything else.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and not isinstance(value, WireEnum):
            if cls.lists(value):
                return cls(value)
            short = value.upper().replace("-", "_")
            if short in cls.__members__:
                return cls[short]
        raise ValueError(
            f"{value!r} is no {cls.__name__}{cls.hint(value)}. Valid: {', '.join(cls.__members__)}"
        )

    @classmethod
    def hint(cls, value: object) -> str:
        """A clause that names the nearest real value, or nothing."""
        near = cls.nearest(str(value))
        return f" (the service never sends it; did you mean {near.name}?)" if near else ""

    @classmethod
    def nearest(cls, value: str) -> Self | None:
        """The real member most like a value, or ``None`` where no member is like it."""
        if cls.lists(value):
            return cls(value)
        short = value.upper().replace("-", "_")
        for enum in WireEnum.__subclasses__():
            short = short.removeprefix(enum.prefix())
        words = cls.words_never_sent()
        # PARTIALLY_COMPLETED says PARTIAL, though more of its letters are those of COMPLETED.
        begins = [] if short in words else [it for it in cls.__members__ if short.startswith(it)]
        all_words = [*cls.__members__, *words]
        names = begins or difflib.get_close_matches(short, all_words, n=1, cutoff=0.5)
        return cls[words.get(names[0], names[0])] if names else None

    def __repr__(self) -> str:
        if self.is_known:
            return f"{type(self).__name__}.{self.name}"
        return f"{type(self).__name__}({self.value!r})"


# Kinds.


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One kind of value: ``read`` from JSON, ``write`` to JSON, and its JSON ``schema``.

    ``read(value, path)`` raises ``DecodeError`` with the JSON path. ``absent`` is what a field that
    the answer leaves out holds. ``maximum`` is the largest count, for a kind of counts. ``enum`` is
    an enum's class, ``items`` the kind of a list's items, ``model`` the class of a JSON object.
    """

    name: str
    read: Callable[[object, str], Any]
    write: Callable[[Any], Any]
    schema: Schema
    absent: Any = None
    maximum: int | None = None
    enum: type[WireEnum] | None = None
    items: Kind | None = None
    model: type[WireModel] | None = None

    @property
    def is_count(self) -> bool:
        """Whether values are whole numbers from 0."""
        return self.maximum is not None

    def holds(self, value: object) -> bool:
        """Whether a value can be read as this kind."""
        try:
            self.read(value, "$")
        except DecodeError:
            return False
        return True


def shown(value: object) -> str:
    """A value in a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _count_reader(maximum: int) -> Callable[[object, str], int]:
    def read_count(value: object, path: str) -> int:
        # The service sends uint64 as strings and int64 as numbers; hand-written fixtures mix them.
        if isinstance(value, int) and not isinstance(value, bool):
            count = value
        elif isinstance(value, str) and _DIGITS.match(value):
            count = int(value)
        else:
            raise DecodeError(
                path, f"a count was expected, a whole number of 0 to {maximum}, not {shown(value)}"
            )
        if not 0 <= count <= maximum:
            raise DecodeError(path, f"a count was expected, 0 to {maximum}, not {shown(value)}")
        return count

    return read_count


def _read_time(value: object, path: str) -> datetime:
    match = _RFC_3339.match(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        date, minute, second, fraction, offset = match.groups()
        leap = second == "60"
        seconds = "59" if leap else second
        text = f"{date}T{minute}:{seconds}.{(fraction or '0')[:6]:0<6}{offset.upper()}"
        return datetime.fromisoformat(text) + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        raise DecodeError(path, f"an RFC 3339 time was expected, not {shown(value)}") from None


def _write_time(value: datetime) -> str:
    # As protobuf's JSON does: no fraction, or three digits, or six.
    timespec = "seconds"
    if value.microsecond:
        timespec = "microseconds" if value.microsecond % 1000 else "milliseconds"
    text = value.isoformat(timespec=timespec)
    return f"{text[:-6]}Z" if value.utcoffset() == timedelta(0) else text


def _read_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(path, f"a string was expected, not {shown(value)}")
    return value


def _read_bool(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise DecodeError(path, f"a boolean was expected, not {shown(value)}")
    return value


def read_list(value: object, path: str) -> list[Any]:
    """A JSON array as it is. Raises ``DecodeError`` for anything else."""
    if not isinstance(value, list | tuple):
        raise DecodeError(path, f"a list was expected, not {shown(value)}")
    return list(value)


def read_object(value: object, path: str) -> dict[str, Any]:
    """A JSON object as it is. Raises ``DecodeError`` for anything else."""
    if not isinstance(value, dict):
        raise DecodeError(path, f"an object was expected, not {shown(value)}")
    return value


UINT64 = Kind(
    name="uint64",
    read=_count_reader(UINT64_MAX),
    write=str,
    schema={"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"},
    absent=0,
    maximum=UINT64_MAX,
)
INT64 = Kind(
    name="int64",
    read=_count_reader(INT64_MAX),
    write=int,
    schema={"type": "integer", "format": "int64", "minimum": 0, "maximum": INT64_MAX},
    absent=0,
    maximum=INT64_MAX,
)
TIME = Kind(
    name="time",
    read=_read_time,
    write=_write_time,
    schema={"type": "string", "format": "date-time"},
)
TEXT = Kind(name="text", read=_read_text, write=str, schema={"type": "string"}, absent="")
# Any string: the service's own example is no uuid, and code must not choke on one.
UUID = dataclasses.replace(TEXT, name="uuid", schema={"type": "string", "format": "uuid"})
URL = dataclasses.replace(TEXT, name="url", schema={"type": "string", "format": "uri"})
BOOL = Kind(name="bool", read=_read_bool, write=bool, schema={"type": "boolean"}, absent=False)


def enum_of(enum: type[WireEnum]) -> Kind:
    """The kind of an enum's values; a field that is left out holds the first member."""
    values = [member.value for member in enum]
    return Kind(
        name=enum.__name__,
        read=lambda value, path: enum(_read_text(value, path)),
        write=str,
        schema={"type": "string", "enum": values},
        absent=next(iter(enum)),
        enum=enum,
    )


def list_of(items: Kind) -> Kind:
    """The kind of a list, held as a tuple."""

    def read_items(value: object, path: str) -> tuple[Any, ...]:
        listed = enumerate(read_list(value, path))
        return tuple(items.read(item, f"{path}[{at}]") for at, item in listed)

    return Kind(
        name=f"list of {items.name}",
        read=read_items,
        write=lambda value: [items.write(item) for item in value],
        schema=array(items.schema),
        absent=(),
        items=items,
    )


def object_of(model: type[WireModel], *, required: Sequence[str] = ()) -> Kind:
    """The kind of a JSON object that a model reads."""
    properties = {name: kind.schema for name, kind in model.kinds().items()}
    return Kind(
        name=model.__name__,
        read=model.from_wire,
        write=lambda value: value.to_wire(),
        schema=json_object(properties, required),
        model=model,
    )


def json_object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """The JSON Schema of an object that may hold other fields as well."""
    shape: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": True}
    return shape | ({"required": list(required)} if required else {})


def array(items: Schema) -> Schema:
    """The JSON Schema of an array."""
    return {"type": "array", "items": items}


# Models.


def field(kind: Kind) -> Any:
    """A field of a ``WireModel``, named as on the wire."""
    return dataclasses.field(default=kind.absent, metadata={"kind": kind})


def unknown_fields() -> Any:
    """The field ``extra`` of a ``WireModel``: what the contract does not know, as it came."""
    return dataclasses.field(default_factory=dict, hash=False)


class WireModel:
    """A JSON object of the service: a frozen dataclass of ``field``s, and ``extra``."""

    extra: dict[str, Any]
    _kinds: ClassVar[Mapping[str, Kind]]

    @classmethod
    def kinds(cls) -> Mapping[str, Kind]:
        """The kind of each field that the contract knows, in the contract's order."""
        try:
            return cls.__dict__["_kinds"]  # type: ignore[no-any-return]
        except KeyError:
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            cls._kinds = MappingProxyType(
                {each.name: each.metadata["kind"] for each in fields if each.metadata}
            )
            return cls._kinds

    @classmethod
    def counts(cls) -> tuple[str, ...]:
        """The names of the fields that hold counts."""
        return tuple(name for name, kind in cls.kinds().items() if kind.is_count)

    @classmethod
    def from_wire(cls, obj: object, path: str = "$") -> Self:
        """The model for a parsed JSON object.

        Raises ``DecodeError`` with the JSON path of the first bad value.
        """
        rest = dict(read_object(obj, path))
        values = {}
        for name, kind in cls.kinds().items():
            value = rest.pop(name, None)
            # protobuf's JSON omits what is empty; hand-written fixtures send null or "": all three
            # mean absent.
            if value is not None and value != "":
                values[name] = kind.read(value, f"{path}.{name}")
        return cls(**values, extra=rest)  # type: ignore[call-arg]  # each subclass is a dataclass

    def _set_fields(self) -> dict[str, Any]:
        return {
            name: value
            for name, kind in self.kinds().items()
            if (value := getattr(self, name)) != kind.absent
        }

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that the service would send.

        Defaults are omitted, uint64 are strings, unknown fields are kept.
        """
        kinds = self.kinds()
        wire = {name: kinds[name].write(value) for name, value in self._set_fields().items()}
        return wire | self.extra

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in self._set_fields().items()]
        if self.extra:
            parts.append(f"extra={self.extra!r}")
        return f"{type(self).__name__}({', '.join(parts)})"
