"""Recording: what the service answers is kept, redacted, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import CassetteError, CassetteLeakError, CassetteMissError
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import Playback, Recording, dump, load
from pytest_indexjob.secrecy.gate import scan
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.whole_file import write_whole


class Recorder:
    """Answers from recordings as far as the record mode says so, else from the service, and keeps what it said.

    ``mode`` is one of vcrpy's, or ``rewrite``; ``forward`` asks the service. ``path`` is the file
    that ``save`` writes to. ``run`` names the test run: tests of one run that share a recording
    record it together. Safe from any thread.
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
        base_url: str = API_URL,
        run: str = "",
    ) -> None:
        self.playback = playback
        self.path = path
        self.mode = mode
        self.recorded: list[Interaction] = []
        self.replaced = 0
        self.hosts: set[str] = set(playback.hosts)
        self._forward = forward
        self._secrets = set(secrets)
        self._anonymize = anonymize
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
        if self.mode not in ("all", "rewrite"):
            try:
                return self.playback.handle(request)
            except CassetteMissError:
                if not self.records:
                    raise
        response = self._forward(request)
        with self._lock:
            self.recorded.append(Interaction(request, response))
            self._learn(request, response)
        return response

    def _learn(self, request: Request, response: Response) -> None:
        # The token in use is a secret wherever else it turns up.
        _, _, credential = request.header("authorization").partition(" ")
        if credential.strip():
            self._secrets.add(credential.strip())
        # Where a report lies, or a redirect leads, is recorded too.
        for url in (response.header("location"), _signed_url(response.body)):
            if urlsplit(url).netloc:
                self.hosts.add(urlsplit(url).netloc.rpartition("@")[2].lower())

    def save(self) -> None:
        """Write what was recorded, merged with what is in the file by now.

        ``replaced`` then counts the interactions of an old recording that gave way. Raises
        ``CassetteLeakError`` where a secret is left, ``CassetteError`` where it can't be written;
        the file is then as it was.
        """
        if not self.recorded:
            if self.mode == "rewrite":
                self.replaced = len(self.playback.interactions)
            return
        with locked(self.path) as marks:
            there = (
                load(self.path)
                if self.path.is_file()
                else next(iter(self.playback.recordings), None)
            )
            replaces = self.mode == "rewrite" and not (self._run and self._mark(marks).exists())
            old = there.interactions if there and not replaces else ()
            write(self.path, (*old, *self._redacted(old)), provenance(self.recorded), self._secrets)
            if self._run and (replaces or not there):
                self._mark(marks).touch()
        self.replaced = len(there.interactions) if there and replaces else 0

    def _mark(self, folder: Path) -> Path:
        """The file whose existence says that this run has begun this recording anew."""
        return (
            folder / f"{_digest(self.path)}.{hashlib.sha256(self._run.encode()).hexdigest()[:16]}"
        )

    def _redacted(self, old: Sequence[Interaction]) -> list[Interaction]:
        redaction = Redaction(self._secrets, anonymize=self._anonymize)
        for item in old:
            redaction.redact(item)  # so that no number that it holds is given twice
        return [redaction.redact(self._canonical(item)) for item in self.recorded]

    def _canonical(self, item: Interaction) -> Interaction:
        """With the API's own address, so that a recording made elsewhere answers for it."""
        url = item.request.url
        if not url.startswith(self._base_url):
            return item
        return item._replace(
            request=item.request._replace(url=API_URL + url[len(self._base_url) :])
        )


def _signed_url(body: bytes) -> str:
    if b'"signed_url"' not in body[:10_000]:
        return ""
    with suppress(ValueError, RecursionError):
        parsed = json.loads(body)
        url = parsed.get("signed_url") if isinstance(parsed, dict) else None
        return url if isinstance(url, str) else ""
    return ""


def provenance(interactions: Sequence[Interaction], now: datetime | None = None) -> dict[str, str]:
    """When, from where and by what something is recorded, as a cassette's ``provenance`` keeps it."""
    from pytest_indexjob import __version__

    hosts = dict.fromkeys(urlsplit(item.request.url).hostname or "" for item in interactions)
    return {
        "recorded_at": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "recorded_by": f"pytest-indexjob {__version__}",
        "recorded_from": ", ".join(hosts),
    }


def write(
    path: Path,
    interactions: Sequence[Interaction],
    origin: Mapping[str, object],
    secrets: Iterable[str],
) -> None:
    """Write a cassette: scanned, then whole or not at all.

    Raises ``CassetteLeakError`` and ``CassetteError``.
    """
    text = dump(interactions, origin)
    leaks = scan(text, secrets)
    if leaks:
        where = "; ".join(f"line {leak.line}: {leak.kind}" for leak in leaks[:5])
        raise CassetteLeakError(
            f"{path} was not written: what redaction left still holds a secret ({where}). Name its"
            " value in the `secrets` of your indexjob_settings, or report the case",
            path=path,
            line=leaks[0].line,
            kind=leaks[0].kind,
            where=where,
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        reason = (
            "the disk is full"
            if error.errno == errno.ENOSPC
            else error.strerror or type(error).__name__
        )
        raise CassetteError(
            f"{path} can't be written: {reason}. The old file is as it was", path=path
        ) from None


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Hold the lock of a cassette's file against other processes; gives the folder of locks.

    The system itself takes a dead process's lock away. Locks lie apart from the cassettes, so that
    none is committed.
    """
    from filelock import FileLock

    folder = lock_folder()
    with FileLock(folder / f"{_digest(path)}.lock", timeout=60):
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


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]


def age_in_days(recording: Recording, now: datetime | None = None) -> float | None:
    """How old a recording is, by what it says of itself; ``None`` where it does not say."""
    recorded = recording.recorded_at
    if recorded is None:
        return None
    return ((now or datetime.now(UTC)) - recorded).total_seconds() / 86400
