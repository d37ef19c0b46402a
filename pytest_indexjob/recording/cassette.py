"""A cassette: reading a vcrpy file, writing one, and answering requests from it."""

from __future__ import annotations

import difflib
import hashlib
import io
import itertools
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_indexjob.api.answers import read
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.api.errors import (
    CassetteCorruptError,
    CassetteError,
    CassetteExhaustedError,
    CassetteMissError,
    DecodeError,
)
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.content_coding import decoded
from pytest_indexjob.exchange import (
    PLACEHOLDER,
    Interaction,
    Request,
    Response,
    shown_url,
    target_of,
)
from pytest_indexjob.http1 import has_body
from pytest_indexjob.recording.identifiers import RESOURCES, uuids_of
from pytest_indexjob.recording.limits import MOST_NODES, LimitError, check_limits, check_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# vcrpy's own format number. It is the last line of the files that vcrpy writes, so a file without
# it was cut short.
FORMAT_VERSION = 1

# As PyYAML writes a cassette: the list first, without indentation, then plain keys.
HEAD = "interactions:\n"
_TAIL = re.compile(r"^(?:provenance:\n(?:[ ].*\n)+)?version: 1\n\Z", re.MULTILINE)
_NO_ITEM = re.compile(r"^[^- ]", re.MULTILINE)
_LONGEST_TAIL = 2000
_LONGEST_URL = 2**16

Key = tuple[str, str, tuple[tuple[str, str], ...]]

_CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)
_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # of gzip and zstd, which may be cut short
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_LINE_BREAK = re.compile(r"[\r\n\0]")
_JOB_PATH = re.compile(rf"{JOBS_PATH}/([^/]+)")
_MOST_SHOWN = 3  # uuids in a message


class Recording(NamedTuple):
    """What a cassette's file holds."""

    path: Path
    interactions: tuple[Interaction, ...]
    provenance: Mapping[str, Any]

    @property
    def recorded_at(self) -> datetime | None:
        """When it was recorded, by its provenance; ``None`` where that holds no RFC 3339 time.

        A time that YAML reads by itself (without quotes) is in UTC where it has no offset; a string
        needs the offset.
        """
        given = self.provenance.get("recorded_at")
        try:
            moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        except ValueError:
            return None
        if not isinstance(moment, datetime):
            return None
        if moment.tzinfo is None:
            return None if isinstance(given, str) else moment.replace(tzinfo=UTC)
        return moment


def load(path: Path) -> Recording:
    """The recording in a file, read once per process while the file is unchanged.

    Raises ``CassetteCorruptError``, naming file, line and mend. The file is never changed.
    """
    try:
        stat = path.stat()
        check_size(stat.st_size)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _corrupt(path, None, error.strerror or type(error).__name__) from None
    except ValueError as error:  # too large, or a name that no file can have
        raise _corrupt(path, None, str(error)) from None
    if not S_ISREG(stat.st_mode):
        raise _corrupt(path, None, "it is no file")
    return _load(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


class _Begin(NamedTuple):
    """What is known of a cassette's text up to the end of its interactions."""

    length: int
    digest: bytes
    nodes: int
    interactions: tuple[Interaction, ...]


_MOST_FILES = 256
_BEGINS: dict[Path, _Begin] = {}  # of each path, as it was read last


@lru_cache(maxsize=_MOST_FILES)
def _load(path: Path, _mtime: int, _size: int, _inode: int) -> Recording:
    # While tests record, each adds to the file, and the next test reads it: only what is new.
    text = _text(path)
    end = end_of_interactions(text)
    if end is None:
        return parse_cassette(path, text)
    recording, nodes = _added(path, text, end) or _parsed(path, text, MOST_NODES)
    if path not in _BEGINS and len(_BEGINS) >= _MOST_FILES:
        _BEGINS.clear()
    _BEGINS[path] = _Begin(end, _hash(text[:end]), nodes, recording.interactions)
    return recording


def end_of_interactions(text: str) -> int | None:
    """Where the last interaction ends in a text as ``dump`` writes it; ``None`` in any other."""
    if not text.startswith(f"{HEAD}- "):
        return None
    tail = _TAIL.search(text, max(0, len(text) - _LONGEST_TAIL))
    return tail.start() if tail else None


def _added(path: Path, text: str, end: int) -> tuple[Recording, int] | None:
    """The recording, if the text is one that was read before and what was added to it."""
    begin = _BEGINS.get(path)
    if begin is None or begin.length > end or begin.digest != _hash(text[: begin.length]):
        return None
    new = text[begin.length : end]
    # A key in a line of its own would end the list, or begin another.
    if not new.startswith("- ") or _NO_ITEM.search(new):
        return None
    try:
        added, nodes = _parsed(path, HEAD + text[begin.length :], MOST_NODES - begin.nodes)
    except CassetteCorruptError:
        return None  # the whole text tells on which line
    interactions = begin.interactions + added.interactions
    return added._replace(interactions=interactions), begin.nodes + nodes


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def parse_cassette(path: Path, text: str) -> Recording:
    """The recording in a text, which is or would be in a file. Raises ``CassetteCorruptError``."""
    return _parsed(path, text, MOST_NODES)[0]


def _parsed(path: Path, text: str, most_nodes: int) -> tuple[Recording, int]:
    """The recording in a text, and how many YAML nodes the text has."""
    content, nodes = _parse(path, text, most_nodes)
    if not isinstance(content, dict) or not isinstance(content.get("interactions"), list):
        raise _corrupt(
            path,
            1,
            "it is YAML, but no cassette: a cassette is a mapping with a list of `interactions`",
        )
    interactions = []
    for at, item in enumerate(content["interactions"]):
        try:
            interactions.append(_interaction(item))
        except (_ShapeError, ValueError, RecursionError) as error:
            # A number of too many digits, a list that holds itself: their texts may quote a value.
            known = isinstance(error, _ShapeError)
            problem = str(error) if known else f"a value can't be read ({type(error).__name__})"
            line = _line_of_interaction(text, at)
            raise _corrupt(
                path, line, f"interaction {at + 1} is not as vcrpy writes it: {problem}"
            ) from None
    if content.get("version") != FORMAT_VERSION:
        raise _corrupt(
            path,
            text.count("\n"),
            f"its last line, `version: {FORMAT_VERSION}`, is missing: it was cut short",
        )
    # Not `metadata`: vcrpy gives that name to something else, and readers of its files fail on it.
    provenance = content.get("provenance")
    origin = provenance if isinstance(provenance, dict) else {}
    return Recording(path, tuple(interactions), origin), nodes


def _corrupt(path: Path, line: int | None, problem: str) -> CassetteCorruptError:
    where = f"{path}{f':{line}' if line else ''}"
    mend = "Restore it from version control, or delete it and record it again"
    text = f"{where}: this cassette can't be read: {problem}. {mend}"
    return CassetteCorruptError(text, path=path, line=line)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _corrupt(path, line, f"byte {error.start} is not UTF-8") from None
    if not text.strip():
        raise _corrupt(path, 1, "it is empty")
    conflict = _CONFLICT.search(text)
    if conflict:
        line = text.count("\n", 0, conflict.start()) + 1
        raise _corrupt(path, line, "it holds the markers of an unresolved merge conflict")
    return text


def _parse(path: Path, text: str, most_nodes: int) -> tuple[object, int]:
    import yaml

    try:
        nodes = check_limits(text, most_nodes=most_nodes)
        return _vcrpy_serializer().deserialize(text), nodes
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _corrupt(path, line, "it holds an unsafe YAML tag, which is not loaded") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _corrupt(
            path, line, f"it is not YAML ({error.problem}): it may be cut short"
        ) from None
    except LimitError as error:
        raise _corrupt(path, None, str(error)) from None
    except Exception as error:  # noqa: BLE001 - `!!bool x` is a KeyError, `!!timestamp x` another
        raise _corrupt(path, None, f"it is not YAML ({type(error).__name__})") from None


@cache
def _vcrpy_serializer() -> Any:
    """The reader of YAML that vcrpy has.

    Its file is executed apart from its package, since importing that loads every HTTP client that
    is installed.
    """
    package = find_spec("vcr")
    if package is None or package.submodule_search_locations is None:
        raise ImportError("pytest-indexjob needs vcrpy: pip install vcrpy")
    file = Path(package.submodule_search_locations[0]) / "serializers" / "yamlserializer.py"
    spec = spec_from_file_location("vcr.serializers.yamlserializer", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"vcrpy has no {file}")
    serializer = module_from_spec(spec)
    spec.loader.exec_module(serializer)
    return serializer


def _line_of_interaction(text: str, at: int) -> int | None:
    import yaml

    # The loader that read it: the other one refuses some texts that this one takes.
    root: Any = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    nodes = next(value for key, value in root.value if key.value == "interactions").value
    return int(nodes[at].start_mark.line) + 1


class _ShapeError(Exception):
    """A part of a cassette is not of vcrpy's shape.

    Names types only: a hostile file's values may be endless.
    """


def _part(mapping: object, name: str, kinds: type | tuple[type, ...]) -> Any:
    value = mapping.get(name) if isinstance(mapping, dict) else None
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise _ShapeError(
            f"`{name}` is {'missing' if value is None else f'of type {type(value).__name__}'}"
        )
    return value


def _interaction(item: object) -> Interaction:
    request = _part(item, "request", dict)
    url = _part(request, "uri", str)
    if len(url) > _LONGEST_URL:
        raise _ShapeError(f"`uri` has more than {_LONGEST_URL} characters")
    try:
        urlsplit(url)
    except ValueError:
        raise _ShapeError("`uri` is no URL") from None
    method = _part(request, "method", str)
    if not _METHOD.fullmatch(method):  # it is shown in terminals, which obey control characters
        raise _ShapeError("`method` is no HTTP method")
    asked = Request(method.upper(), url, _headers(request), _body(request.get("body")))
    answer = _response(_part(item, "response", dict))
    # The headers of an answer to HEAD, or of a 304, tell of a body that did not come.
    return Interaction(asked, _as_sent(answer) if has_body(answer, asked.method) else answer)


def _response(response: dict[str, Any]) -> Response:
    message: object = None
    if "status_code" in response:  # vcrpy before 6, of httpx
        code, body = _part(response, "status_code", int), response.get("content")
    else:
        status = _part(response, "status", dict)
        code, message = _part(status, "code", int), status.get("message")
        # aiohttp's have no `string` where there was no body.
        body = _part(response, "body", dict).get("string")
    if not 100 <= code <= 599:
        raise _ShapeError("the code is no HTTP status")
    if not isinstance(body, str | bytes | None):
        raise _ShapeError(f"the body is of type {type(body).__name__}")
    phrase = message if isinstance(message, str) else ""
    if _LINE_BREAK.search(phrase):
        raise _ShapeError("the status message holds a line break")
    return Response(code, _headers(response), _body(body), phrase)


def _as_sent(response: Response) -> Response:
    # vcrpy stores what a client decoded beside the header that says it is encoded.
    encoding = response.content_encoding
    if not encoding or not _is_decoded(response.body, encoding):
        return response
    headers = tuple(pair for pair in response.headers if pair[0].lower() != "content-encoding")
    return response._replace(headers=headers)


def _is_decoded(body: bytes, encoding: str) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return decoded(body, encoding) is None and not body.startswith(_MAGIC)
    return True  # encoded bytes are never UTF-8


def _headers(message: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    headers = message.get("headers") or {}
    if not isinstance(headers, dict):
        raise _ShapeError("`headers` is no mapping")
    for name, values in headers.items():
        for value in values if isinstance(values, list | tuple) else (values,):
            if not isinstance(name, str) or not isinstance(value, str | int):
                raise _ShapeError("a header is no string")
            # A line break inside a value would make another header of it.
            if _LINE_BREAK.search(f"{name}{value}"):
                raise _ShapeError("a header holds a line break")
            pairs.append((name, str(value)))
    return tuple(pairs)


def _body(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, io.BytesIO):
        return value.getvalue()
    if isinstance(value, list):  # the chunks of a body that was sent by an iterator
        return b"".join(map(_body, value))
    return value if isinstance(value, bytes) else b""


def dump(
    interactions: Iterable[Interaction], provenance: Mapping[str, object] | None = None
) -> str:
    """The text of a cassette in vcrpy's format, the same on every machine."""
    import yaml

    content: dict[str, object] = {
        "interactions": [
            {
                "request": {
                    "body": _written_body(request.body) if request.body else None,
                    "headers": _written_headers(request.headers),
                    "method": request.method,
                    "uri": request.url,
                },
                "response": {
                    "body": {"string": _written_body(response.body)},
                    "headers": _written_headers(response.headers),
                    "status": {"code": response.status, "message": response.phrase},
                },
            }
            for request, response in interactions
        ],
        "version": FORMAT_VERSION,
    }
    if provenance:
        content["provenance"] = dict(provenance)
    # PyYAML's own dumper, as libyaml's folds lines elsewhere; no folding, so that a body stays one
    # line; ASCII, as YAML would read some other characters (U+0085) as line breaks.
    return str(yaml.dump(content, Dumper=yaml.SafeDumper, width=float("inf")))


def _written_body(body: bytes) -> str | bytes:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body


def _written_headers(headers: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    written: dict[str, list[str]] = {}
    for name, value in headers:
        written.setdefault(name, []).append(value)
    return written


@lru_cache(maxsize=1024)
def job_of(body: bytes) -> IndexingJob | None:
    """The job in an answer's body, or ``None`` where there is none that can be read."""
    return read(None, 200, body).job


@lru_cache(maxsize=1024)
def _awaited_job(body: bytes) -> IndexingJob | None:
    """The job that an answer tells of: the answer's own, or a knowledge base's last one."""
    base = read(None, 200, body).fields.get("knowledge_base")
    last = base.get("last_indexing_job") if isinstance(base, dict) else None
    if last is None:
        return job_of(body)
    try:
        return IndexingJob.from_wire(last)
    except DecodeError:
        return None


def key_of(request: Request, bases: Sequence[str]) -> Key:
    """What a request is matched on: method, path, sorted query, and a host that is not the API's.

    vcrpy's default is the same but for the host: a recording of the API answers for every base URL
    of it.
    """
    return _key(request.method, request.url, tuple(bases))


@lru_cache(maxsize=4096)
def _key(method: str, url: str, bases: tuple[str, ...]) -> Key:
    target = target_of(url)
    below = (target.below(target_of(base)) for base in bases)
    path = next((path for path in below if path is not None), None)
    if path is None:
        path = str(target._replace(query=""))
    pairs = parse_qsl(target.query, keep_blank_values=True) if target.query else ()
    return method, path, tuple(sorted(pairs))


def _fits(recorded: Key, asked: Key) -> bool:
    """Whether a recorded request fits, with a placeholder for any value in its place."""
    segments, asked_segments = recorded[1].split("/"), asked[1].split("/")
    if recorded[0] != asked[0] or len(segments) != len(asked_segments):
        return False
    pairs, asked_pairs = list(recorded[2]), list(asked[2])
    for pair in recorded[2]:
        if pair in asked_pairs:
            pairs.remove(pair)
            asked_pairs.remove(pair)
    return (
        len(pairs) == len(asked_pairs)
        and all(map(_value_fits, segments, asked_segments))
        and all(
            _value_fits(name, asked_name) and _value_fits(value, asked_value)
            for (name, value), (asked_name, asked_value) in zip(pairs, asked_pairs, strict=True)
        )
    )


def _value_fits(recorded: str, asked: str) -> bool:
    """As a pattern with a wildcard of one letter or more, in linear time for hostile files too."""
    first, *rest = recorded.split(PLACEHOLDER)
    if not rest:
        return recorded == asked
    if not asked.startswith(first):
        return False
    at = len(first)
    for literal in rest[:-1]:
        found = asked.find(literal, at + 1)
        if found < 0:
            return False
        at = found + len(literal)
    return len(asked) - len(rest[-1]) > at and asked.endswith(rest[-1])


class Playback:
    """Answers requests from recordings, those of one request in order.

    The last answer is given again only if its job has ended. The job of a knowledge base is its
    last one.

    The cost of an answer does not grow with the recording's length. Safe from any thread.
    """

    def __init__(
        self, recordings: Sequence[Recording], *, base_url: str = API_URL, record_command: str = ""
    ) -> None:
        self.recordings = tuple(recordings)
        self.interactions = tuple(
            item for recording in recordings for item in recording.interactions
        )
        self.bases = tuple(dict.fromkeys((API_URL, base_url.rstrip("/"))))
        self._record_command = record_command
        self._by_key: dict[Key, list[int]] = {}
        for at, item in enumerate(self.interactions):
            self._by_key.setdefault(key_of(item.request, self.bases), []).append(at)
        # `a-REDACTED.csv` before `REDACTED`, which fits the other's requests as well.
        with_placeholder = [key for key in self._by_key if PLACEHOLDER in _url(key)]
        self._with_placeholder = sorted(with_placeholder, key=_literal_length, reverse=True)
        self._next: Counter[Key] = Counter()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return (
            f"<Playback of {self._names}: {self.played} of {len(self.interactions)} answers played>"
        )

    @property
    def _names(self) -> str:
        return " and ".join(recording.path.stem for recording in self.recordings)

    @property
    def played(self) -> int:
        """How many recorded answers were played (a repeated last one counts once)."""
        return self._next.total()

    @property
    def unplayed(self) -> list[Request]:
        """The recorded requests whose answers were not played, in the order of the recording."""
        rest = [at for key, places in self._by_key.items() for at in places[self._next[key] :]]
        return [self.interactions[at].request for at in sorted(rest)]

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The hosts of the recordings, with a port that is not the scheme's."""
        return frozenset(target_of(item.request.url).netloc for item in self.interactions)

    @property
    def job_uuid(self) -> str:
        """The uuid of the first job that the recording asks for or tells of.

        Raises ``CassetteError`` if none.
        """
        for request, response in self.interactions:
            match = _JOB_PATH.search(urlsplit(request.url).path)
            job = job_of(response.body)
            uuid = unquote(match.group(1)) if match else job.uuid if job else ""
            if uuid:
                return uuid
        raise CassetteError(
            f"the recording {self._names} has no job: no request and no answer names one"
        )

    @property
    def knowledge_base_uuid(self) -> str:
        """The uuid of the knowledge base that the recording is about, as ``uuid_of`` finds it."""
        return self.uuid_of("knowledge_bases")

    def uuid_of(self, resource: str) -> str:
        """The uuid of the one member of a resource that the recording is about.

        ``resource`` is ``"jobs"``, ``"knowledge_bases"``, ``"data_sources"``, ``"schedules"`` or
        ``"agents"``. What the recording asks for or makes goes before what its answers tell of.
        Raises ``CassetteError`` where there is none, or more than one; ``ValueError`` for another
        resource.
        """
        if resource not in RESOURCES:
            raise ValueError(
                f"there is no resource {resource!r} with a uuid. There are: {', '.join(RESOURCES)}"
            )
        words = resource.replace("_", " ")
        uuids = uuids_of(self.interactions, resource)
        if not uuids:
            raise CassetteError(
                f"the recording {self._names} has no {words.removesuffix('s')}: no request and no"
                " answer names one. Take another recording, or write the uuid into the test"
            )
        if len(uuids) > 1:
            more = f" and {len(uuids) - _MOST_SHOWN} more" if len(uuids) > _MOST_SHOWN else ""
            raise CassetteError(
                f"the recording {self._names} is about {len(uuids)} {words}:"
                f" {', '.join(uuids[:_MOST_SHOWN])}{more}. Write the uuid that the test means"
                " into the test"
            )
        return uuids[0]

    def handle(self, request: Request) -> Response:
        """The recorded answer.

        Raises ``CassetteMissError`` for none, ``CassetteExhaustedError`` for none left.
        """
        response = self.find(request)
        if response is not None:
            return response
        places = self._by_key.get(self._recorded_key(key_of(request, self.bases)))
        if places is None:
            raise self._miss(request)
        raise self._exhausted(request, self.interactions[places[-1]], len(places))

    def find(self, request: Request) -> Response | None:
        """The recorded answer, which is then played; ``None`` for none, and for none left."""
        key = self._recorded_key(key_of(request, self.bases))
        with self._lock:
            places = self._by_key.get(key)
            if places is None:
                return None
            at = self._next[key]
            if at < len(places):
                self._next[key] += 1
                return self.interactions[places[at]].response
        last = self.interactions[places[-1]].response
        job = _awaited_job(last.body)
        return last if job is not None and job.is_terminal else None

    def _recorded_key(self, asked: Key) -> Key:
        """The recorded request that fits, else the one that was asked."""
        if asked in self._by_key or not self._with_placeholder:
            return asked
        return next((key for key in self._with_placeholder if _fits(key, asked)), asked)

    def _exhausted(
        self, request: Request, last: Interaction, played: int
    ) -> CassetteExhaustedError:
        job = _awaited_job(last.response.body)
        end = (
            job.status.name
            if job and job.status.name != "UNKNOWN"
            else f"HTTP {last.response.status}"
        )
        polls = "1 poll" if played == 1 else f"{played} polls"
        text = (
            f"{_shown(request)} has no recorded answer left: this recording ends at {end} after"
            f" {polls}"
        )
        return CassetteExhaustedError(
            self._explained(text), request=request, nearest=last.request, played=played
        )

    def _miss(self, request: Request) -> CassetteMissError:
        nearest = self._nearest(request)
        text = f"no recorded answer fits the request\n    {_shown(request)}"
        if nearest is not None:
            text += (
                "\nThe nearest recorded request is\n   "
                f" {_shown(nearest)}\n{self._difference(request, nearest)}"
            )
        return CassetteMissError(self._explained(text), request=request, nearest=nearest)

    def _explained(self, text: str) -> str:
        files = ", ".join(str(recording.path) for recording in self.recordings)
        played = [
            f"\n    {times} x {key[0]} {shown_url(_url(key))}" for key, times in self._next.items()
        ]
        text += (
            f"\nPlayed so far: {self.played} of {len(self.interactions)} answers of"
            f" {files}{''.join(played)}"
        )
        return text + (f"\nTo record it: {self._record_command}" if self._record_command else "")

    def _nearest(self, request: Request) -> Request | None:
        wanted = _url(key_of(request, self.bases))
        known = {_url(key): places[0] for key, places in self._by_key.items()}
        same_method = {
            url: at
            for url, at in known.items()
            if self.interactions[at].request.method == request.method
        }
        for candidates in (same_method, known):
            # Bounded, as a loop of misses in a long recording would search for minutes.
            near = difflib.get_close_matches(
                wanted[:500], itertools.islice(candidates, 200), n=1, cutoff=0.0
            )
            if near:
                return self.interactions[candidates[near[0]]].request
        return None

    def _difference(self, request: Request, nearest: Request) -> str:
        asked, there = key_of(request, self.bases), key_of(nearest, self.bases)
        parts = (
            ("method", asked[0], there[0]),
            ("path", shown_url(asked[1]), shown_url(there[1])),
            ("query", _query_shown(asked), _query_shown(there)),
        )
        lines = [
            f"    {name}: asked {mine}, recorded {its}" for name, mine, its in parts if mine != its
        ]
        hidden = {name for name, _ in {*asked[2]} ^ {*there[2]}}
        if hidden and parts[2][1] == parts[2][2]:
            lines.append(
                f"    query: the value of {', '.join(sorted(hidden))} differs (it may be a secret,"
                " so it is not shown)"
            )
        return "\n".join(lines)


def _url(key: Key) -> str:
    return key[1] + ("?" if key[2] else "") + "&".join(f"{name}={value}" for name, value in key[2])


def _literal_length(key: Key) -> int:
    return len(_url(key).replace(PLACEHOLDER, ""))


def _shown(request: Request) -> str:
    return f"{request.method} {shown_url(request.url)}"


def _query_shown(key: Key) -> str:
    return shown_url(_url(("", "", key[2]))).removeprefix("?") or "none"
