"""What one test needs of pytest's objects: its interception, its recordings, how it ended.

The plugin calls it.
"""

from __future__ import annotations

import os
import shlex
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.recording.cassette import Playback
from pytest_indexjob.recording.library import locate, name_for_test, open_cassettes
from pytest_indexjob.recording.recorder import Recorder, age_in_days
from pytest_indexjob.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_indexjob.api.client import IndexingJobClient, IndexJobSettings
    from pytest_indexjob.simulation.server import LoopbackServer
    from pytest_indexjob.simulation.simulator import Simulator

T = TypeVar("T")

MARKER = "indexjob_cassette"
# What recorded and simulated answers are asked with, so that no real token is in a test.
_TEST_TOKEN = "not-a-real-token"  # noqa: S105


_RUN_ID = pytest.StashKey[str]()


class CassetteWarning(pytest.PytestWarning):
    """A recording is older than was asked for."""


def or_fail(work: Callable[[], T]) -> T:
    """What ``work`` returns.

    An error of this package fails the test with its text alone: a traceback would say no more.
    """
    try:
        return work()
    except IndexJobError as error:
        text = str(error)
    pytest.fail(text, pytrace=False)


def ini_number(config: pytest.Config, name: str) -> float:
    """A number of the ini file. Raises ``pytest.UsageError`` for what is none, or not above 0."""
    text = config.getini(name)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number > 0:
        raise pytest.UsageError(f"{name} must be a number above 0, not {text!r}")
    return number


def interception_for(request: pytest.FixtureRequest, settings: IndexJobSettings) -> Interception:
    """The interception of a test, not started."""
    config = request.config
    return Interception(
        Journal(),
        VirtualClock(),
        test=request.node.nodeid,
        base_url=settings.base_url,
        allowed_hosts=config.getini("indexjob_allowed_hosts"),
        max_polls=int(ini_number(config, "indexjob_max_polls")),
        max_hours=ini_number(config, "indexjob_max_hours"),
        secrets=lambda: secrets(settings),
    )


def record_mode(config: pytest.Config) -> str:
    """The record mode.

    Where ``CI`` is set, only the command line itself can ask for another than ``none``.
    """
    mode: str = config.getoption("--indexjob-record")
    by_hand = any(
        str(argument).startswith("--indexjob-record") for argument in config.invocation_params.args
    )
    return "none" if os.environ.get("CI") and not by_hand else mode


def max_age(text: str | None) -> tuple[float, bool] | None:
    """Days, and whether to warn only, of ``DAYS`` or ``warn:DAYS``.

    Raises ``pytest.UsageError`` for anything else.
    """
    if text is None:
        return None
    days = text.removeprefix("warn:")
    if not days.isascii() or not days.replace(".", "", 1).isdigit():
        raise pytest.UsageError(
            f"--indexjob-max-age must be days (30) or days to warn of (warn:30), not {text!r}"
        )
    return float(days), days != text


def check_options(config: pytest.Config) -> None:
    """Raise ``pytest.UsageError`` for options that make no sense."""
    max_age(config.getoption("--indexjob-max-age"))
    if config.getoption("--indexjob-live") and config.getoption("--indexjob-record") != "none":
        raise pytest.UsageError("--indexjob-live records nothing: give --indexjob-record alone")


def mark_arguments(mark: pytest.Mark | None) -> tuple[tuple[str, ...], bool]:
    """The names of a mark, and whether it is strict. Fails the test for anything else in it."""
    names, options = (mark.args, dict(mark.kwargs)) if mark else ((), {})
    strict = options.pop("strict", False)
    if (
        options
        or not all(isinstance(name, str) and name for name in names)
        or not isinstance(strict, bool)
    ):
        given = ", ".join(
            [*map(repr, names), *(f"{key}=..." for key in options), f"strict={strict!r}"]
        )
        pytest.fail(
            f"@pytest.mark.{MARKER} takes cassettes' names and strict=True or False, not {given}",
            pytrace=False,
        )
    return names, strict


def play(
    request: pytest.FixtureRequest, interception: Interception, settings: IndexJobSettings
) -> Playback:
    """Let the marked recordings answer the test's clients.

    Where the run records, the real service answers what they do not.
    """
    names, strict = mark_arguments(request.node.get_closest_marker(MARKER))
    config = request.config
    test = f"{request.cls.__name__}.{request.node.name}" if request.cls else request.node.name
    names = names or (name_for_test(request.path.stem, test),)
    folder = request.path.parent / "cassettes"
    live, mode = config.getoption("--indexjob-live"), record_mode(config)
    command = f"pytest {shlex.quote(request.node.nodeid)} --indexjob-record=new_episodes"
    playback = or_fail(
        lambda: open_cassettes(
            names,
            folder,
            base_url=settings.base_url,
            record_command=command,
            missing_ok=mode != "none",
        )
    )
    _check_age(request.node, playback, mode)
    recorder = None
    if mode != "none":
        recorder = Recorder(
            playback,
            or_fail(lambda: locate(names[0], folder)),
            mode,
            lambda asked: interception.forward(asked, settings.timeout),
            secrets=secrets(settings),
            anonymize=config.getini("indexjob_anonymize"),
            base_url=settings.base_url,
            run=run_id(config),
        )
    interception.play(playback, strict=strict and not live and recorder is None, recorder=recorder)
    return playback


def secrets(settings: IndexJobSettings) -> list[str]:
    """What no recording may hold: the token, those of the environment, the user's own list."""
    from pytest_indexjob.secrecy.redaction import environment_secrets

    return [
        *settings.secrets,
        *environment_secrets(os.environ),
        *([settings.token] if settings.token else []),
    ]


def _check_age(item: pytest.Item, playback: Playback, mode: str) -> None:
    limit = max_age(item.config.getoption("--indexjob-max-age"))
    if limit is None or mode in ("all", "rewrite"):
        return
    for recording in playback.recordings:
        age = age_in_days(recording)
        # A recording that does not say its age may have any; one that says it wrongly must not pass
        # for a new one.
        if age is None and recording.provenance.get("recorded_at") is None:
            continue
        if age is not None and age <= limit[0]:
            continue
        said = "has a `recorded_at` that is no RFC 3339 time"
        if age is not None:
            said = f"was recorded {age:.0f} days ago (at most {limit[0]:g})"
        text = (
            f"{recording.path} {said}. To record it again: pytest {shlex.quote(item.nodeid)}"
            " --indexjob-record=rewrite"
        )
        if not limit[1]:
            pytest.fail(text, pytrace=False)
        item.warn(CassetteWarning(text))


def run_id(config: pytest.Config) -> str:
    """What names this test run, alike in all its processes."""
    shared = getattr(config, "workerinput", {}).get("testrunuid")
    return shared or config.stash.setdefault(_RUN_ID, uuid.uuid4().hex)


def save(interception: Interception) -> None:
    """Write what a test that passed has recorded."""
    if interception.recorder is not None:
        or_fail(interception.recorder.save)


def simulate(
    request: pytest.FixtureRequest, interception: Interception, settings: IndexJobSettings
) -> Simulator:
    """Put a simulator in front of the test's clients."""
    from pytest_indexjob.simulation.simulator import Simulator

    if request.config.getoption("--indexjob-live"):
        pytest.skip("with --indexjob-live the real service answers, so nothing is simulated")
    if MARKER in request.fixturenames:
        pytest.fail(
            f"either the simulator answers a test or the recording of its {MARKER} mark",
            pytrace=False,
        )
    simulator = Simulator(
        interception.clock, journal=interception.journal, base_url=settings.base_url
    )
    interception.simulate(simulator)
    return simulator


def serve(request: pytest.FixtureRequest, interception: Interception) -> LoopbackServer:
    """Put a server in front of what answers the test: its marked recording, else the simulator."""
    from pytest_indexjob.simulation.server import LoopbackServer

    marked = MARKER in request.fixturenames
    source: Any = request.getfixturevalue(MARKER if marked else "indexjob_simulator")
    server = LoopbackServer(
        interception.answer_elsewhere, clock=interception.clock, step_per_poll=5.0
    ).start()
    if marked:
        source.bases += (server.url,)
    else:
        source.serve_at(server.url)
    return server


def client_for(
    request: pytest.FixtureRequest, interception: Interception, settings: IndexJobSettings
) -> IndexingJobClient:
    """A client of whatever answers the test: the service itself with ``--indexjob-live``."""
    from pytest_indexjob.api.client import IndexingJobClient

    live = request.config.getoption("--indexjob-live")
    if not live and MARKER not in request.fixturenames:
        request.getfixturevalue("indexjob_simulator")
    real = live or (interception.recorder is not None and interception.recorder.records)
    try:
        return IndexingJobClient(
            settings.token or (None if real else _TEST_TOKEN),
            base_url=settings.base_url,
            timeout=settings.timeout,
            retries=settings.retries,
            session=interception.live_session() if live else interception.session(),
            clock=None if real else interception.clock,
        )
    except ValueError as error:
        text = str(error)
    pytest.fail(text, pytrace=False)
