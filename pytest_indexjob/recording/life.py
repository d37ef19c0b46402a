"""Recording a live job's whole life: poll by poll, so that an interruption loses nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.client import IndexingJobClient
from pytest_indexjob.api.errors import CassetteCorruptError, CassetteError, CassetteLeakError
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.exchange import Interaction, Request, Response, target_of
from pytest_indexjob.recording.cassette import Recording, dump, job_of, load, parse_cassette
from pytest_indexjob.recording.limits import MOST_BYTES
from pytest_indexjob.recording.recorder import provenance, temporary_of, write
from pytest_indexjob.secrecy.gate import scan
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.whole_file import write_whole

if TYPE_CHECKING:
    import requests

    from pytest_indexjob.api.client import Clock


# What a cassette can hold, with room to spare: see ``limits``.
_MOST_POLLS = 1500
_MOST_BYTES = MOST_BYTES * 3 // 4


def part_of(path: Path) -> Path:
    """Where the polls of an unfinished recording are kept: one line each."""
    return path.with_name(f"{path.name}.part")


class LifeRecorder:
    """Polls a job to its end and writes its life as one cassette.

    What was polled is kept in ``PATH.part`` after each poll, redacted; a recorder that is started
    again goes on from there. ``secrets`` are values that the file may not hold, besides the token.
    Of a life with more polls than a cassette can hold, ``left_out`` polls are not written.
    """

    def __init__(
        self,
        uuid: str,
        path: Path,
        *,
        token: str | None = None,
        base_url: str = API_URL,
        secrets: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        import requests

        self.uuid = uuid
        self.path = path
        self._base_url = base_url.rstrip("/")
        session = requests.Session()
        session.hooks["response"].append(self._keep)
        self._client = IndexingJobClient(token, base_url=base_url, session=session, clock=clock)
        used = token or os.environ.get("DIGITALOCEAN_ACCESS_TOKEN", "")
        self._secrets = tuple(each for each in (*secrets, used) if each)
        self._redaction = Redaction(self._secrets)
        self.interactions = self._resumed()
        self.left_out = 0  # polls that the cassette could not hold

    @property
    def last(self) -> IndexingJob | None:
        """The job as it was last seen, here or before an interruption."""
        return next(
            (job for item in reversed(self.interactions) if (job := job_of(item.response.body))),
            None,
        )

    def record(
        self,
        *,
        poll_interval: float = 5.0,
        timeout: float = 86400.0,
        on_poll: Callable[[IndexingJob], object],
    ) -> IndexingJob:
        """Poll until the job has ended, write the cassette and return the job.

        Times are in seconds.

        Raises what ``IndexingJobClient.wait`` raises; what was polled until then is kept.
        """
        job = self.last
        if job is None or not job.is_terminal:
            job = self._client.wait(
                self.uuid, timeout=timeout, poll_interval=poll_interval, on_poll=on_poll
            )
        polled = len(self.interactions)
        self.interactions = thinned(self.interactions)
        self.left_out = polled - len(self.interactions)
        origin: dict[str, object] = {**provenance(self.interactions), "whole_life": True}
        if self.left_out:
            origin["polls_left_out"] = self.left_out
        write(self.path, self.interactions, origin, self._secrets)
        part_of(self.path).unlink(missing_ok=True)
        return job

    def _keep(self, response: requests.Response, **_: object) -> None:
        url = str(response.request.url)
        target = target_of(url)
        path = target.below(target_of(self._base_url))
        if path is not None:
            url = f"{API_URL}{path}{f'?{target.query}' if target.query else ''}"
        headers = tuple(
            pair
            for pair in response.headers.items()
            if pair[0].lower() not in ("content-encoding", "content-length")
        )
        asked = Request(str(response.request.method), url, tuple(response.request.headers.items()))
        item = Interaction(
            asked, Response(response.status_code, headers, response.content, response.reason or "")
        )
        self._append(self._redaction.redact(item))

    def _append(self, item: Interaction) -> None:
        text = dump([item])
        leaks = scan(text, self._secrets)
        if leaks:
            raise CassetteLeakError(
                f"{self.path}: after redaction a poll still holds a secret: {leaks[0].kind}",
                path=self.path,
                kind=leaks[0].kind,
                where=f"line {leaks[0].line}",
            )
        try:
            with part_of(self.path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(text) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CassetteError(
                f"{part_of(self.path)} can't be written: {error.strerror}", path=self.path
            ) from None
        self.interactions.append(item)

    def _resumed(self) -> list[Interaction]:
        if self.path.is_file():
            there = load(self.path)
            if there.provenance.get("whole_life") is True and self._is_of_this_job(
                there.interactions
            ):
                return list(there.interactions)
            raise CassetteError(
                f"{self.path} holds another recording: choose another file", path=self.path
            )
        part = part_of(self.path)
        if not part.is_file():
            return []
        items = [
            item
            for line in part.read_text(encoding="utf-8").splitlines(keepends=True)
            for item in _read(line)
        ]
        if not self._is_of_this_job(items):
            raise CassetteError(f"{part} holds the polls of another job: remove it", path=part)
        # Without a last line that an interruption cut.
        text = "".join(json.dumps(dump([item])) + "\n" for item in items)
        write_whole(part, text.encode("utf-8"), temporary=temporary_of(part))
        return items

    def _is_of_this_job(self, items: Iterable[Interaction]) -> bool:
        return all(f"/{self.uuid}" in item.request.url for item in items)


def thinned(polls: Sequence[Interaction]) -> list[Interaction]:
    """As many polls of a life as one cassette can hold, where there are more.

    The first and the last stay, and each in which the status or the phase changed, with the one
    before it; of the others, one in so many.
    """
    size = sum(len(item.response.body) for item in polls) or 1
    most = min(_MOST_POLLS, _MOST_BYTES * len(polls) // size)
    if len(polls) <= most:
        return [*polls]
    jobs = [job_of(item.response.body) for item in polls]
    stands = [job and (job.status, job.phase) for job in jobs]
    changed = [at for at in range(1, len(polls)) if stands[at] != stands[at - 1]]
    kept = {0, len(polls) - 1, *changed, *(at - 1 for at in changed)}
    step = math.ceil(len(polls) / max(most - len(kept), 1))
    return [polls[at] for at in sorted({*kept, *range(0, len(polls), step)})]


def _read(line: str) -> tuple[Interaction, ...]:
    if not line.endswith("\n"):
        return ()
    try:
        return parse_cassette(Path("part"), json.loads(line)).interactions
    except (ValueError, CassetteCorruptError):
        return ()


def ask_once(uuid: str, *, base_url: str = API_URL, token: str | None = None) -> Recording:
    """What the live service says of a job and its data sources now, as a recording."""
    import requests

    items: list[Interaction] = []

    def keep(response: requests.Response, **_: object) -> None:
        asked = Request(str(response.request.method), str(response.request.url))
        items.append(Interaction(asked, Response(response.status_code, (), response.content)))

    with requests.Session() as session:
        session.hooks["response"].append(keep)
        client = IndexingJobClient(token, base_url=base_url, session=session)
        client.get(uuid)
        client.data_sources(uuid)
    return Recording(Path(f"live-{uuid[:8]}"), tuple(items), {})
