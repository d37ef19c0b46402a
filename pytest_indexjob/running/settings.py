"""The options and ini keys of a run, read and checked once."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import re
import uuid
from typing import Any, NamedTuple

import pytest

from pytest_indexjob.virtual_time.clock import START


class MaxAge(NamedTuple):
    """How many days old a recording may be, and whether an older one is only warned of."""

    days: float
    warns: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What the command line and the ini file say.

    ``record_mode`` is one of vcrpy's modes or ``rewrite``. ``max_hours`` are hours of a test's
    clock, ``stuck_after`` real seconds, ``clock_start`` seconds since the epoch. ``run`` names this
    run; all its processes have the same name.
    """

    live: bool
    record_mode: str
    max_age: MaxAge | None
    allowed_hosts: tuple[str, ...]
    max_polls: int
    max_hours: float
    stuck_after: float
    clock_start: float
    anonymize: bool
    kept_headers: tuple[str, ...]
    kept_bodies: tuple[str, ...]
    run: str


_SETTINGS = pytest.StashKey[RunSettings]()


def run_settings(config: pytest.Config) -> RunSettings:
    """The settings of a run.

    Raises ``pytest.UsageError`` for options and ini values that make no sense.
    """
    if _SETTINGS not in config.stash:
        config.stash[_SETTINGS] = _read(config)
    return config.stash[_SETTINGS]


def _read(config: pytest.Config) -> RunSettings:
    live: bool = config.getoption("--indexjob-live")
    if live and config.getoption("--indexjob-record") != "none":
        raise pytest.UsageError("--indexjob-live records nothing: give --indexjob-record alone")
    if config.getoption("--indexjob-offline"):
        _check_offline(config, live=live)
    return RunSettings(
        live=live,
        record_mode=_record_mode(config),
        max_age=_max_age(config.getoption("--indexjob-max-age")),
        allowed_hosts=_words(
            config,
            "indexjob_allowed_hosts",
            r"[^/:]+|[0-9a-fA-F:.]*::?[0-9a-fA-F:.]*",
            "names of hosts without scheme, port and path, such as db.example or *.example",
        ),
        max_polls=int(_number(config, "indexjob_max_polls", least=1.0)),
        max_hours=_number(config, "indexjob_max_hours"),
        stuck_after=_number(config, "indexjob_stuck_after"),
        clock_start=_clock_start(config),
        anonymize=_ini(config, "indexjob_anonymize"),
        kept_headers=_words(
            config,
            "indexjob_kept_headers",
            r"[!#$%&'*+.^_`|~0-9A-Za-z-]+",
            "names of headers, such as etag x-total-count",
        ),
        kept_bodies=_words(
            config,
            "indexjob_kept_bodies",
            r"\*|[^/\s]+/[^/\s]+",
            "content types, such as text/csv or text/*",
        ),
        run=getattr(config, "workerinput", {}).get("testrunuid") or uuid.uuid4().hex,
    )


def _check_offline(config: pytest.Config, *, live: bool) -> None:
    wish = way_out = ""
    if live:
        wish = "--indexjob-live asks"
    elif _record_mode(config) != "none":
        wish = "--indexjob-record asks"
    elif hosts := config.getini("indexjob_allowed_hosts"):
        wish = f"the ini key indexjob_allowed_hosts ({' '.join(hosts)}) asks"
        way_out = " (-o indexjob_allowed_hosts= empties the key)"
    if wish:
        raise pytest.UsageError(
            f"--indexjob-offline=strict lets nothing reach the network, but {wish} for it: give"
            f" only one of them{way_out}"
        )


def _record_mode(config: pytest.Config) -> str:
    """The record mode; where ``CI`` is set, only the command line itself can ask for one."""
    mode: str = config.getoption("--indexjob-record")
    given = config.invocation_params.args
    by_hand = any(str(argument).startswith("--indexjob-record") for argument in given)
    return "none" if os.environ.get("CI") and not by_hand else mode


def _max_age(text: str | None) -> MaxAge | None:
    if text is None:
        return None
    days = text.removeprefix("warn:")
    if not days.isascii() or not days.replace(".", "", 1).isdigit():
        raise pytest.UsageError(
            "--indexjob-max-age must be a number of days (30), or a number of days to warn of"
            f" (warn:30), not {text!r}"
        )
    return MaxAge(float(days), days != text)


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (ValueError, pytest.UsageError) as error:  # pytest does not name the key
        raise pytest.UsageError(f"the ini key {name} can't be read: {error}") from None


def _words(config: pytest.Config, name: str, pattern: str, wanted: str) -> tuple[str, ...]:
    words = tuple(_ini(config, name))
    for word in words:
        if not re.fullmatch(pattern, word):
            raise pytest.UsageError(f"the ini key {name} must have {wanted}, not {word!r}")
    return words


def _number(config: pytest.Config, name: str, *, least: float = 0.0) -> float:
    text = config.getini(name)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    # "inf" switches a limit off, but is no number of polls.
    if not number > 0 or number < least or (least and number == float("inf")):
        wanted = f"a number of {least:g} or more" if least else "a number above 0"
        raise pytest.UsageError(f"the ini key {name} must be {wanted}, not {text!r}")
    return number


def _clock_start(config: pytest.Config) -> float:
    value = config.getini("indexjob_clock_start")
    if not value:
        return START
    try:
        return moment(value)
    except ValueError as error:
        raise pytest.UsageError(f"the ini key indexjob_clock_start must be {error}") from None


def moment(value: object) -> float:
    """Seconds since the epoch of such a number, an RFC 3339 time, or an aware ``datetime``.

    Raises ``ValueError`` for anything else; it says what was wanted.
    """
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
        seconds = float(value)  # type: ignore[arg-type]
        dt.datetime.fromtimestamp(seconds, dt.UTC)  # fails where no date has that moment
        return seconds
    time = dt.datetime.min
    with contextlib.suppress(ValueError):
        time = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    if time.tzinfo is None:
        raise ValueError(
            "an RFC 3339 time (2025-10-31T01:08:33Z) or seconds since the epoch (1761872913), not"
            f" {value!r}"
        )
    return time.timestamp()
