"""Recording: what the service answers is kept, redacted, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import CassetteError, CassetteLeakError
from pytest_indexjob.content_coding import PACKAGES
from pytest_indexjob.exchange import Interaction, Request, Response, target_of
from pytest_indexjob.recording.cassette import (
    HEAD,
    Playback,
    Recording,
    dump,
    end_of_interactions,
    load,
    parse_cassette,
)
from pytest_indexjob.recording.limits import (
    MOST_BYTES,
    MOST_NODES,
    LimitError,
    check_limits,
    check_size,
)
from pytest_indexjob.secrecy.gate import scan
from pytest_indexjob.secrecy.redaction import Redaction, credentials, is_placeholder
from pytest_indexjob.whole_file import write_whole


class Recorder:
    """Answers from recordings or from the service, as the record mode says, and keeps the answers.

    ``mode`` is one of vcrpy's, or ``rewrite``; ``forward`` asks the service. ``path`` is the file
    that ``save`` writes to. ``run`` names the test run: tests of one run that share a recording
    record it together. ``sharing`` is how many they are: where several do, ``rewrite`` leaves the
    file to the run's end, and what this test brings to it is in ``staged``. Safe from any thread.
    """

    def __init__(
        self,
        playback: Playback,
        path: Path,
        mode: str,
        forward: Callable[[Request], Response],
        *,
        secrets: Iterable[str] = (),
        anonymize: bool = False,
        keep_headers: Iterable[str] = (),
        keep_bodies: Iterable[str] = (),
        base_url: str = API_URL,
        run: str = "",
        sharing: int = 1,
    ) -> None:
        self.playback = playback
        self.path = path
        self.mode = mode
        self.recorded: list[Interaction] = []
        self.replaced = 0
        self.sharing = sharing
        self.staged: str | None = None
        self.replaced_types: set[str] = set()  # of bodies that were replaced whole
        self.hosts: set[str] = set(playback.hosts)
        self._forward = forward
        self._secrets = set(secrets)
        self._anonymize = anonymize
        self._kept = tuple(keep_headers), tuple(keep_bodies)
        self._base_url = base_url.rstrip("/")
        self._run = run
        self._existed = bool(playback.recordings)
        # What another test of this run has begun to record, this one goes on with.
        self._begun = bool(run) and self._mark(lock_folder()).exists()
        self._lock = threading.Lock()

    @property
    def records(self) -> bool:
        """Whether a request that has no recorded answer goes to the service."""
        return self.mode in ("new_episodes", "all", "rewrite") or (
            self.mode == "once" and (self._begun or not self._existed)
        )

    def handle(self, request: Request) -> Response:
        """The recorded answer, or the service's.

        Raises ``CassetteMissError`` where the mode allows neither.
        """
        response = self.played(request)
        if response is None:
            response = self.ask(request)
            self.keep(request, response)
        return response

    def played(self, request: Request) -> Response | None:
        """The recorded answer, or ``None`` where the service is to be asked.

        Raises ``CassetteMissError`` where the mode allows neither.
        """
        if self.mode not in ("all", "rewrite"):
            # Where the service may be asked, no time is spent on telling what the recording lacks.
            return (self.playback.find if self.records else self.playback.handle)(request)
        return None

    def ask(self, request: Request) -> Response:
        """What the service answers to our own call. Raises ``TransportFault`` for no answer."""
        return self._forward(request)

    def keep(self, request: Request, response: Response) -> None:
        """Record what the service answered."""
        with self._lock:
            self.recorded.append(Interaction(request, response))
            self._learn(request, response)

    def _learn(self, request: Request, response: Response) -> None:
        # The token in use is a secret wherever else it turns up.
        self._secrets |= credentials(request.headers, request.url, request.body)
        # Where a report lies, or a redirect leads, is recorded too.
        for url in (response.header("location"), _signed_url(response.plain_body or b"")):
            if target_of(url).netloc:
                self.hosts.add(target_of(url).netloc)

    def save(self) -> None:
        """Write what was recorded, merged with what is in the file by now.

        ``replaced`` then counts the interactions of an old recording that gave way. Raises
        ``CassetteLeakError`` where a secret is left, ``CassetteError`` where it can't be written;
        the file is then as it was.
        """
        if self.mode == "rewrite" and self.sharing > 1:
            origin = provenance(self.recorded)
            self.staged = checked(
                self.path, self._redacted("", anonymize=False), origin, self._secrets
            )
            return
        if not self.recorded:
            if self.mode == "rewrite":
                self.replaced = len(self.playback.interactions)
            return
        with locked(self.path) as marks:
            existed = self.path.is_file()
            if existed and self.mode == "rewrite":
                self.replaced = len(load(self.path).interactions)
            base = "" if self.mode == "rewrite" else self._base_text()
            new = self._redacted(base, anonymize=self._anonymize)
            text = extended(self.path, base, new, provenance(self.recorded), self._secrets)
            _put(self.path, text)
            if self._run and not existed and self.mode == "once":
                self._mark(marks).touch()
                _forget_old_marks(marks)

    def _base_text(self) -> str:
        """The text that the new interactions are added to: the file's, or a shipped cassette's."""
        if self.path.is_file():
            return self.path.read_text(encoding="utf-8")
        shipped = next(iter(self.playback.recordings), None)
        return shipped.path.read_text(encoding="utf-8") if shipped else ""

    def _mark(self, folder: Path) -> Path:
        """The file whose existence says that this run has begun this recording anew."""
        return (
            folder / f"{_digest(self.path)}.{hashlib.sha256(self._run.encode()).hexdigest()[:16]}"
        )

    def _redacted(self, old: str, *, anonymize: bool) -> list[Interaction]:
        for request, response in self.recorded:
            if response.plain_body is None:
                raise self._undecodable(request, response)
        headers, bodies = self._kept
        redaction = Redaction(
            self._secrets, keep_headers=headers, keep_bodies=bodies, anonymize=anonymize
        )
        redaction.reserve(old)  # so that no number that it holds is given twice
        redacted = [redaction.redact(self._canonical(item)) for item in self.recorded]
        self.replaced_types = {
            item.response.header("content-type").partition(";")[0].strip() or "no type"
            for item, was in zip(redacted, self.recorded, strict=True)
            if is_placeholder(item.response.body) and not is_placeholder(was.response.body)
        }
        return redacted

    def _undecodable(self, request: Request, response: Response) -> CassetteError:
        coding = response.content_encoding
        names = (name.strip().lower() for name in coding.split(","))
        package = next((PACKAGES[name] for name in names if name in PACKAGES), "")
        way_out = f": pip install {package}" if package else ": ask for another Accept-Encoding"
        return CassetteError(
            f"{self.path} was not written: the body of the answer to {request!r} is"
            f" compressed as {coding[:40]!r}, which can't be decompressed here, so its secrets"
            f" could not be found. To record it{way_out}",
            path=self.path,
        )

    def _canonical(self, item: Interaction) -> Interaction:
        """With the API's own address, so that a recording made elsewhere answers for it."""
        target = target_of(item.request.url)
        path = target.below(target_of(self._base_url))
        if path is None:
            return item
        query = f"?{target.query}" if target.query else ""
        return item._replace(request=item.request._replace(url=f"{API_URL}{path}{query}"))


def _signed_url(body: bytes) -> str:
    if b'"signed_url"' not in body[:10_000]:
        return ""
    with suppress(ValueError, RecursionError):
        parsed = json.loads(body)
        url = parsed.get("signed_url") if isinstance(parsed, dict) else None
        return url if isinstance(url, str) else ""
    return ""


def provenance(interactions: Sequence[Interaction], now: datetime | None = None) -> dict[str, str]:
    """When, from where and by what a cassette is recorded: its ``provenance``."""
    from pytest_indexjob import __version__

    hosts = dict.fromkeys(urlsplit(item.request.url).hostname or "" for item in interactions)
    return {
        "recorded_at": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "recorded_by": f"pytest-indexjob {__version__}",
        "recorded_from": ", ".join(hosts),
    }


def rewrite(
    path: Path,
    staged: Iterable[str],
    *,
    anonymize: bool,
    keep_headers: Iterable[str] = (),
    keep_bodies: Iterable[str] = (),
) -> tuple[int, int]:
    """Replace a cassette by what several tests staged; how many interactions it held, and holds.

    Where they recorded nothing, it is left as it is. Raises ``CassetteError``.
    """
    redaction = Redaction(keep_headers=keep_headers, keep_bodies=keep_bodies, anonymize=anonymize)
    parts = [part for text in staged if (part := parse_cassette(path, text)).interactions]
    items = [item for part in parts for item in part.interactions]
    with locked(path):
        before = len(load(path).interactions) if path.is_file() else 0
        if items:
            redacted = [redaction.redact(item) for item in items]
            _put(path, checked(path, redacted, parts[-1].provenance, ()))
    return before, len(items)


def write(
    path: Path,
    interactions: Sequence[Interaction],
    origin: Mapping[str, object],
    secrets: Iterable[str],
) -> None:
    """Write a cassette: scanned, then whole or not at all.

    Raises ``CassetteLeakError`` and ``CassetteError``.
    """
    text = checked(path, interactions, origin, secrets)
    with locked(path):
        _put(path, text)


def _put(path: Path, text: str) -> None:
    """Write the text, under its lock: an unfinished file can only be that of a killed writer."""
    _check_limits(path, text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8"), temporary=temporary_of(path))
    except OSError as error:
        reason = (
            "the disk is full"
            if error.errno == errno.ENOSPC
            else error.strerror or type(error).__name__
        )
        raise CassetteError(
            f"{path} can't be written: {reason}. The old file is as it was", path=path
        ) from None


def _check_limits(path: Path, text: str) -> None:
    """Refuse a text that could not be read again."""
    # Few nodes begin on one line, so that most texts need no closer look.
    if text.count("\n") < MOST_NODES // 8 and len(text) < MOST_BYTES // 4:
        return
    try:
        check_size(len(text.encode("utf-8")))
        check_limits(text, most_nodes=MOST_NODES)
    except LimitError as error:
        raise CassetteError(
            f"{path} was not written, since no test could read it: {error}. Record fewer calls, or"
            " into several cassettes",
            path=path,
        ) from None


def temporary_of(path: Path) -> Path:
    """Where a cassette's new text is written, before it takes the cassette's place."""
    return path.with_name(f".{path.name}.tmp")


def clear(folder: Path) -> None:
    """Remove what killed writers left in a folder; a file whose lock is held is being written."""
    for left in folder.glob(".*.yaml.tmp"):
        path = left.with_name(left.name.removeprefix(".").removesuffix(".tmp"))
        with suppress(TimeoutError, OSError), locked(path, timeout=0):
            left.unlink()


def extended(
    path: Path,
    text: str,
    new: Sequence[Interaction],
    origin: Mapping[str, object],
    secrets: Collection[str],
) -> str:
    """The text of a cassette with interactions added.

    The cost does not grow with what is there: only what is new is written anew and scanned. Raises
    ``CassetteLeakError`` and ``CassetteCorruptError``.
    """
    end = end_of_interactions(text)
    if end is None:
        old = parse_cassette(path, text).interactions if text else ()
        return checked(path, (*old, *new), origin, secrets)
    return text[:end] + checked(path, new, origin, secrets).removeprefix(HEAD)


def checked(
    path: Path,
    interactions: Sequence[Interaction],
    origin: Mapping[str, object],
    secrets: Iterable[str],
) -> str:
    """The text of a cassette that may be written. Raises ``CassetteLeakError`` for any other."""
    text = dump(interactions, origin)
    leaks = scan(text, secrets)
    if leaks:
        where = "; ".join(f"line {leak.line}: {leak.kind}" for leak in leaks[:5])
        raise CassetteLeakError(
            f"{path} was not written: after redaction it still holds a secret ({where}). Name its"
            " value in the `secrets` of your indexjob_settings, or report the case",
            path=path,
            line=leaks[0].line,
            kind=leaks[0].kind,
            where=where,
        )
    return text


@contextmanager
def locked(path: Path, timeout: float = 60.0) -> Iterator[Path]:
    """Hold the lock of a cassette's file against other processes; gives the folder of locks.

    The system itself takes a dead process's lock away. Locks lie apart from the cassettes, so that
    none is committed.
    """
    from filelock import FileLock

    folder = lock_folder()
    with FileLock(folder / f"{_digest(path)}.lock", timeout=timeout):
        yield folder


def lock_folder() -> Path:
    """This user's own folder for locks.

    Raises ``CassetteError`` where somebody else has made it.
    """
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"pytest-indexjob-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != user:
        raise CassetteError(
            f"{folder} belongs to another user: remove it, or set TMPDIR", path=folder
        )
    return folder


def _forget_old_marks(folder: Path) -> None:
    """Remove the marks of runs that ended long ago. Locks stay: one that is held may be old."""
    for mark in folder.iterdir():
        with suppress(OSError):
            if mark.suffix != ".lock" and _is_old(mark):
                mark.unlink()


def _is_old(mark: Path) -> bool:
    return time.time() - mark.stat().st_mtime > _MARK_LIFETIME


_MARK_LIFETIME = 24 * 3600  # seconds: longer than any run


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]


def age_in_days(recording: Recording, now: datetime | None = None) -> float | None:
    """How old a recording is, by what it says of itself; ``None`` where it does not say."""
    recorded = recording.recorded_at
    if recorded is None:
        return None
    return ((now or datetime.now(UTC)) - recorded).total_seconds() / 86400
