"""Commands that ask the network: the guard looks at the arguments of a child process.

No patch reaches into another program. So the well-known commands that only fetch URLs are refused
where their arguments name a host out of bounds, in words that name the loopback server. All other
children are the kernel's to hold (``kernel_guard``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL

if TYPE_CHECKING:
    from pytest_indexjob.interception.guard import Guard

_FETCH = frozenset(("aria2c", "curl", "http", "https", "wget", "xh"))
_SHELLS = frozenset(("ash", "bash", "dash", "ksh", "sh", "zsh"))  # their commands are one word
_SERVICE = re.escape(urlsplit(API_URL).hostname or "")
# A whole word, so that a header, a sentence or a file's name that has the host in it is none.
_HOST_OF_SERVICE = re.compile(
    rf"(?:--?[\w-]+=)?(?:[^\s/@]*@)?(?P<host>{_SERVICE})\.?(?P<port>:\d+)?(?:[:/?#].*)?",
    re.DOTALL | re.IGNORECASE,
)
# What curl and its like read as a URL where no option stands before it, which it might belong to.
_BARE_HOST = re.compile(r"(?P<host>[\w-]+(?:\.[\w-]+)+)\.?(?P<port>:\d+)?(?:[/?#].*)?", re.DOTALL)
_TAKES_FILES = frozenset(("aria2c",))
_SCHEMES = frozenset(("http", "https"))  # commands by these names, and words of other commands
_OPERATOR = re.compile(r"[|&;<>()]")
_DOCTL = "doctl"  # which asks the API, unless it is told another URL
_DOCTL_URL = "DIGITALOCEAN_API_URL"
_URL = re.compile(r"\b(?:https?|ftps?|wss?)://[^\s'\"<>|;&()]+")


def check(guard: Guard, command: Any, env: Mapping[Any, Any] | None, program: Any = None) -> None:
    """Raise ``NetworkBlockedError`` for a command that asks a host out of bounds.

    ``program`` is the path of the program, where the command does not begin with it.
    """
    # An iterator can be read only once, and it is the child's.
    if not guard.active or not isinstance(command, str | bytes | os.PathLike | list | tuple):
        return
    text = _text(command)
    words = [*map(_text, command)] if isinstance(command, list | tuple) else _words(text)
    if words and os.path.basename(words[0]) in _SHELLS:  # noqa: PTH119
        words = [part for word in words for part in _words(word)]
    named = words if program is None else [*words, _text(program)]
    programs = {os.path.basename(word) for word in named}  # noqa: PTH119  # not all are paths
    if not programs.isdisjoint(_FETCH):
        program = min(programs & _FETCH)
        for url in _URL.findall(text):
            parts = urlsplit(url)
            guard.check(parts.hostname, _port(parts.netloc), client=f"the command {program}")
        if words[0] in _SCHEMES or programs & _FETCH - _SCHEMES:
            for host, port in _without_scheme(words):
                guard.check(host, port, client=f"the command {program}")
    elif words and os.path.basename(words[0]) == _DOCTL:  # noqa: PTH119
        told = _URL.findall(text) or [(os.environ if env is None else env).get(_DOCTL_URL, API_URL)]
        for url in told:
            parts = urlsplit(_text(url))
            guard.check(parts.hostname, _port(parts.netloc), client="the command doctl")


def _without_scheme(words: list[str]) -> Iterator[tuple[str, int | None]]:
    """Hosts that the words name without a scheme: the service's own anywhere, others by place."""
    by_place = bool(words) and os.path.basename(words[0]) in _FETCH - _TAKES_FILES  # noqa: PTH119
    before = ""
    for word in words[1:]:
        # What follows an operator belongs to another command of the shell, or is a file.
        by_place = by_place and _OPERATOR.match(word) is None
        found = _HOST_OF_SERVICE.fullmatch(word)
        if found is None and by_place and not before.startswith("-"):
            found = _BARE_HOST.fullmatch(word)
        if found is not None:
            yield found["host"], _port(found["port"] or "")
        before = word


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
