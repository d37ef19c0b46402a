"""The gate: looks for secrets in the exact text that is about to be written.

It shares no pattern and no decoder with redaction, so that one's blind spot is not the other's.
"""

from __future__ import annotations

import binascii
import html
import json
import math
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, unquote_plus

from pytest_indexjob.exchange import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SHORTEST = 4  # a shorter "secret" is in every text
_LARGEST = 16 * 1024 * 1024  # what a compressed body may grow to


class Leak(NamedTuple):
    """A secret that the gate found: the line of the text, counted from 1, and its kind.

    Never its value.
    """

    line: int
    kind: str


_UNREPLACED = r"(?!REDACTED)"
_FIELDS = (
    "authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-auth-token|password|passwd|token|access_token"
    "|refresh_token|id_token|auth_token|secret|client_secret|secret_key|secret_access_key|key_id|access_key_id|api_key|apikey|private_key|credentials?"
)
_FIELD = re.compile(rf"(?i)(?:{_FIELDS})")
_RULES = (
    ("DigitalOcean token", re.compile(r"(?i)do[opr]t?_v1_[a-f0-9]{8}")),
    ("API key", re.compile(r"\b[rs]k[-_](?=[A-Za-z_-]{0,256}\d)[A-Za-z0-9][A-Za-z0-9_-]{18}")),
    (
        "API key",
        re.compile(
            r"\b(?:gh[oprsu]_\w{20}|github_pat_\w{20}|xox[abeoprs]-[\w-]{10}|AIza[\w-]{32}"
            r"|xapp-\d-[\w-]{10}|glpat-[\w-]{20}|hf_[A-Za-z0-9]{30}|ya29\.[\w-]{20})"
        ),
    ),
    (
        "API key",
        re.compile(
            r"\bSG\.[\w-]{16,64}\.[\w-]{16}|\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[\w-]{16}"
            r"|\bSK[0-9a-f]{32}\b|\bhooks\.slack\.com/services/\w+/\w+/\w{16}"
        ),
    ),
    ("bearer token", re.compile(rf"(?i)\bbearer\s+{_UNREPLACED}(?=\S{{0,200}}\d)[\w.~+/-]{{6}}")),
    ("JWT", re.compile(r"\beyJ[\w-]{5,2000}\.[\w-]{5}")),
    ("AWS key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}")),
    ("Spaces key", re.compile(r"\bDO(?:00|801)[0-9A-Z]{16}")),
    ("private key", re.compile(r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----")),
    ("password in URL", re.compile(r"\w://[^\s/?#:@\"'<>\\]{0,200}:[^\s/?#@\"'<>\\]{1,200}@")),
    (
        "signed URL",
        re.compile(
            r"(?i)[?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|awsaccesskeyid)="
            rf"{_UNREPLACED}[^\s&\"'<>]"
        ),
    ),
    ("secret parameter", re.compile(rf"(?i)(?:^|[?&])(?:{_FIELDS}|key)={_UNREPLACED}[^\s&\"'<>]")),
)
# The same, to be searched in many lines at once.
_IN_LINES = [re.compile(rule.pattern, rule.flags | re.MULTILINE) for _, rule in _RULES]
# What is said of a credential where its value could stand.
_SAID = re.compile(
    r"(?i)\s*(?:absent|denied|disabled|enabled|expired|failed|forbidden|invalid|missing|needed|none"
    r"|optional|required|revoked|unauthorized|unsupported)\s*"
)
# A text that can be searched together with others: no coding but base64 and hexadecimal is in it.
_SHORT = re.compile(r"[\w.,:;/=@ ?-]{0,200}", re.ASCII)
_TOGETHER = 500
_BASIC = re.compile(r"(?i)\bbasic\s+([A-Za-z0-9+/]{6,}=*)")
_RUN = re.compile(r"[\w+/-]{6,}")
_DEPTH = 6
_DEEPEST = 200
_BUDGET = 32 * 1024 * 1024  # letters in all views of one string


class SearchLimitError(ValueError):
    """A text is too large, or holds too many texts within texts, to be searched in the time set."""


class _Effort:
    """Counts the letters that are searched. Raises ``SearchLimitError`` beyond ``most``."""

    def __init__(self, most: float) -> None:
        self._left = most

    def spend(self, letters: int) -> None:
        self._left -= letters
        if self._left < 0:
            raise SearchLimitError("it is too large to be searched for secrets")


def scan(text: str, secrets: Iterable[str] = (), *, most: float = math.inf) -> list[Leak]:
    """The secrets in a text that is about to be written, by value, shape or field name.

    ``most`` letters are searched, those that were encoded included. Raises ``SearchLimitError`` for
    a text that has more.
    """
    effort = _Effort(most)
    known = [
        secret
        for secret in map(str.strip, secrets)
        if len(secret) >= _SHORTEST and secret not in PLACEHOLDER
    ]
    found: set[Leak] = set()
    short: list[tuple[int, str]] = []
    for line, name, leaf in _leaves(text):
        if _FIELD.fullmatch(name) and _is_value(leaf):
            found.add(Leak(line, "secret field"))
        if _SHORT.fullmatch(leaf):
            short.append((line, leaf))
        else:
            found.update(Leak(line, kind) for kind in _kinds(leaf, known, effort))
    for start in range(0, len(short), _TOGETHER):
        found.update(_search(short[start : start + _TOGETHER], known, effort))
    # A comment is no leaf of the document, nor is what can't be read as one.
    there = [
        rule for rule, in_lines in zip(_RULES, _IN_LINES, strict=True) if in_lines.search(text)
    ]
    told = [secret for secret in known if secret in text]
    for line, written in enumerate(text.split("\n") if there or told else (), 1):
        found.update(Leak(line, kind) for kind, rule in there if rule.search(written))
        found.update(Leak(line, "known secret") for secret in told if secret in written)
    return sorted(found)


def _is_value(text: str) -> bool:
    """Whether a text under a secret's name may be the secret."""
    return bool(text.strip()) and PLACEHOLDER not in text and not _SAID.fullmatch(text)


def _search(leaves: list[tuple[int, str]], known: list[str], effort: _Effort) -> Iterator[Leak]:
    """The leaks in many short texts: halves are searched apart only where the whole holds any."""
    # After a question mark a parameter is found as at the begin of a text.
    together = "\n?".join(leaf for _, leaf in leaves)
    if not any(True for _ in _kinds(together, known, effort)):
        return
    if len(leaves) > 1:
        half = len(leaves) // 2
        yield from _search(leaves[:half], known, effort)
        yield from _search(leaves[half:], known, effort)
        return
    for line, leaf in leaves:
        yield from (Leak(line, kind) for kind in _kinds(leaf, known, effort))


def _leaves(text: str) -> list[tuple[int, str, str]]:
    """Every scalar of a YAML document, or the whole text where it can't be read as one."""
    import yaml

    try:
        return list(_scalars(text))
    except (yaml.YAMLError, ValueError):
        return [(1, "", text)]


def _scalars(text: str) -> Iterator[tuple[int, str, str]]:
    """Every scalar of a YAML document: its line, the name it stands under, its text.

    Nothing is constructed. What an alias stands for is given where it is written out.
    """
    import yaml

    # For each list and mapping that is open: whether it is a mapping, and the name of what is next,
    # which is ``None`` where a mapping's key is next.
    opened: list[tuple[bool, str | None]] = []
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
        elif isinstance(event, yaml.NodeEvent):
            in_mapping, name = opened[-1] if opened else (False, "")
            line = event.start_mark.line + 1 if event.start_mark else 1
            key = ""
            if isinstance(event, yaml.ScalarEvent):
                key = event.value
                yield line, name or "", _scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                yield line, name or "", f"*{event.anchor}"
            if in_mapping:
                opened[-1] = True, key if name is None else None
            if isinstance(event, yaml.CollectionStartEvent):
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                opened.append((is_mapping, None if is_mapping else name))
                if len(opened) > _DEEPEST:  # libyaml ends the process on deeper nesting
                    raise ValueError


def _scalar(event: Any) -> str:
    if event.tag != "tag:yaml.org,2002:binary":
        return str(event.value)
    try:
        return binascii.a2b_base64(event.value.encode("ascii", "replace")).decode("latin-1")
    except binascii.Error:
        return str(event.value)


def _kinds(leaf: str, known: list[str], effort: _Effort) -> Iterator[str]:
    for how, view in _views(leaf, known):
        effort.spend(len(view))
        shown = f" ({how})" if how else ""
        yield from (f"{kind}{shown}" for kind, rule in _RULES if rule.search(view))
        if any(b":" in _base64(found) for found in _BASIC.findall(view)):
            yield f"Basic credentials{shown}"
        if any(
            secret in view or secret.encode("utf-8", "replace").decode("latin-1") in view
            for secret in known
        ):
            yield f"known secret{shown}"
        if any(_FIELD.fullmatch(name) for name in _fields(view)):
            yield f"secret field{shown}"


def _views(leaf: str, known: list[str]) -> Iterator[tuple[str, str]]:
    """A string and all that its decodings say, each with the steps that led to it."""
    waiting, seen, budget = [("", leaf, 0)], {leaf}, _BUDGET
    for how, view, depth in waiting:
        yield how, view
        if depth == _DEPTH:
            continue
        for step, other in _one_step(view, known):
            if other not in seen and budget > 0:
                budget -= len(other)
                seen.add(other)
                waiting.append(
                    (f"{how}, {step}" if how and how != step else step, other, depth + 1)
                )


def _one_step(view: str, known: list[str]) -> Iterator[tuple[str, str]]:
    for mark, step, decode in _STEPS:
        if mark in view:
            yield step, decode(view)
    if not view.isascii():
        yield from _unpacked(view)
    octets_known = [secret.encode("utf-8", "replace") for secret in known]
    for run in _RUN.findall(view):
        for step, octets in _read_run(run):
            for said in _said(octets, octets_known):
                yield step, said


def _said(octets: bytes, known: list[bytes]) -> Iterator[str]:
    if b"\x1f\x8b\x08" in octets or any(secret in octets for secret in known):
        yield octets.decode("latin-1")
    # Noise, which most of what is decoded is.
    if len(octets) < _SHORTEST_SAID and not octets.isascii():
        return
    with suppress(UnicodeDecodeError):
        text = octets.decode("utf-8")
        if not _CONTROL.search(text):
            yield text
            return
    yield from _PRINTABLE.findall(octets.decode("latin-1"))


_SHORTEST_SAID = 8
_PRINTABLE = re.compile(rf"[\s!-~]{{{_SHORTEST_SAID},}}")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f-\x9f]")


def _spelled_out(view: str) -> str:
    plain = re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", _plain_letter, view, flags=re.DOTALL)
    # Letters beyond 16 bits are written as two.
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _plain_letter(match: re.Match[str]) -> str:
    said = match[1]
    return (
        chr(int(said[1:], 16))
        if len(said) > 1
        else {"n": "\n", "r": "\r", "t": "\t"}.get(said, said)
    )


_STEPS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("%", "percent-encoded", unquote),
    ("+", "percent-encoded", unquote_plus),
    ("&", "HTML-escaped", html.unescape),
    ("\\", "escaped", _spelled_out),
    ("\0", "UTF-16", lambda view: view.replace("\0", "")),
)


_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2}){4,}")


def _read_run(run: str) -> Iterator[tuple[str, bytes]]:
    for skipped in range(4):
        yield "base64", _base64(run[skipped:])
    if len(run) >= 8:
        for digits in _HEXADECIMAL.findall(run) + _HEXADECIMAL.findall(run[1:]):
            yield "hexadecimal", binascii.unhexlify(digits)


def _base64(run: str) -> bytes:
    standard = run.rstrip("=").replace("-", "+").replace("_", "/").encode("ascii", "replace")
    try:
        return binascii.a2b_base64(standard[: len(standard) - (len(standard) % 4 == 1)] + b"==")
    except binascii.Error:
        return b""


def _unpacked(view: str) -> Iterator[tuple[str, str]]:
    try:
        packed = view.encode("latin-1")
    except UnicodeEncodeError:
        return
    for window in (47, -15):
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(packed[max(0, packed.find(b"\x1f\x8b\x08")) :], _LARGEST)
        except zlib.error:
            continue
        if plain:
            yield "compressed", plain.decode("latin-1")


def _fields(view: str) -> Iterator[str]:
    """The names of the fields of a JSON text that hold a value which is not replaced."""
    if view.lstrip()[:1] not in ("{", "["):
        return
    try:
        waiting = [json.loads(view, strict=False, parse_int=str, object_pairs_hook=_Fields)]
    except (ValueError, RecursionError):
        return
    while waiting:
        part = waiting.pop()
        if isinstance(part, _Fields):
            yield from (name for name, value in part if isinstance(value, str) and _is_value(value))
            waiting += [value for _, value in part]
        elif isinstance(part, list):
            waiting += part


class _Fields(tuple[Any, ...]):
    """The fields of a JSON object as pairs, so that a name that is there twice hides nothing."""

    __slots__ = ()
