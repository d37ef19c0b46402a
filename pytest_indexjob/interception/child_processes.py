"""Commands that ask the network: the guard stands where a child process is started.

No patch reaches into another program. So the well-known commands that only fetch URLs are refused
where their arguments name a host out of bounds, in words that name the loopback server. All other
children are the kernel's to hold (``kernel_guard``).
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.guard import Guard
    from pytest_indexjob.interception.interception import Interception

_FETCH = frozenset(("aria2c", "curl", "http", "https", "wget", "xh"))
_DOCTL = "doctl"  # which asks the API, unless it is told another URL
_DOCTL_URL = "DIGITALOCEAN_API_URL"
_URL = re.compile(r"\b(?:https?|ftps?|wss?)://[^\s'\"<>|;&()]+")


def popen_patches(interception: Interception, subprocess: ModuleType) -> Iterator[Patch]:
    """That of ``subprocess.Popen``, by which asyncio starts its children, too."""
    real = original(subprocess.Popen, "__init__")

    @functools.wraps(real)
    def init(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        check(interception.guard, args, options.get("env"))
        real(self, args, *rest, **options)

    yield Patch(subprocess.Popen, "__init__", init)


def os_patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """Those of ``os.system`` and ``os.posix_spawn``."""
    guard = interception.guard

    def system(command: Any) -> int:
        check(guard, command, None)
        return real_system(command)  # type: ignore[no-any-return]

    def spawn(real: Callable[..., Any]) -> Callable[..., Any]:
        def posix_spawn(path: Any, argv: Any, env: Any, **options: Any) -> Any:
            check(guard, argv, env)
            return real(path, argv, env, **options)

        return posix_spawn

    real_system = original(module, "system")
    yield Patch(module, "system", system)
    for name in ("posix_spawn", "posix_spawnp"):
        if hasattr(module, name):
            yield Patch(module, name, spawn(original(module, name)))


def check(guard: Guard, command: Any, env: Mapping[Any, Any] | None) -> None:
    """Raise ``NetworkBlockedError`` for a command that asks a host out of bounds."""
    # An iterator can be read only once, and it is the child's.
    if not guard.active or not isinstance(command, str | bytes | os.PathLike | list | tuple):
        return
    text = _text(command)
    words = [*map(_text, command)] if isinstance(command, list | tuple) else _words(text)
    programs = {os.path.basename(word) for word in words}  # noqa: PTH119  # not all are paths
    if not programs.isdisjoint(_FETCH):
        program = min(programs & _FETCH)
        for url in _URL.findall(text):
            parts = urlsplit(url)
            guard.check(parts.hostname, _port(parts.netloc), client=f"The command {program}")
    elif words and os.path.basename(words[0]) == _DOCTL:  # noqa: PTH119
        told = _URL.findall(text) or [(os.environ if env is None else env).get(_DOCTL_URL, API_URL)]
        for url in told:
            parts = urlsplit(_text(url))
            guard.check(parts.hostname, _port(parts.netloc), client="The command doctl")


def _port(netloc: str) -> int | None:
    text = netloc.rpartition(":")[2]
    return int(text) if text.isdecimal() and text.isascii() else None


def _text(value: Any) -> str:
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    return " ".join(map(_text, value))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation that does not end
        return text.split()
