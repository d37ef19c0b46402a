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
_OPERATORS = "|&;<>()`"
_DOCTL = "doctl"  # which asks the API, unless it is told another URL
_DOCTL_URL = "DIGITALOCEAN_API_URL"
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>|;&()`]+", re.IGNORECASE)


def check(guard: Guard, command: Any, env: Mapping[Any, Any] | None, program: Any = None) -> None:
    """Raise ``NetworkBlockedError`` for a command that asks a host out of bounds.

    ``program`` is the path of the program, where the command does not begin with it.
    """
    # An iterator can be read only once, and it is the child's.
    if not guard.active or not isinstance(command, str | bytes | os.PathLike | list | tuple):
        return
    text = _text(command)
    words = _commands([*map(_text, command)] if isinstance(command, list | tuple) else _words(text))
    named = words if program is None else [*words, _text(program)]
    programs = {os.path.basename(word) for word in named}  # noqa: PTH119  # not all are paths
    if not programs.isdisjoint(_FETCH):
        program = min(programs & _FETCH)
        for url in _URL.findall(text):
            guard.check(*_authority(url), client=f"the command {program}")
        if words[0] in _SCHEMES or programs & _FETCH - _SCHEMES:
            for host, port in _without_scheme(words):
                guard.check(host, port, client=f"the command {program}")
    elif words and os.path.basename(words[0]) == _DOCTL:  # noqa: PTH119
        # Another scheme's URL may be any argument's, a database's say.
        told = [url for url in _URL.findall(text) if url.lower().startswith("http")]
        for url in told or [(os.environ if env is None else env).get(_DOCTL_URL, API_URL)]:
            guard.check(*_authority(_text(url)), client="the command doctl")


def _without_scheme(words: list[str]) -> Iterator[tuple[str, int | None]]:
    """Hosts that the words name without a scheme: the service's own anywhere, others by place."""
    by_place = bool(words) and os.path.basename(words[0]) in _FETCH - _TAKES_FILES  # noqa: PTH119
    before = ""
    for word in words[1:]:
        # What follows an operator belongs to another command of the shell, or is a file.
        by_place = by_place and word[:1] not in _OPERATORS
        found = _HOST_OF_SERVICE.fullmatch(word)
        if found is None and by_place and not before.startswith("-"):
            found = _BARE_HOST.fullmatch(word)
        if found is not None:
            yield found["host"], _port(found["port"] or "")
        before = word


def _authority(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, _port(parts.netloc)
    except ValueError:  # curl makes many URLs of one with brackets
        return url.partition("://")[2].partition("/")[0].rpartition("@")[2], None


def _port(netloc: str) -> int | None:
    text = netloc.rpartition(":")[2]
    return int(text) if text.isdecimal() and text.isascii() else None


def _text(value: Any) -> str:
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    return " ".join(map(_text, value))


def _commands(words: list[str]) -> list[str]:
    """The words of a command, and in the place of what a shell is told the words of that.

    A shell may be told to start another one. A quoted sentence that names a command stays whole.
    """
    shells = 0
    while (named := sum(os.path.basename(word) in _SHELLS for word in words)) > shells:  # noqa: PTH119
        shells = named
        words = [part for word in words for part in _words(word)]
    return words


def _words(text: str) -> list[str]:
    """The words of a shell's command; its operators stand apart, and so do substituted commands."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = [*lexer]
    except ValueError:  # a quotation that does not end
        words = text.split()
    # Double quotes don't keep a shell from running what stands in these.
    return [
        part
        for word in words
        for part in (_words(word) if word != text and re.search(r"\$\(|`.", word) else [word])
    ]
