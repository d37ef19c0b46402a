"""The shell's door: ``pytest-indexjob``.

The other rooms do the work of its commands. They are imported when a command needs them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_indexjob import __version__
from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.exchange import Exchange, Request, answer_of
from pytest_indexjob.whole_file import writing_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_indexjob.api.models import IndexingJob
    from pytest_indexjob.exchange import Response
    from pytest_indexjob.recording.cassette import Recording

_File = TypeVar("_File")
OK, FINDINGS, USAGE = 0, 1, 2
# The exit status that a shell reports for a command that writes to a closed pipe.
_BROKEN_PIPE = 141
_BASE_URL = (
    "the API's address (default: https://api.digitalocean.com); the token is read from"
    " DIGITALOCEAN_ACCESS_TOKEN"
)
_STATUSES = "exit status: 0 no problems, 1 problems were found, 2 the command could not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns the exit status: 0, 1 where problems were found, 2 where the command could not run.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has read enough. Without this, Python would flush at its exit and complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (IndexJobError, OSError, ValueError) as error:
        print(f"pytest-indexjob: {_said(error)}", file=sys.stderr)  # noqa: T201
        return USAGE
    except KeyboardInterrupt:
        return 130
    return status


def _said(error: Exception) -> str:
    """The text of an error; of the system's errors without their numbers."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-indexjob",
        description="Look after recordings of indexing jobs, and serve a simulator of them.",
        epilog=_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"pytest-indexjob {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help=(
            "print the script by which a shell (bash, zsh or tcsh) completes this command; needs"
            " `pip install pytest-indexjob[completion]`"
        ),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    adders = (_add_list, _add_serve, _add_record, _add_show, _add_audit, _add_drift, _add_coverage)
    for add in adders:
        add(commands)
    return parser


class _PrintCompletion(argparse.Action):
    """Print the shell's completion script, made from the parser by shtab, and stop."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
        try:
            import shtab
        except ImportError:
            parser.error(
                "--print-completion needs shtab: pip install 'pytest-indexjob[completion]'"
            )
        _add_completions(parser, shtab.FILE)
        _say(shtab.complete(parser, shell))
        parser.exit()


def _add_completions(parser: argparse.ArgumentParser, files: Any) -> None:
    """Say which arguments are files, and which scenarios there are."""
    from pytest_indexjob.simulation import scenarios

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _add_completions(command, files)
        elif action.type is Path or action.metavar == "FILE":
            action.complete = files  # type: ignore[attr-defined]  # what shtab looks for
        elif action.dest == "scenario":
            action.choices = scenarios.names()


def _command(
    commands: Any, name: str, text: str, example: str, run: Any
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example:\n    {example}\n\n{_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _check_output(option: str, path: Path | None) -> None:
    """Refuse a file that can't be written, before the work whose result it is to hold.

    Raises ``ValueError``.
    """
    problem = writing_problem(path) if path else ""
    if problem:
        raise ValueError(f"{option} {path} can't be written: {problem}")


def _counted(files: Sequence[_File]) -> Iterator[_File]:
    """The same files; meanwhile a line on the terminal says how many of them are done.

    If standard error is no terminal, no line is shown.
    """
    if len(files) < 2 or not sys.stderr.isatty():
        yield from files
        return
    line = ""
    try:
        for at, file in enumerate(files):
            line = f"{at} of {len(files)} files"
            print(f"\r{line}", end="", file=sys.stderr, flush=True)  # noqa: T201
            yield file
    finally:
        print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)  # noqa: T201


# list


def _add_list(commands: Any) -> None:
    text = "list the shipped recordings, the scenarios, the faults, or the calls of the API"
    parser = _command(commands, "list", text, "pytest-indexjob list scenarios", _list)
    parser.add_argument("kind", choices=tuple(_LISTS), help="what to list")


def _list(options: argparse.Namespace) -> int:
    rows = list(_LISTS[options.kind]())
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        _say(f"{name:<{width}}  {text}".rstrip())
    return OK


def _listed_recordings() -> Iterator[tuple[str, str]]:
    from pytest_indexjob.recording.cassette import load
    from pytest_indexjob.recording.library import shipped_folder, shipped_names

    for name in shipped_names():
        interactions = load(shipped_folder() / f"{name}.yaml").interactions
        last = interactions[-1]
        said = answer_of(*last)
        end = said.job.status.name if said.job else f"HTTP {last.response.status}"
        answers = "1 answer" if len(interactions) == 1 else f"{len(interactions)} answers"
        yield name, f"{answers}, the last: {end}"


def _listed_scenarios() -> Iterator[tuple[str, str]]:
    from pytest_indexjob.simulation import scenarios

    yield from ((name, scenarios.get(name).summary) for name in scenarios.names())


def _listed_faults() -> Iterator[tuple[str, str]]:
    from pytest_indexjob.simulation import faults

    yield from ((name, faults.get(name).summary) for name in faults.names())


def _listed_calls() -> Iterator[tuple[str, str]]:
    from pytest_indexjob.api.calls import CALLS

    yield from ((call.name, str(call)) for call in CALLS)


_LISTS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "recordings": _listed_recordings,
    "scenarios": _listed_scenarios,
    "faults": _listed_faults,
    "calls": _listed_calls,
}

# serve


def _add_serve(commands: Any) -> None:
    example = "pytest-indexjob serve --port 8787 --scenario partial --step-per-poll 30"
    parser = _command(
        commands, "serve", "serve the simulator to clients in any language", example, _serve
    )
    parser.add_argument(
        "--port", type=int, default=0, help="the port of 127.0.0.1 (default: any free port)"
    )
    parser.add_argument(
        "--scenario",
        default="completed",
        metavar="NAME",
        help="the scenario of every job that a client starts (default: completed)",
    )
    parser.add_argument(
        "--step-per-poll",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="the seconds by which each GET moves the simulator's clock forward (default: 5)",
    )
    parser.add_argument("--token", help="the only token that is accepted (default: any token)")
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="append a line for each request to this file (default: standard output)",
    )
    parser.add_argument(
        "--documented-example",
        action="store_true",
        help=(
            "answer every call with the example of the published API reference, whatever the uuid"
            " and the token"
        ),
    )


def _serve(options: argparse.Namespace) -> int:
    import signal
    import threading

    from pytest_indexjob.api.calls import TOKEN_VARIABLE
    from pytest_indexjob.simulation import scenarios
    from pytest_indexjob.simulation.control_access import PREFIX
    from pytest_indexjob.simulation.server import LoopbackServer
    from pytest_indexjob.virtual_time.clock import VirtualClock

    scenarios.get(options.scenario)
    if options.token is not None and not _can_be_sent(options.token):
        raise ValueError("--token must be printable ASCII without blanks: no client can send it")
    if not options.step_per_poll >= 0:
        raise ValueError(f"--step-per-poll must be 0 or more seconds, not {options.step_per_poll}")
    if options.log and not options.log.exists():  # it may be a terminal or a pipe
        _check_output("--log", options.log)
    clock = VirtualClock()
    log = options.log.open("a", encoding="utf-8") if options.log else sys.stdout

    def note(request: Request, response: Response | None) -> None:
        print(_log_line(request, response), file=log, flush=True)

    source = _served(options, clock)
    server = LoopbackServer(
        source.handle,
        clock=clock,
        port=options.port,
        step_per_poll=options.step_per_poll,
        token=options.token,
        log=note,
    )
    if not options.documented_example:
        source.serve_at(server.url)
    _say(f"serving at {server.url} (control: {server.url}{PREFIX}); stop with Ctrl-C")
    for name, value in server.env.items():
        is_secret = name == TOKEN_VARIABLE and options.token
        _say(f"export {name}={'...' if is_secret else value}")
    # Not from the handler itself: it runs in the thread that serves.
    stop = threading.Thread(target=server.stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.start() if not stop.is_alive() else None)
    server.serve_forever()
    stop.join()
    if log is not sys.stdout:
        log.close()
    return OK


def _can_be_sent(token: str) -> bool:
    return bool(token) and all("!" <= letter <= "~" for letter in token)


def _served(options: argparse.Namespace, clock: Any) -> Any:
    from pytest_indexjob.simulation.control import Controlled
    from pytest_indexjob.simulation.documented import DocumentedExample
    from pytest_indexjob.simulation.simulator import Simulator

    def make(clock: Any) -> Simulator:
        # A client with a real clock may ask fast, so only injected rate limits hold.
        simulator = Simulator(
            clock, token=options.token, requests_per_hour=None, requests_per_minute=None
        )
        simulator.plan(options.scenario)
        return simulator

    return DocumentedExample() if options.documented_example else Controlled(clock, make)


def _log_line(request: Request, response: Response | None) -> str:
    from pytest_indexjob.exchange import shown_url

    shown = shown_url(request.url).encode("ascii", "backslashreplace").decode()
    return f"{request.method} {shown} {response.status if response else '-'}"


# record


def _add_record(commands: Any) -> None:
    example = (
        "pytest-indexjob record 5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02 -o tests/cassettes/mine.yaml"
    )
    text = (
        "poll a live job to its end, and record every answer; after Ctrl-C the same command goes on"
    )
    parser = _command(commands, "record", text, example, _record)
    parser.add_argument("uuid", help="the job's uuid")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="the cassette to write"
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="seconds between two polls (default: 5)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=86400.0,
        metavar="SECONDS",
        help="stop after this number of seconds (default: 86400, a day)",
    )
    parser.add_argument("--base-url", metavar="URL", help=_BASE_URL)


def _record(options: argparse.Namespace) -> int:
    from pytest_indexjob.api.calls import API_URL
    from pytest_indexjob.recording.life import LifeRecorder, part_of
    from pytest_indexjob.secrecy.redaction import environment_secrets

    _check_output("--output", options.output)
    recorder = LifeRecorder(
        options.uuid,
        options.output,
        base_url=options.base_url or API_URL,
        secrets=environment_secrets(os.environ),
    )
    if recorder.interactions:
        _say(f"resuming after {len(recorder.interactions)} polls of an earlier run")
    try:
        job = recorder.record(
            poll_interval=options.poll_interval,
            timeout=options.timeout,
            on_poll=lambda job: _say(_standing(job)),
        )
    except BaseException:
        if part_of(options.output).exists():
            _say(
                f"the polls so far are kept in {part_of(options.output)}: run the same command"
                " again to resume"
            )
        raise
    kept = len(recorder.interactions)
    left_out = f" ({recorder.left_out} more were left out)" if recorder.left_out else ""
    _say(f"{options.output}: {kept} polls{left_out}, ended {job.status.name}")
    return OK


def _standing(job: IndexingJob) -> str:
    return (
        f"{job.status.name} {job.phase.name} {job.indexed_file_count}/{job.total_file_count} files,"
        f" {job.failed_item_count} failed"
    )


# show


def _add_show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        "show the story of a cassette or a scenario",
        "pytest-indexjob show tests/cassettes/mine.yaml",
        _show,
    )
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument(
        "file", nargs="?", type=Path, help="a cassette's file, or the name of a shipped recording"
    )
    shown.add_argument("--scenario", metavar="NAME", help="poll a job of this scenario to its end")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write an HTML page to this file; needs `pip install pytest-indexjob[report]`",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show all lines, and whole answers"
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help=(
            "seconds between two polls (default: 5): a recording does not hold the times of its"
            " polls"
        ),
    )


def _show(options: argparse.Namespace) -> int:
    import json
    import shutil

    from pytest_indexjob.secrecy.redaction import Redaction, environment_secrets
    from pytest_indexjob.story.record import record_test
    from pytest_indexjob.story.text import story_text

    if not options.poll_interval > 0:
        raise ValueError(f"--poll-interval must be above 0 seconds, not {options.poll_interval:g}")
    _check_output("--html", options.html)
    name, exchanges = _polled(options) if options.scenario else _recorded(options)
    redaction = Redaction(environment_secrets(os.environ))
    redact = redaction.redact_text
    exchanges = [redaction.redact_exchange(each) for each in exchanges]
    if not options.json and not options.html:
        width = shutil.get_terminal_size().columns
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        _say(
            story_text(exchanges, redact=redact, width=width, color=color, verbose=options.verbose)
        )
        return OK
    record = record_test(
        name, "simulated" if options.scenario else "recorded", 0.0, exchanges, redact=redact
    )
    if options.json:
        _say(json.dumps(record, indent=2))
    else:
        from pytest_indexjob.story.page import write_report

        write_report(options.html, [record], title=name)
        _say(str(options.html))
    return OK


def _recorded(options: argparse.Namespace) -> tuple[str, list[Exchange]]:
    """The name of a recording, and its exchanges as if they had been polled."""
    (recording,) = _recordings([options.file])
    exchanges = [
        Exchange(request, response, None, at * options.poll_interval)
        for at, (request, response) in enumerate(recording.interactions)
    ]
    return f"recording {recording.path.stem}", exchanges


def _polled(options: argparse.Namespace) -> tuple[str, list[Exchange]]:
    """The name of a scenario, and its exchanges: polls until it has told all that it has."""
    from pytest_indexjob.api.calls import API_URL, named
    from pytest_indexjob.simulation import scenarios
    from pytest_indexjob.simulation.simulator import Simulator
    from pytest_indexjob.virtual_time.clock import VirtualClock

    scenario = scenarios.get(options.scenario)
    clock = VirtualClock()
    simulator = Simulator(clock, requests_per_hour=None, requests_per_minute=None)
    uuid = simulator.start(scenario).uuid
    url = API_URL + named("jobs.get").path_with(uuid)
    request = Request("GET", url, (("Authorization", "Bearer any"),))
    exchanges: list[Exchange] = []
    # Some polls after the last change, so that a job that never ends is seen to stand still.
    last = scenario.steps[-1].at + (0 if scenario.steps[-1].is_terminal else _STANDS_STILL)
    while len(exchanges) < _MOST_POLLS:
        at = clock.elapsed
        exchanges.append(Exchange(request, simulator.handle(request), None, at))
        if at >= last:
            break
        clock.advance(options.poll_interval)
    return f"scenario {scenario.name}", exchanges


_MOST_POLLS = 10_000
_STANDS_STILL = 60.0  # seconds


def _files(path: Path) -> list[Path]:
    """The cassettes that a path stands for: a file, a folder of them, or a shipped one's name."""
    from pytest_indexjob.recording.library import find_file

    return sorted(path.rglob("*.yaml")) if path.is_dir() else [find_file(path)]


def _recordings(paths: Sequence[Path]) -> list[Recording]:
    from pytest_indexjob.recording.cassette import load

    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ValueError(
            f"there is no cassette in {', '.join(map(str, paths))}: no file there ends in .yaml"
        )
    return [load(file) for file in _counted(files)]


# audit


def _add_audit(commands: Any) -> None:
    text = "find secrets, damage, unknown values, and recordings that end before their job does"
    parser = _command(
        commands, "audit", text, "pytest-indexjob audit tests/cassettes --max-age 180", _audit
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="cassettes, folders of cassettes, or names of shipped recordings",
    )
    parser.add_argument(
        "--max-age",
        type=float,
        metavar="DAYS",
        help="report recordings that are older than this number of days",
    )
    parser.add_argument(
        "--used",
        type=Path,
        metavar="FILE",
        help="report cassettes that are not in this list; pytest --indexjob-used-file writes it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _audit(options: argparse.Namespace) -> int:
    from pytest_indexjob.secrecy.redaction import environment_secrets
    from pytest_indexjob.upkeep.audit import audit, findings_json, findings_text

    paths = [path if path.is_dir() else _files(path)[0] for path in options.paths]
    if not any(path.is_file() or any(path.rglob("*.y*ml")) for path in paths):
        raise ValueError(
            f"there is no cassette in {', '.join(map(str, paths))}: no file there ends in .yaml"
        )
    if options.max_age is not None and not options.max_age >= 0:
        raise ValueError(f"--max-age must be 0 or more days, not {options.max_age:g}")
    used = _used(options.used) if options.used else None
    findings = audit(
        paths,
        secrets=environment_secrets(os.environ),
        max_age_days=options.max_age,
        used=used,
        each=_counted,
    )
    _say(findings_json(findings) if options.json else findings_text(findings))
    return FINDINGS if any(each.severity != "info" for each in findings) else OK


def _used(path: Path) -> list[Path]:
    """The files that a list of used recordings names."""
    import json

    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{path} is no list of used recordings: pytest --indexjob-used-file=FILE writes such a"
            " list"
        )
    return [Path(name) for name in names]


# drift


def _add_drift(commands: Any) -> None:
    text = "compare recorded answers with the API's contract"
    parser = _command(
        commands, "drift", text, "pytest-indexjob drift tests/cassettes --spec openapi.yaml", _drift
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="CASSETTE",
        help="cassettes, folders of cassettes, or names of shipped recordings",
    )
    parser.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="an OpenAPI document to compare with (default: the contract that is built in)",
    )
    parser.add_argument(
        "--live",
        metavar="UUID",
        help="also ask the live service for the job of this uuid, and compare its answers",
    )
    parser.add_argument("--base-url", metavar="URL", help=_BASE_URL)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _drift(options: argparse.Namespace) -> int:
    from pytest_indexjob.upkeep.drift import differences_json, differences_text, drift
    from pytest_indexjob.upkeep.openapi import load_openapi

    if not options.paths and not options.live:
        raise ValueError("drift needs cassettes to compare, or --live UUID for a live job")
    recordings = _recordings(options.paths) if options.paths else []
    if options.live:
        from pytest_indexjob.api.calls import API_URL
        from pytest_indexjob.recording.life import ask_once

        recordings.append(ask_once(options.live, base_url=options.base_url or API_URL))
    schema = load_openapi(options.spec) if options.spec else None
    differences = drift(_counted(recordings), schema=schema)
    _say(differences_json(differences) if options.json else differences_text(differences))
    return FINDINGS if any(each.severity != "info" for each in differences) else OK


# coverage


def _add_coverage(commands: Any) -> None:
    text = "add up the outcome coverage of several runs"
    example = "pytest-indexjob coverage combine shard-*.json -o all.json"
    parser = _command(commands, "coverage", text, example, _coverage)
    parser.add_argument(
        "action",
        choices=("combine", "report"),
        help="combine: write one file of several; report: print the table",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a file that pytest --indexjob-coverage-file wrote",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file that combine writes"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out the files that can't be read"
    )
    parser.add_argument(
        "--fail-under",
        type=float,
        metavar="PERCENT",
        help="exit with status 1 if less than this percentage is covered",
    )


def _coverage(options: argparse.Namespace) -> int:
    import shutil

    from pytest_indexjob.checking.coverage import combine, write

    if options.action == "combine" and not options.output:
        raise ValueError("coverage combine needs -o FILE: the file that it writes")
    _check_output("--output", options.output)
    if options.fail_under is not None and not 0 <= options.fail_under <= 100:
        raise ValueError(f"--fail-under must be 0 to 100, not {options.fail_under:g}")
    coverage, broken = combine(options.files, skip_broken=options.skip_broken)
    for error in broken:
        print(f"pytest-indexjob: left out: {error}", file=sys.stderr)  # noqa: T201
    if options.action == "combine":
        write(options.output, coverage)
        _say(f"{options.output}: {coverage.tests} tests, {coverage.percent():.0f} %")
    else:
        _say("\n".join(coverage.table(width=shutil.get_terminal_size().columns)))
    below = options.fail_under is not None and coverage.percent() < options.fail_under
    return FINDINGS if below else OK


if __name__ == "__main__":
    raise SystemExit(main())
