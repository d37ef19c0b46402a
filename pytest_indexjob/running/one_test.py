"""The parts of one test: its interception, recordings, simulator, server, client and clock.

The plugin's hooks and fixtures call these functions.
"""

from __future__ import annotations

import functools
import os
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.api.settings import IndexJobSettings, problem_of
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.complaints import wider_fixture_asks
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.running.options import MARKER
from pytest_indexjob.running.settings import RunSettings, moment, run_settings
from pytest_indexjob.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_indexjob.api.client import IndexingJobClient
    from pytest_indexjob.exchange import Request, Response
    from pytest_indexjob.recording.cassette import Playback
    from pytest_indexjob.secrecy.redaction import Redaction
    from pytest_indexjob.simulation.server import LoopbackServer
    from pytest_indexjob.simulation.simulator import Simulator
    from pytest_indexjob.virtual_time.time_patches import TimePatches

T = TypeVar("T")

# What the plugin's client sends where a recording or the simulator answers.
_TEST_TOKEN = "not-a-real-token"  # noqa: S105


class CassetteWarning(pytest.PytestWarning):
    """A recording is older than was asked for."""


def or_fail(work: Callable[[], T], *, note: str = "") -> T:
    """What ``work`` returns.

    An error of this package fails the test with its text alone: a traceback would say no more.
    """
    try:
        return work()
    except IndexJobError as error:
        text = f"{error}{note}"
    pytest.fail(text, pytrace=False)


_WIDER = pytest.StashKey[Interception]()


@contextmanager
def answer_by_mark(item: pytest.Item) -> Iterator[None]:
    """Let the mark be enough by itself, while a marked test is set up.

    The recording answers the test and its fixtures of function scope. If this test is the first to
    need a fixture of a wider scope, a call by that fixture fails, and the message says why.
    """
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is None:
        yield
        return
    # pytest has no public name for a fixture's scope, nor for whether it is set up.
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    own = [bool(known.get(name)) and known[name][-1].scope == "function" for name in names]
    first = own.index(True) if True in own else len(names)
    if MARKER not in names:
        # Before the test's other fixtures, because the recording answers their calls, too. As a new
        # list, because the old list also belongs to the test's other sets of parameters.
        item.fixturenames = [*names[:first], MARKER, *names[first:]]  # type: ignore[attr-defined]
    run = run_settings(item.config)
    wider = [known[name][-1] for name in names[:first] if known.get(name)]
    waiting = any(definition.cached_result is None for definition in wider)
    if run.live or run.record_mode != "none" or not waiting:
        yield
        return
    item.stash[_WIDER] = _refuse_wider_fixtures(item)
    try:
        yield
    except BaseException:
        with suppress(pytest.fail.Exception):
            end_of_wider_fixtures(item)
        raise
    end_of_wider_fixtures(item)


class _NothingForWiderFixtures:
    """The source that refuses fixtures of a wider scope: no test's recording has their calls."""

    hosts = ()

    def __init__(self, test: str) -> None:
        self._test = test

    def handle(self, request: Request) -> Response:
        raise wider_fixture_asks(request, self._test)


def _refuse_wider_fixtures(item: pytest.Item) -> Interception:
    interception = Interception(Journal(), VirtualClock(), test=item.nodeid)
    interception.source = _NothingForWiderFixtures(item.nodeid)
    # The guard belongs to the test, so these fixtures may reach other hosts.
    return interception.start(guarded=False)


def end_of_wider_fixtures(item: pytest.Item) -> None:
    """Stop refusing, since the test's own fixtures come next.

    Fails the test if a fixture of a wider scope made a call.
    """
    interception = item.stash.get(_WIDER, None)
    if interception is not None:
        del item.stash[_WIDER]
        interception.stop()
        complaint = interception.take_complaint()
        if complaint:
            pytest.fail(complaint, pytrace=False)


def interception_for(request: pytest.FixtureRequest, settings: IndexJobSettings) -> Interception:
    """The interception of a test, not started. Fails the test for wrong settings."""
    problem = problem_of(settings)
    if problem:
        pytest.fail(problem, pytrace=False)
    run = run_settings(request.config)

    def redaction(sent: frozenset[str]) -> Redaction:
        # Made when a text is shown: most tests that pass show none.
        from pytest_indexjob.secrecy.redaction import shared_redaction

        known = tuple(dict.fromkeys((*secrets(settings), *sorted(sent))))
        return shared_redaction(known, run.kept_headers, run.kept_bodies)

    return Interception(
        Journal(),
        VirtualClock(run.clock_start),
        test=request.node.nodeid,
        base_url=settings.base_url,
        allowed_hosts=run.allowed_hosts,
        max_polls=run.max_polls,
        max_hours=run.max_hours,
        redaction=redaction,
    )


def mark_arguments(mark: pytest.Mark | None) -> tuple[tuple[str, ...], bool]:
    """The names of a mark, and whether it is strict. Fails the test for anything else in it."""
    names, options = (mark.args, dict(mark.kwargs)) if mark else ((), {})
    strict = options.get("strict", False)
    good_names = all(isinstance(name, str) and name for name in names)
    if not good_names or not isinstance(strict, bool) or options.keys() - {"strict"}:
        given = [*map(repr, names), *(f"{key}={value!r}" for key, value in options.items())]
        pytest.fail(
            f"@pytest.mark.{MARKER} takes names of cassettes, and strict=True or strict=False, not"
            f' {", ".join(given)}. For example: @pytest.mark.{MARKER}("completed", strict=True)',
            pytrace=False,
        )
    return names, strict


def play(
    request: pytest.FixtureRequest, interception: Interception, settings: IndexJobSettings
) -> Playback:
    """Let the marked recordings answer the test's clients.

    While the run records, the real service answers the requests that the recordings don't answer.
    """
    from pytest_indexjob.recording.library import (
        folder_of,
        locate,
        name_for_test,
        open_cassettes,
    )

    mark = request.node.get_closest_marker(MARKER)
    names, strict = mark_arguments(mark)
    run = run_settings(request.config)
    mode = run.record_mode
    names = names or (name_for_test(request.path.stem, _name_in_module(request.node, settings)),)
    folder = folder_of(request.path)
    command = f"pytest {shlex.quote(request.node.nodeid)} --indexjob-record=new_episodes"
    playback = or_fail(
        lambda: open_cassettes(
            names,
            folder,
            base_url=settings.base_url,
            record_command=command,
            missing_ok=mode != "none",
        ),
        note="" if mark else f" (the test has no mark @pytest.mark.{MARKER}(NAME))",
    )
    _clear_once(request.config, (folder / names[0]).parent)
    _check_age(request.node, playback, run)
    recorder = None
    if mode != "none":
        from pytest_indexjob.interception.forwarding import forward
        from pytest_indexjob.recording.recorder import Recorder
        from pytest_indexjob.running.shared_cassettes import SHARED, SharedCassettes

        path = or_fail(lambda: locate(names[0], folder))
        shared: SharedCassettes | None = request.config.pluginmanager.get_plugin(SHARED)
        recorder = Recorder(
            playback,
            path,
            mode,
            lambda asked: forward(asked, settings.timeout, interception.guard),
            secrets=secrets(settings),
            anonymize=run.anonymize,
            keep_headers=run.kept_headers,
            keep_bodies=run.kept_bodies,
            base_url=settings.base_url,
            run=run.run,
            sharing=shared.sharing(request.node, names[0]) if shared is not None else 1,
        )
    interception.play(
        playback, strict=strict and not run.live and recorder is None, recorder=recorder
    )
    return playback


def _name_in_module(item: pytest.Item, settings: IndexJobSettings) -> str:
    """The names of a test and its classes, without secrets, for the name of its cassette."""
    from pytest_indexjob.secrecy.redaction import shared_redaction

    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    name = ".".join([*classes, item.name])
    redacted = shared_redaction(tuple(secrets(settings))).redact_text(name)
    if redacted == name:
        return name
    # Not by a hash, because the hash of a weak secret gives the secret away.
    indices = getattr(getattr(item, "callspec", None), "indices", {})
    return "-".join([redacted, *map(str, indices.values())])


_CLEARED = pytest.StashKey[set[Path]]()


def _clear_once(config: pytest.Config, folder: Path) -> None:
    """Remove the unfinished files that a killed run left in a folder of cassettes."""
    cleared = config.stash.setdefault(_CLEARED, set())
    if folder in cleared:
        return
    cleared.add(folder)
    if any(folder.glob(".*.yaml.tmp")):
        from pytest_indexjob.recording.recorder import clear

        clear(folder)


def secrets(settings: IndexJobSettings) -> list[str]:
    """What no recording may hold: the token, those of the environment, the user's own list."""
    from pytest_indexjob.secrecy.redaction import environment_secrets

    return [
        *settings.secrets,
        *environment_secrets(os.environ),
        *([settings.token] if settings.token else []),
    ]


def _check_age(item: pytest.Item, playback: Playback, run: RunSettings) -> None:
    limit = run.max_age
    mark = item.get_closest_marker(MARKER)
    # A cassette with a name may be shared, and only all of its tests together rewrite it.
    again = item.nodeid.partition("::")[0] if mark and mark.args else item.nodeid
    if limit is None or run.record_mode in ("all", "rewrite"):
        return
    from pytest_indexjob.recording.recorder import age_in_days

    for recording in playback.recordings:
        age = age_in_days(recording)
        # A recording without a date may be of any age, so it passes. A recording with a date that
        # can't be read fails, so that nobody passes an old recording off as a new one.
        if age is None and recording.provenance.get("recorded_at") is None:
            continue
        if age is not None and age <= limit.days:
            continue
        said = "has a `recorded_at` that is no RFC 3339 time"
        if age is not None:
            said = f"was recorded {age:.0f} days ago (at most {limit.days:g})"
        text = (
            f"{recording.path} {said}. To record it again: pytest {shlex.quote(again)}"
            " --indexjob-record=rewrite"
        )
        if not limit.warns:
            pytest.fail(text, pytrace=False)
        item.warn(CassetteWarning(text))


def save(item: pytest.Item, interception: Interception, report: pytest.TestReport) -> None:
    """Write what a test that passed has recorded; where that fails, so does its last report."""
    recorder = interception.recorder
    if recorder is None:
        return
    saving = pytest.CallInfo.from_call(
        lambda: or_fail(recorder.save), when="teardown", reraise=KeyboardInterrupt
    )
    if saving.excinfo is not None:
        failed = pytest.TestReport.from_item_and_call(item, saving)
        report.outcome, report.longrepr = failed.outcome, failed.longrepr


def simulate(
    request: pytest.FixtureRequest, interception: Interception, settings: IndexJobSettings
) -> Simulator:
    """Put a simulator in front of the test's clients."""
    from pytest_indexjob.simulation.simulator import Simulator

    if run_settings(request.config).live:
        pytest.skip("with --indexjob-live the real service answers, so nothing is simulated")
    if MARKER in request.fixturenames:
        pytest.fail(
            f"the test has the mark {MARKER} and uses indexjob_simulator, but only one of them can"
            " answer its calls. Remove the mark or the fixture. To simulate what a recording holds:"
            " indexjob_simulator.start(Scenario.from_cassette(NAME))",
            pytrace=False,
        )
    simulator = Simulator(
        interception.clock,
        journal=interception.journal,
        base_url=settings.base_url,
        on_start=interception.begin,
    )
    interception.simulate(simulator)
    return simulator


def serve(request: pytest.FixtureRequest, interception: Interception) -> LoopbackServer:
    """Serve what answers the test: the recordings that its mark names, else the simulator."""
    from pytest_indexjob.simulation.server import LoopbackServer

    marked = MARKER in request.fixturenames
    source: Any = request.getfixturevalue(MARKER if marked else "indexjob_simulator")
    server = LoopbackServer(
        interception.answer_for_server, clock=interception.clock, step_per_poll=5.0
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
    from pytest_indexjob.interception.sessions import answered_session, live_session

    live = run_settings(request.config).live
    if not live and MARKER not in request.fixturenames:
        request.getfixturevalue("indexjob_simulator")
    real = live or (interception.recorder is not None and interception.recorder.records)
    session = (
        live_session(interception.journal, interception.clock)
        if live
        else answered_session(interception)
    )
    try:
        return IndexingJobClient(
            settings.token or (None if real else _TEST_TOKEN),
            base_url=settings.base_url,
            timeout=settings.timeout,
            retries=settings.retries,
            session=session,
            clock=None if real else interception.clock,
        )
    except ValueError as error:
        text = str(error)
    pytest.fail(text, pytrace=False)


def _moment_or_fail(value: object) -> float:
    try:
        return moment(value)
    except ValueError as error:
        text = f"the argument of indexjob_clock must be {error}"
    pytest.fail(text, pytrace=False)


def time_patches_for(request: pytest.FixtureRequest, interception: Interception) -> TimePatches:
    """What puts the test's clock in place: on real time where the real service answers."""
    from pytest_indexjob.virtual_time.originals import platform_complaint

    if complaint := platform_complaint():
        pytest.fail(complaint, pytrace=False)
    # Its import needs the platform.
    from pytest_indexjob.virtual_time.time_patches import TimePatches

    run = run_settings(request.config)
    if hasattr(request, "param"):
        interception.clock.start = _moment_or_fail(request.param)
    real = run.live
    if run.record_mode != "none" and MARKER in request.fixturenames:
        request.getfixturevalue(MARKER)
        real = interception.recorder is not None and interception.recorder.records
    return TimePatches(
        interception.clock,
        stuck_after=run.stuck_after,
        real=real,
        hint=functools.partial(request.node.add_report_section, "call", "indexjob_clock"),
    )
