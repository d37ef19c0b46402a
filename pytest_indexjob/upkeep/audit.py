"""What is wrong with cassettes on disk: secrets, damage, unknown values, age, disuse.

Files are hostile input: whatever they hold becomes a finding or nothing, never an exception, and no
secret is told.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import unquote

from pytest_indexjob.api.calls import api_path
from pytest_indexjob.api.errors import CassetteCorruptError
from pytest_indexjob.api.schema import operation_of
from pytest_indexjob.recording.cassette import job_of, load
from pytest_indexjob.recording.limits import LimitError, check_limits, check_size
from pytest_indexjob.upkeep.drift import can_compare, mismatches, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pytest_indexjob.api.models import IndexingJob
    from pytest_indexjob.exchange import Interaction
    from pytest_indexjob.recording.cassette import Recording
    from pytest_indexjob.upkeep.drift import Mismatch

Severity = Literal["error", "warning", "info"]

_SUFFIXES = (".yaml", ".yml")
_SECONDS_A_DAY = 86_400
# Letters that are searched for secrets in one file, which takes about 2 seconds.
_MOST_SEARCHED = 3 * 2**20
_MOST_READ = 2**20  # bytes of the jobs that are looked at for their end
_MOST_FINDINGS = 1000  # of one file, beside its secrets
# How a file of vcrpy's begins a key of its mapping; a file that can't be parsed has to be known by
# its looks.
_INTERACTIONS_KEY = re.compile(r"""^(?:\{\s*)?["']?interactions["']?\s*:""", re.MULTILINE)
_UUID = re.compile(r"[0-9A-Fa-f-]{1,64}")

_MENDS = {
    "secret": (
        "replace it by a placeholder, or record again with this plugin, which redacts; then revoke"
        " the secret, for it stays in version control's history"
    ),
    "too-large": "record it in several cassettes, or search it for secrets by yourself",
    "unknown-value": (
        "record again from the live service if the service changed, else write what it really sends"
    ),
    "unended": "record again until the job has ended, or say in the test that it polls no further",
    "age": "record it again, so that it shows what the service sends today",
    "passed-over": "nothing, unless it should be a cassette: then restore it or record it again",
    "unused": "delete it, or name it in the test that should play it",
}
_AGE_MEND = (
    "record it again with this plugin, or write `recorded_at: '2025-10-31T01:14:12Z'` into its"
    " `provenance`"
)
_RESTORE = "restore it from version control, or delete it and record it again"


class Finding(NamedTuple):
    """One thing wrong with a cassette. ``rule`` names what was broken, ``mend`` the way out.

    ``line`` is ``None`` where the finding is of the file as a whole. ``info`` needs no action.
    """

    path: Path
    line: int | None
    rule: str
    problem: str
    mend: str
    severity: Severity


def audit(
    paths: Iterable[Path],
    *,
    secrets: Iterable[str] = (),
    max_age_days: float | None = None,
    used: Collection[Path] | None = None,
    now: float | None = None,
    each: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[Finding]:
    """Everything wrong with the cassettes at these paths: files, or folders of YAML files.

    ``secrets`` are values that no cassette may hold, beside what looks like a secret.
    ``max_age_days`` is the oldest that a recording may be at ``now`` (seconds since the epoch; the
    present unless given), by its provenance's ``recorded_at``. ``used`` are the files that tests
    played; any other is reported. A YAML file that is no cassette gets one finding, of severity
    ``info``, which says that it was passed over. Links that lead out of a folder are not followed.
    ``each`` is given the files, and hands them out again (to show how many are done, say).
    """
    if max_age_days is not None and not max_age_days >= 0:
        raise ValueError(f"max_age_days must be a number of days, not {max_age_days!r}")
    auditor = _Auditor(
        tuple(secret for secret in secrets if secret),
        max_age_days,
        None if used is None else {_resolved(path) for path in used},
        time.time() if now is None else now,
    )
    found = [auditor.audit_file(path) for path in each(_files(paths))]
    # The aliases of one YAML node are one place.
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ):  # a link that leads in a circle, a name that can't be one
        return path.absolute()


def _files(paths: Iterable[Path]) -> list[Path]:
    """The files to audit, each once."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _files_in(path) if _is_folder(path) else [path]:
            files.setdefault(_resolved(file), file)
    return list(files.values())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _files_in(folder: Path) -> list[Path]:
    inside = _resolved(folder)
    found = []
    for root, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(root, name)
            # is_file: opening a pipe would wait for ever.
            if (
                path.suffix.lower() in _SUFFIXES
                and path.is_file()
                and _resolved(path).is_relative_to(inside)
            ):
                found.append(path)
    return sorted(found)


class _Auditor:
    """The rules, with what they need to know beside a file."""

    def __init__(
        self,
        secrets: tuple[str, ...],
        max_age_days: float | None,
        used: set[Path] | None,
        now: float,
    ) -> None:
        self._secrets = secrets
        self._max_age_days = max_age_days
        self._used = used
        self._told_of_libraries = False
        self._told: dict[str, bool] = {}  # problems, and whether each may be shown
        self._now = now

    def audit_file(self, path: Path) -> list[Finding]:
        """The findings of one file."""
        try:
            text = _text(path)
            recording = _load(path)
        except LimitError as error:
            return [Finding(path, None, "corrupt", str(error), _RESTORE, "error")]
        except (OSError, ValueError) as error:
            problem = (
                f"it can't be read: {getattr(error, 'strerror', None) or type(error).__name__}"
            )
            return [
                Finding(
                    path,
                    None,
                    "corrupt",
                    problem,
                    "name a file that exists and can be read",
                    "error",
                )
            ]
        except CassetteCorruptError as error:
            # A damaged file is searched for secrets too, but for one that takes too long.
            if (limit := _limit_of(text)) is not None:
                return [Finding(path, None, "corrupt", str(limit), _RESTORE, "error")]
            if not _INTERACTIONS_KEY.search(text):
                problem = "it is no cassette, so it was passed over"
                return [Finding(path, None, "passed-over", problem, _MENDS["passed-over"], "info")]
            corrupt = Finding(path, error.line, "corrupt", _problem(error), _RESTORE, "error")
            return [*self._secrets_in(path, text), self._masked(corrupt), *self._unused(path)]
        # To tell a line, the file has to be read once more: only where there is one to tell.
        lines = functools.cache(lambda: _lines(text, len(recording.interactions)))
        found = itertools.chain(
            self._age(recording),
            self._unused(path),
            _unended(recording, lines),
            self._unknown_values(recording, lines),
        )
        told = list(map(self._masked, itertools.islice(found, _MOST_FINDINGS)))
        if next(found, None) is not None:
            problem = f"it has more findings than the {_MOST_FINDINGS} that are told"
            told.append(Finding(path, None, "corrupt", problem, _RESTORE, "error"))
        return [*self._secrets_in(path, text), *told]

    def _masked(self, finding: Finding) -> Finding:
        """A finding whose problem tells no secret, whatever the cassette brought into it."""
        from pytest_indexjob.secrecy.gate import scan

        if finding.problem not in self._told:
            self._told[finding.problem] = not scan(finding.problem, self._secrets)
        if self._told[finding.problem]:
            return finding
        return finding._replace(
            problem="something that is not by the contract, not shown as it may hold a secret"
        )

    def _secrets_in(self, path: Path, text: str) -> Iterator[Finding]:
        from pytest_indexjob.secrecy.gate import SearchLimitError, scan

        try:
            leaks = scan(text, self._secrets, most=_MOST_SEARCHED)
        except SearchLimitError as error:
            yield Finding(path, None, "secret", str(error), _MENDS["too-large"], "error")
            return
        for leak in leaks:
            problem = f"it holds what looks like a secret ({leak.kind}), not shown here"
            yield Finding(path, leak.line, "secret", problem, _MENDS["secret"], "error")

    def _unknown_values(
        self, recording: Recording, lines: Callable[[], Sequence[int]]
    ) -> Iterator[Finding]:
        if not can_compare():
            if not self._told_of_libraries:
                self._told_of_libraries = True
                problem = "answers are not compared with the contract: that needs two libraries"
                mend = "pip install 'pytest-indexjob[drift]'"
                yield Finding(recording.path, None, "passed-over", problem, mend, "info")
            return
        # Aliases may make one interaction of a hostile file very many.
        known: dict[Interaction, list[Mismatch]] = {}
        for at, interaction in enumerate(recording.interactions):
            if interaction not in known:
                known[interaction] = mismatches(interaction)
            for mismatch in known[interaction]:
                if mismatch.severity != "info":
                    severity: Severity = "error" if mismatch.severity == "breaking" else "warning"
                    problem = f"{mismatch.path} of {mismatch.call}: {mismatch.detail}"
                    mend = _MENDS["unknown-value"]
                    yield Finding(
                        recording.path, _line(lines, at), "unknown-value", problem, mend, severity
                    )

    def _age(self, recording: Recording) -> Iterator[Finding]:
        if self._max_age_days is None:
            return
        given = recording.provenance.get("recorded_at")
        recorded = recording.recorded_at
        if recorded is None:
            problem = (
                "its provenance does not say when it was recorded"
                if given is None
                else "its provenance's `recorded_at` is no RFC 3339 time"
            )
            yield Finding(recording.path, None, "age", problem, _AGE_MEND, "warning")
            return
        days = (self._now - recorded.timestamp()) / _SECONDS_A_DAY
        if days > self._max_age_days:
            problem = (
                f"it was recorded {days:.0f} days ago; the oldest allowed is {self._max_age_days:g}"
            )
            yield Finding(recording.path, None, "age", problem, _MENDS["age"], "error")

    def _unused(self, path: Path) -> Iterator[Finding]:
        if self._used is not None and _resolved(path) not in self._used:
            yield Finding(path, None, "unused", "no test played it", _MENDS["unused"], "warning")


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no file")  # a pipe, say, which would be waited for
    check_size(path.stat().st_size)
    return path.read_bytes().decode("utf-8", "replace")


def _limit_of(text: str) -> LimitError | None:
    """The limit that a text goes beyond."""
    import yaml

    try:
        check_limits(text)
    except LimitError as error:
        return error
    except yaml.YAMLError:
        pass
    return None


def _load(path: Path) -> Recording:
    import yaml

    try:
        return load(path)
    except (yaml.YAMLError, RecursionError):
        # Looking for the line to tell, PyYAML's own parser refuses some text that libyaml's took.
        raise CassetteCorruptError("", path=path, line=None) from None


def _problem(error: CassetteCorruptError) -> str:
    """What the error says beside the file and the mend, which a finding has of its own."""
    return (
        str(error).partition("can't be read: ")[2].partition(". Restore it")[0]
        or "it can't be read"
    )


def _lines(text: str, count: int) -> list[int]:
    """The line on which each interaction begins; none at all where that can't be told."""
    import yaml

    lines: list[int] = []
    anchors: dict[str, int] = {}
    depth, named, inside = 0, False, False
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if inside and depth == _IN_LIST and isinstance(event, yaml.NodeEvent):
                line = event.start_mark.line + 1 if event.start_mark else 1
                # An alias is told where the node that it repeats is.
                lines.append(anchors.setdefault(event.anchor, line) if event.anchor else line)
            if isinstance(event, yaml.CollectionStartEvent):
                inside = inside or (named and depth == 1)
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
                if inside and depth == 1:
                    break
            elif depth == 1:
                named = isinstance(event, yaml.ScalarEvent) and event.value == "interactions"
    except yaml.YAMLError:
        return []
    # The file may have changed meanwhile, or have two such lists.
    return lines if len(lines) == count else []


_IN_LIST = 2  # levels above an interaction: the cassette's mapping, and the list in it


def _line(lines: Callable[[], Sequence[int]], at: int) -> int | None:
    told = lines()
    return told[at] if told else None


def _unended(recording: Recording, lines: Callable[[], Sequence[int]]) -> Iterator[Finding]:
    """A warning for each job whose polls stop before its end: later polls have no answer."""
    polls: dict[str, list[int]] = {}
    for at, (request, _) in enumerate(recording.interactions):
        path = api_path(request.url)
        operation = operation_of(request.method, path)
        if operation is not None and operation.name == "get":
            polls.setdefault(unquote(path.rpartition("/")[2]), []).append(at)
    # A single answer is a recording of a moment, unless it says that it is of a life.
    least = 1 if recording.provenance.get("whole_life") is True else 2
    left = _MOST_READ
    for uuid, places in polls.items():
        # Many large jobs would take long to read: of the rest nothing is told.
        left -= len(recording.interactions[places[-1]].response.body)
        found = ((at, _job_at(recording, at)) for at in reversed(places)) if left >= 0 else ()
        at, job = next(((at, job) for at, job in found if job is not None), (0, None))
        if len(places) >= least and job is not None and not job.is_terminal:
            shown = uuid if _UUID.fullmatch(uuid) else "(an identifier not shown)"
            problem = (
                f"it polls the job {shown} {_times(places)} but ends before the job does, at"
                f" {_standing(job)}"
            )
            yield Finding(
                recording.path, _line(lines, at), "unended", problem, _MENDS["unended"], "warning"
            )


def _job_at(recording: Recording, at: int) -> IndexingJob | None:
    response = recording.interactions[at].response
    body = response.plain_body if 200 <= response.status < 300 else None
    return job_of(body) if body else None


def _times(places: Sequence[int]) -> str:
    return "once" if len(places) == 1 else f"{len(places)} times"


def _standing(job: IndexingJob) -> str:
    return job.status.name if job.status.is_known else "a status that the contract does not know"


def findings_text(findings: Sequence[Finding]) -> str:
    """The findings as lines to read, each with its mend below it."""
    if not findings:
        return "no findings"
    return "\n".join(
        f"{printable(it.path)}{f':{it.line}' if it.line else ''}: {it.severity}: {it.rule}:"
        f" {it.problem}\n    mend: {it.mend}"
        for it in findings
    )


def findings_json(findings: Sequence[Finding]) -> str:
    """The findings as a JSON array of objects, one a finding, named as the fields."""
    return json.dumps([it._asdict() | {"path": str(it.path)} for it in findings], indent=2)
