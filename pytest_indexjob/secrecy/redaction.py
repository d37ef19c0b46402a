"""Redaction: takes secrets out of what is recorded.

Every secret is replaced by the one word ``REDACTED``: the same on every machine, and not derived
from the value, as a hash of a weak secret tells it. What is left is for the gate to find, which
shares no pattern and no decoder with this.
"""

from __future__ import annotations

import binascii
import functools
import html
import importlib
import json
import re
import threading
import zlib
from contextlib import suppress
from html.entities import codepoint2name
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus

from pytest_indexjob.exchange import PLACEHOLDER, Interaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_indexjob.exchange import Headers


_SHORTEST = 4  # a shorter "secret" is in every text
_DEPTH = 6  # encodings within encodings
_SHORT, _REMEMBERED = (
    200,
    10_000,
)  # characters of a text whose redaction is remembered, and how many are
_LARGEST = 16 * 1024 * 1024  # what a compressed body may grow to

# A header that is not named here may be a credential, or differs in each run and so makes needless
# changes.
_KEPT_HEADERS = frozenset(
    (
        *(
            "accept",
            "allow",
            "content-disposition",
            "content-encoding",
            "content-type",
            "link",
            "location",
        ),
        *("retry-after", "www-authenticate", "x-request-id"),
    )
)
# Names of fields and parameters, without case and separators. `tokens` and `total_tokens` are
# counts.
_SECRET_NAMES = frozenset(
    (
        *(
            "auth",
            "bearer",
            "cookies",
            "csrf",
            "jwt",
            "otp",
            "pwd",
            "session",
            "sessionid",
            "sid",
            "sig",
        ),
        *("accesstokens", "refreshtokens"),
    )
)
_SECRET_ENDS = ("token", "cookie", "signature", "authkey", "sessionkey")
_SECRET_PARTS = re.compile(
    "password|passwd|passphrase|secret|credential|privatekey|apikey|accesskey|authorization|xamzsecurity"
)
_SECRET_PARAMETERS = frozenset(("key", "awsaccesskeyid", "sharedaccesssignature"))
_CURSORS = frozenset(("pagetoken", "nextpagetoken", "nexttoken", "continuationtoken", "synctoken"))

# What a secret looks like, whoever's it is. Each is linear: no repeat holds another that could
# match the same text.
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
    r"|(?i:do[a-z]{1,2}_v1_)[A-Za-z0-9]{8,}"
    r"|(?<![A-Za-z0-9])(?:sk|rk|pk)[-_](?:[a-z]{2,12}[-_]){0,3}[A-Za-z0-9_-]{16,}"
    r"|(?<![A-Za-z0-9_-])(?:[A-Za-z0-9]{1,12}[_-])?eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}"
    r"|(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA|AIDA|AROA)[A-Z0-9]{16}"
    r"|(?<![A-Z0-9])DO(?:00|801)[A-Z0-9]{15,}"
    r"|gh[a-z]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{10,}|hf_[A-Za-z0-9]{20,}",
    re.DOTALL,
)
# Prose ("a bearer token is required") has neither a digit nor 20 characters.
_BEARER = re.compile(
    r"(?i)\b(bearer\s{1,8})(?=[^\s\"']{0,256}[0-9]|[^\s\"']{20})[A-Za-z0-9._~+/-]{6,}=*"
)
_BASIC = re.compile(r"(?i)\b(basic\s{1,8})([A-Za-z0-9+/_-]{4,}=*)")
_USER = re.compile(r"(?:(?<=://)|(?<=^//))[^\s/?#\"'<>\\]*@")
_PAIR = re.compile(r"((?:^|(?<=[?&;#]))[^=&?#;\s\"'<>{}]+)=([^&#\s\"'<>]+)")
_QUOTE = r"(?:[\"']|&quot;|&#34;|\\{1,4}\")?"
_LABEL = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|(?<!page)(?<!page[-_])(?<!next)(?<!next[-_])token|api[-_"
    r" ]?key"
    r"|access[-_ ]?key|private[-_"
    rf" ]?key|credentials?|signature){_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE})"
    r"([^\s\"'&,;<>]+)"
)
_HEADER_LINE = re.compile(
    r"(?i)((?:authorization|cookie|x-api-key|x-auth-token)\s{0,3}[:=]\s{0,3})([^\r\n\"'<>]+)"
)
_FIELD_TAG = re.compile(r"(?i)<(?:input|meta|param|button)\b[^<>]*>")
_TAG_NAME = re.compile(r"(?i)\b(?:name|id)=[\"']?([^\"'\s<>]+)")
_TAG_VALUE = re.compile(r"(?i)\b((?:value|content)=)(\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)")
_ELEMENT = re.compile(r"(<([A-Za-z][\w:.-]{0,60})(?:\s[^<>]*)?>)([^<>]+)(?=</)")
# Base64 of either alphabet, broken into lines only where lines are long.
_RUN = re.compile(r"[A-Za-z0-9+/_-]{6,}(?:(?<=[A-Za-z0-9+/_-]{40})\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_PRINTABLE = re.compile(r"[\t\n\r -~]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_WORD = re.compile(r"[^\s\"'<>]++")
_WORD_PARTS = re.compile(r"([/?&=#])")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s"{}\[\],:]++|\s++|"', re.DOTALL)
_OPENING, _CLOSING, _BETWEEN = ("{", "["), ("}", "]"), (",", ":")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BOUNDARY = re.compile(r"(?i)^\s*multipart/.*\bboundary=\"?([^\";,\s]+)")
_PART_NAME = re.compile(rb"(?i)\bname=\"?([^\";\r\n]+)")
_UUID = re.compile(
    r"(?<![0-9A-Fa-f])" + "(?:-|%2[Dd])".join(f"[0-9A-Fa-f]{{{n}}}" for n in (8, 4, 4, 4, 12))
)
_NUMBERED = "00000000-0000-4000-8000-"


class Redaction:
    """Takes the secrets out of interactions.

    ``secrets`` are values known to be secret: they go in whatever encoding they stand.
    ``keep_headers`` names headers to keep beside the usual ones. ``anonymize`` also replaces every
    UUID by a number in order of first appearance (``00000000-0000-4000-8000-000000000001``): a hash
    could be undone by guessing, as the service's UUIDs are mostly time. So one object must see the
    whole recording, what it holds already before what is new. Safe from any thread.
    """

    def __init__(
        self,
        secrets: Iterable[str] = (),
        *,
        keep_headers: Iterable[str] = (),
        anonymize: bool = False,
    ) -> None:
        self._secrets = [
            (secret, {_folded(secret), _folded(_as_latin(secret))}) for secret in _usable(secrets)
        ]
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._cleaned = functools.lru_cache(_REMEMBERED)(self._clean_anew)
        self._kept = _KEPT_HEADERS | {name.lower() for name in keep_headers}
        self._anonymize = anonymize
        self._numbers: dict[str, int] = {}
        self._last = 0
        self._lock = threading.Lock()

    def redact(self, interaction: Interaction) -> Interaction:
        """The interaction without its secrets; the one given is left as it is."""
        request, response = interaction
        asked, sent = self._message(request.headers, request.body)
        answered, body = self._message(response.headers, response.body)
        return Interaction(
            request._replace(url=self.redact_text(request.url), headers=asked, body=sent),
            response._replace(
                headers=answered, body=body, reason=self.redact_text(response.reason)
            ),
        )

    def redact_text(self, text: str) -> str:
        """The text without its secrets, be it JSON, a form, a URL, HTML or prose."""
        # A placeholder can complete another match, so again until nothing changes.
        for _ in range(4):
            before, text = text, self._clean(text, 0)
            if text == before:
                break
        return _UUID.sub(self._number, text) if self._anonymize else text

    def _number(self, match: re.Match[str]) -> str:
        uuid = match[0].lower().replace("%2d", "-")
        with self._lock:
            if (
                uuid.startswith(_NUMBERED)
                and (given := int(uuid.removeprefix(_NUMBERED), 16)) < 2**40
            ):
                self._last = max(self._last, given)
                return match[0]
            if uuid not in self._numbers:
                self._last += 1
                self._numbers[uuid] = self._last
            return f"{_NUMBERED}{self._numbers[uuid]:012x}"

    # Messages

    def _message(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        kept = self._headers(headers)
        encoding = ",".join(value for name, value in headers if name.lower() == "content-encoding")
        if body and encoding.strip():
            kept = tuple(pair for pair in kept if pair[0].lower() != "content-encoding")
            body = _decompressed(body, encoding)
        return kept, self._body(
            body, next((value for name, value in headers if name.lower() == "content-type"), "")
        )

    def _headers(self, headers: Headers) -> Headers:
        kept = [(name, value) for name, value in headers if self._is_kept(name.lower())]
        whole: dict[str, list[str]] = {}
        for name, value in kept:
            whole.setdefault(name.lower(), []).append(value)
        # A value in pieces, each harmless: over several headers of one name, or over folded lines.
        split = {name for name, values in whole.items() if self._is_split(values)}
        return tuple(
            (name, PLACEHOLDER if name.lower() in split else self._header(name.lower(), value))
            for name, value in kept
        )

    def _is_kept(self, name: str) -> bool:
        return name in self._kept or name.startswith(("ratelimit-", "x-ratelimit-"))

    def _is_split(self, values: list[str]) -> bool:
        if len(values) == 1 and not re.search(r"[\r\n]", values[0]):
            return False
        joined = "".join(re.sub(r"[\r\n]+[ \t]*", "", value) for value in values)
        return self._without_known(joined) != joined and all(
            self._without_known(value) == value for value in values
        )

    def _header(self, name: str, value: str) -> str:
        value = re.sub(r"[\r\n\0]+[ \t]*", " ", value)
        if name == "www-authenticate":
            return self.redact_text(value.split(None, 1)[0] if value.strip() else "")
        # Of ours none is named so: it was kept by the user.
        return PLACEHOLDER if value and _names_secret(name) else self.redact_text(value)

    def _body(self, body: bytes, content_type: str, depth: int = 0) -> bytes:
        if body[:2] == b"\x1f\x8b" and depth < _DEPTH:
            plain = _inflated(body, 31)
            cleaned = (
                self._body(plain, "", depth + 1) if plain is not None else PLACEHOLDER.encode()
            )
            return body if cleaned == plain else cleaned
        boundary = _BOUNDARY.search(content_type[:1000])
        if boundary and depth < _DEPTH:
            delimiter = b"--" + boundary[1].encode("utf-8", "replace")
            return delimiter.join(self._part(part, depth + 1) for part in body.split(delimiter))
        for charset in dict.fromkeys((_charset(body), "latin-1")):
            # As letters of one octet too, as two octets at its begin make any body UTF-16.
            if charset == "latin-1" or not charset.startswith("utf-8"):
                body = self._letters(body, charset)
            else:
                return self._letters(body, charset)
        return body

    def _letters(self, body: bytes, charset: str) -> bytes:
        text = body.decode(charset)
        cleaned = self.redact_text(text)
        return body if cleaned == text else cleaned.encode(charset, "replace")

    def _part(self, part: bytes, depth: int) -> bytes:
        head, blank, value = part.partition(b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n")
        content = value.rstrip(b"\r\n")
        name = _PART_NAME.search(head)
        if content and name and _names_secret(name[1].decode("latin-1")):
            cleaned = PLACEHOLDER.encode()
        else:
            cleaned = self._body(content, "", depth)
        return self._body(head, "", depth) + blank + cleaned + value[len(content) :]

    # Text

    def _clean(self, text: str, depth: int) -> str:
        # Names and values of polls mostly repeat themselves.
        return self._cleaned(text, depth) if len(text) <= _SHORT else self._clean_anew(text, depth)

    def _clean_anew(self, text: str, depth: int) -> str:
        if depth > _DEPTH:
            return _SHAPES.sub(PLACEHOLDER, self._without_known(text))
        if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", '"'):
            text = self._json(text, depth)
            if _is_json(text):
                return self._without_known(text)
        return self._plain(text, depth)

    def _plain(self, text: str, depth: int) -> str:
        text = _SHAPES.sub(PLACEHOLDER, self._without_known(text))
        text = _BEARER.sub(rf"\1{PLACEHOLDER}", text)
        text = _BASIC.sub(_basic, text)
        text = _USER.sub("", text)
        text = _PAIR.sub(lambda match: self._pair(match, depth), text)
        text = _LABEL.sub(rf"\1{PLACEHOLDER}", _HEADER_LINE.sub(rf"\1{PLACEHOLDER}", text))
        text = _ELEMENT.sub(_element, _FIELD_TAG.sub(_field_tag, text))
        text = _RUN.sub(lambda match: self._run(match[0], depth), text)
        escaped = re.search(r"[%&\\]", text)
        return _WORD.sub(lambda match: self._word(match[0], depth), text) if escaped else text

    def _json(self, text: str, depth: int) -> str:
        # Token by token and not parsed: every other byte stays, no depth is too deep, no double
        # name hides a value.
        opened, named, secret = [(False, False)], False, False
        written = []
        for token in _TOKEN.findall(text):
            kept = token
            if token in _OPENING:
                opened.append((token == _OPENING[0], secret))
                named = opened[-1][0]
            elif token in _CLOSING:
                _ = opened.pop() if len(opened) > 1 else None
            elif token in _BETWEEN:
                named, secret = opened[-1] if token == _BETWEEN[0] else (False, secret)
            elif named and not token.isspace():
                secret = opened[-1][1] or _names_secret(
                    _unquoted(token) if token[0] == '"' else token
                )
                kept = self._value(token, False, depth)
            elif not token.isspace():
                kept = self._value(token, secret, depth)
            written.append(kept)
        return "".join(written)

    def _value(self, token: str, secret: bool, depth: int) -> str:
        if token in ("null", "true", "false", '""', '"'):
            return token
        if secret:
            return f'"{PLACEHOLDER}"'
        if token[0] != '"':
            return token if self._without_known(token) == token else f'"{PLACEHOLDER}"'
        value = _unquoted(token)
        cleaned = self._clean(value, depth + 1)
        return token if cleaned == value else json.dumps(cleaned)

    def _pair(self, match: re.Match[str], depth: int) -> str:
        name, value = match[1], match[2]
        if _names_secret(unquote(name), parameter=True):
            return f"{name}={PLACEHOLDER}"
        for decode in (unquote, unquote_plus):
            plain = decode(value)
            cleaned = self._clean(plain, depth + 1) if plain != value else plain
            if cleaned != plain:
                return f"{name}={quote(cleaned, safe='', errors='replace')}"
        return match[0]

    def _run(self, run: str, depth: int) -> str:
        # A path is of the same letters: only the part that hides something goes, where one does.
        if not self._hides(run, depth):
            return run
        parts = "/".join(
            PLACEHOLDER if self._hides(part, depth) else part for part in run.split("/")
        )
        return parts if not self._hides(parts, depth) else "/" * run.startswith("/") + PLACEHOLDER

    def _hides(self, run: str, depth: int) -> bool:
        return any(self._is_secret(data, depth) for data in _decodings(run))

    def _is_secret(self, data: bytes, depth: int) -> bool:
        if any(secret.encode("utf-8", "replace") in data for secret, _ in self._secrets):
            return True
        if (start := data.find(b"\x1f\x8b\x08")) >= 0:
            data = _inflated(data[start:], 31) or data
        text = data.decode(_charset(data))
        if all(letter.isprintable() or letter in "\r\n\t" for letter in text):
            return self._clean(text, depth + 1) != text
        # What stands beside the base64 is of its letters too and decodes to noise.
        return any(self._clean(part, depth + 1) != part for part in _PRINTABLE.findall(text))

    def _word(self, word: str, depth: int) -> str:
        if not re.search(r"[%&\\]", word) or not self._disguises(word, depth):
            return word
        parts = [
            PLACEHOLDER if self._disguises(part, depth) else part
            for part in _WORD_PARTS.split(word)
        ]
        return whole if not self._disguises(whole := "".join(parts), depth) else PLACEHOLDER

    def _disguises(self, word: str, depth: int) -> bool:
        plain = {
            unquote(word),
            unquote_plus(word),
            html.unescape(word),
            _ESCAPE.sub(_letter, word),
            _unescaped(word),
        }
        return any(self._clean(text, depth + 2) != text for text in plain - {word})

    def _without_known(self, text: str) -> str:
        if not self._secrets:
            return text
        once = _unescaped(text)
        views = {_folded(view) for view in (text, once, _unescaped(once))}
        for secret, forms in self._secrets:
            # The pattern knows every encoding of every letter and is slow: asked only where it will
            # find.
            if any(form in view for view in views for form in forms):
                if secret not in self._patterns:
                    self._patterns[secret] = re.compile("\0{0,3}".join(map(_encodings, secret)))
                text = self._patterns[secret].sub(PLACEHOLDER, text)
        return text


@functools.lru_cache(maxsize=8)
def shared_redaction(secrets: tuple[str, ...]) -> Redaction:
    """The redaction of these secrets for all tests of a process, so that what one remembers serves the next."""
    return Redaction(secrets)


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """The values of an environment whose names say that they are secret, the longest first."""
    values = {value.strip() for name, value in environ.items() if _VARIABLE.search(name)}
    return sorted(
        (value for value in values if len(value) >= 8 and not _HARMLESS.search(value)), key=_longest
    )


_VARIABLE = re.compile(
    r"(?i)(?:token|secret|password|passwd|passphrase|credential|key|auth|authorization|cookie|pwd|pat)s?(?:[_\d.-]|$)"
)
# Paths, booleans, numbers. A secret in base64 may begin with a slash, so a path is told by its
# first folder or ending.
_HARMLESS = re.compile(
    r"(?i)^(?:true|false|disabled|enabled|required|[\d.,_+-]+|(?:~|\.{1,2}|file:|[a-z]:)[\\/].*"
    r"|/(?:app|bin|data|dev|etc|github|home|lib|library|mnt|nix|opt|private|proc|root|run|srv|sys|tmp|users|usr|var"
    r"|volumes|work|workspace)(?:/.*)?|/.*\.[a-z]{2,5})$"
)


def _longest(secret: str) -> tuple[int, str]:
    return -len(secret), secret


def _usable(secrets: Iterable[str]) -> list[str]:
    stripped = {secret.strip() for secret in secrets}
    return sorted(
        (secret for secret in stripped if len(secret) >= _SHORTEST and secret not in PLACEHOLDER),
        key=_longest,
    )


def _names_secret(name: str, *, parameter: bool = False) -> bool:
    name = re.sub(r"[^a-z0-9]", "", name[:200].lower())
    if name in _CURSORS:
        return False
    exact = name in _SECRET_NAMES or (parameter and name in _SECRET_PARAMETERS)
    return exact or name.endswith(_SECRET_ENDS) or bool(_SECRET_PARTS.search(name))


def _basic(match: re.Match[str]) -> str:
    return match[1] + PLACEHOLDER if b":" in next(_decodings(match[2]), b"") else match[0]


def _field_tag(match: re.Match[str]) -> str:
    names = _TAG_NAME.findall(match[0])
    return (
        _TAG_VALUE.sub(rf'\1"{PLACEHOLDER}"', match[0])
        if any(map(_names_secret, names))
        else match[0]
    )


def _element(match: re.Match[str]) -> str:
    return match[1] + PLACEHOLDER if match[3].strip() and _names_secret(match[2]) else match[0]


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token[1:-1]


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _letter(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _CONTROLS.get(match[3], match[3])


def _unescaped(text: str) -> str:
    """The text with every escape undone once, for comparing only."""
    return html.unescape(unquote(_ESCAPE.sub(_letter, text) if "\\" in text else text))


def _as_latin(text: str) -> str:
    """The text in UTF-8 read as letters of one octet, as the text of a binary body is."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _folded(text: str) -> str:
    """The text without what encodings add or change, for comparing only."""
    return text.replace("\\", "").replace("+", " ").replace("\0", "")


def _encodings(letter: str) -> str:
    """A pattern for one letter as JSON, HTML, URLs, C and UTF-16 may write it, even twice over."""
    point, octets = ord(letter), letter.encode("utf-8", "surrogatepass")
    units = letter.encode("utf-16-be", "surrogatepass")
    forms = [
        "".join(f"%(?:25){{0,3}}{octet:02x}" for octet in octets),
        "".join(rf"\\{{1,4}}u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)),
        "".join(rf"\\{{1,4}}x{octet:02x}" for octet in octets),
        rf"&(?:amp;)?#0{{0,6}}{point};?",
        rf"&(?:amp;)?#x0{{0,6}}{point:x};?",
    ]
    forms += [f"&(?:amp;)?{codepoint2name[point]};"] if point in codepoint2name else []
    forms += [r"&(?:amp;)?apos;"] if letter == "'" else []
    forms += [rf"\\{{1,4}}{short}" for short, control in _CONTROLS.items() if control == letter]
    literal = [rf"\\{{0,4}}{re.escape(letter)}" if letter in "\"'/" else re.escape(letter)]
    literal += [r"\\{1,4}"] if letter == "\\" else [r"\+"] if letter == " " else []
    literal += [re.escape(octets.decode("latin-1"))] if point > 127 else []
    return f"(?:{'|'.join(literal)}|(?i:{'|'.join(forms)}))"


def _decodings(run: str) -> Iterator[bytes]:
    """What a run of letters says, read as base64 from each of four letters on, and its hexadecimal parts."""
    letters = re.sub(r"[=\s]", "", run).translate({ord("-"): "+", ord("_"): "/"})
    for start in range(min(4, len(letters))):
        part = letters[start : len(letters) - ((len(letters) - start) % 4 == 1)]
        yield binascii.a2b_base64(part + "=" * (-len(part) % 4))
    for found in _HEX.findall(run):
        for start in (0, 1):
            yield bytes.fromhex(found[start : len(found) - (len(found) - start) % 2])


def _charset(body: bytes) -> str:
    for charset in (json.detect_encoding(body), "utf-8"):
        with suppress(UnicodeDecodeError):
            body.decode(charset)
            return charset
    return "latin-1"


def _decompressed(body: bytes, encoding: str) -> bytes:
    plain: bytes | None = body
    for name in reversed([name.strip().lower() for name in encoding.split(",")]):
        if plain is not None and name not in ("", "identity"):
            decompress = _DECOMPRESS.get(name)
            plain = decompress(plain) if decompress else None
    if plain is not None:
        return plain
    try:
        # Recorders below us may have decompressed the body and left the header.
        body.decode("utf-8")
    except UnicodeDecodeError:
        return PLACEHOLDER.encode()
    return body


def _inflated(body: bytes, window: int) -> bytes | None:
    plain = b""
    while body:
        stream = zlib.decompressobj(window)
        try:
            plain += stream.decompress(body, _LARGEST + 1 - len(plain))
        except zlib.error:
            # What follows a whole stream is padding.
            return plain or None
        if len(plain) > _LARGEST:
            return None
        body = stream.unused_data
    return plain


def _brotli(body: bytes) -> bytes | None:
    try:
        stream: Any = importlib.import_module("brotli").Decompressor()
        plain = b""
        for start in range(0, len(body), 64):
            plain += stream.process(body[start : start + 64])
            if len(plain) > _LARGEST:
                return None
    except Exception:  # noqa: BLE001 - its error class is not known where it is not installed
        return None
    return plain


_DECOMPRESS: Mapping[str, Callable[[bytes], bytes | None]] = {
    "gzip": lambda body: _inflated(body, 31),
    "x-gzip": lambda body: _inflated(body, 31),
    "deflate": lambda body: _inflated(body, 15) or _inflated(body, -15),
    "br": _brotli,
}
