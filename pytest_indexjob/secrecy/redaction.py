"""Redaction: takes secrets out of what is recorded, and out of what is shown.

By contract: of the JSON of a known call, the values that the contract knows (enums, counts, times,
uuids) stay as they are. Every other value, and every other text, goes through what is known to be a
secret and through what looks like one. A body that is not the JSON of a known call is replaced
whole, by a placeholder that says its type and size, unless the user named its type.

Every secret is replaced by the one word ``REDACTED``: the same on every machine, and not derived
from the value, as a hash of a weak secret tells it. What is left is for the gate to find, which
shares no pattern and no decoder with this.
"""

from __future__ import annotations

import binascii
import fnmatch
import functools
import html
import json
import re
import threading
import zlib
from contextlib import suppress
from html.entities import codepoint2name
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from pytest_indexjob.api.calls import CallMatch, api_path, match
from pytest_indexjob.api.schema import FORMATS, known_fields
from pytest_indexjob.content_coding import LARGEST, decoded
from pytest_indexjob.exchange import PLACEHOLDER, Interaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_indexjob.exchange import Exchange, Headers, Request, Response


_SHORTEST = 4  # a shorter "secret" is in every text
_SHORTEST_LEARNED = 6  # of a credential that was sent, which may be any test's `token`
_DEPTH = 6  # encodings within encodings
# Characters of a text whose redaction is remembered, and how many are.
_SHORT, _REMEMBERED = 200, 10_000
_BODIES_REMEMBERED = 512

# A header that is not named here may be a credential, or differs in each run and so makes needless
# changes.
_KEPT_HEADERS = frozenset(
    (
        "accept",
        "allow",
        "content-disposition",
        "content-encoding",
        "content-type",
        "link",
        "location",
        "retry-after",
        "transfer-encoding",
        "www-authenticate",
        "x-request-id",
    )
)
# Names of fields and parameters, without case and separators. `tokens` and `total_tokens` are
# counts; `api_key_uuid`, `secret_count` and `password_policy` tell of a secret and hold none.
_SECRET_NAMES = frozenset(
    (
        "auth",
        "bearer",
        "cookies",
        "csrf",
        "jwt",
        "keyid",
        "accesskeyid",
        "otp",
        "pwd",
        "session",
        "sessionid",
        "sid",
        "sig",
        "accesstokens",
        "refreshtokens",
    )
)
_SECRET_END = re.compile(
    "(?:(?:password|passwd|passphrase|secret|credential|authorization"
    "|(?:access|account|admin|api|auth|consumer|encryption|functions|licen[cs]e|master|private"
    "|secret|session|shared|signing|subscription)key)s?"
    "|token|cookie|signature)(?:value|hash|text|plain|raw|string|encoded|base64|[0-9]{1,4})?$"
)
_SECRET_PARAMETERS = frozenset(("key", "awsaccesskeyid", "sharedaccesssignature"))
_CURSORS = frozenset(("pagetoken", "nextpagetoken", "nexttoken", "continuationtoken", "synctoken"))
# What is said of a credential in the place of one.
_SAID_OF_SECRETS = frozenset(
    (
        "absent",
        "denied",
        "disabled",
        "enabled",
        "expired",
        "failed",
        "forbidden",
        "invalid",
        "missing",
        "needed",
        "none",
        "optional",
        "required",
        "revoked",
        "unauthorized",
        "unsupported",
    )
)

# What a secret looks like, whoever's it is. Each is linear: no repeat holds another that could
# match the same text.
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?i:do[a-z]{1,2}_v1_)[A-Za-z0-9]{8,}"
    r"|(?<![A-Za-z0-9])(?:sk|rk|pk)[-_](?=[A-Za-z_-]{0,256}[0-9])[A-Za-z0-9_-]{16,}"
    r"|(?<![A-Za-z0-9_-])(?:[A-Za-z0-9]{1,12}[_-])?eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}"
    r"|(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA|AIDA|AROA)[A-Z0-9]{16}"
    r"|(?<![A-Z0-9])DO(?:00|801)[A-Z0-9]{15,}"
    r"|gh[a-z]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{10,}|hf_[A-Za-z0-9]{20,}"
    r"|(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}"
    r"|pypi-AgE[A-Za-z0-9_-]{16,}|(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![A-Za-z0-9])"
    r"|hooks\.slack\.com/services/[A-Za-z0-9/]{16,}",
    re.DOTALL,
)
# Prose ("a bearer token is required") has neither a digit nor 20 characters.
_BEARER = re.compile(
    r"(?i)(?<![a-z0-9])(bearer\s{1,8})(?=[^\s\"']{0,256}[0-9]|[^\s\"']{20})[A-Za-z0-9._~+/-]{6,}=*"
)
_BASIC = re.compile(r"(?i)(?<![a-z0-9])(basic\s{1,8})([A-Za-z0-9+/_-]{4,}=*)")
_USER = re.compile(r"(?:(?<=://)|(?<=^//))[^\s/?#\"'<>\\:]*:[^\s/?#\"'<>\\]*@")
_PAIR = re.compile(r"((?:^|(?<=[?&;#]))[^=&?#;\s\"'<>{}]+)=([^&#\s\"'<>]+)")
_QUOTE = r"(?:[\"']|&quot;|&#34;|\\{1,4}\")?"
_LABEL = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|(?<!page)(?<!page[-_])(?<!next)(?<!next[-_])token"
    r"|(?:api|access|private|secret|secret[-_ ]?access)[-_ ]?key(?:[-_ ]?id)?|key[-_]id"
    rf"|credentials?|signature){_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE})"
    r"([^\s\"'&,;<>]+)"
)
_HEADER_LINE = re.compile(
    r"(?i)((?:authorization|cookie|x-api-key|x-auth-token)\s{0,3}[:=]\s{0,3})([^\r\n\"'<>]+)"
)
# Base64 of either alphabet, broken into lines only where lines are long.
_RUN = re.compile(r"[A-Za-z0-9+/_-]{6,}(?:(?<=[A-Za-z0-9+/_-]{40})\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_PRINTABLE = re.compile(r"[\t\n\r -~]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_WORD = re.compile(r"[^\s\"'<>]++")
_WORD_PARTS = re.compile(r"([/?&=#])")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s"{}\[\],:]++|\s++|"', re.DOTALL)
_STRUCTURE = frozenset("{}[],:")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_PLACEHOLDER_BODY = re.compile(rf"{PLACEHOLDER} [\w.+-]+(?:/[\w.+-]+)?, [0-9]+ bytes")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_UUID = re.compile(
    r"(?<![0-9A-Fa-f])" + "(?:-|%2[Dd])".join(f"[0-9A-Fa-f]{{{n}}}" for n in (8, 4, 4, 4, 12))
)
_DIGITS = re.compile(r"[0-9]{1,20}")
_NUMBERED = "00000000-0000-4000-8000-"


class Redaction:
    """Takes the secrets out of interactions.

    ``secrets`` are values known to be secret: they go in whatever encoding they stand.
    ``keep_headers`` names headers to keep beside the usual ones, ``keep_bodies`` types of bodies
    (``text/csv``, ``text/*``) to keep beside JSON of known calls. ``anonymize`` also replaces every
    UUID by a number in order of first appearance (``00000000-0000-4000-8000-000000000001``): a hash
    could be undone by guessing, as the service's UUIDs are mostly time. So one object must see the
    whole recording, what it holds already before what is new. Safe from any thread.
    """

    def __init__(
        self,
        secrets: Iterable[str] = (),
        *,
        keep_headers: Iterable[str] = (),
        keep_bodies: Iterable[str] = (),
        anonymize: bool = False,
    ) -> None:
        self._secrets = [
            (secret, {_folded(secret), _folded(_as_latin(secret))}) for secret in _usable(secrets)
        ]
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._cleaned = functools.lru_cache(_REMEMBERED)(self._clean_anew)
        self._kept = _KEPT_HEADERS | {name.lower() for name in keep_headers}
        self._kept_bodies = tuple(pattern.lower() for pattern in keep_bodies)
        self._body = functools.lru_cache(_BODIES_REMEMBERED)(self._body_anew)
        self._anonymize = anonymize
        self._numbers: dict[str, int] = {}
        self._last = 0
        self._lock = threading.Lock()

    def redact(self, interaction: Interaction) -> Interaction:
        """The interaction without its secrets; the one given is left as it is."""
        known = _is_known_call(interaction.request)
        return Interaction(
            self._request(interaction.request, known),
            self._response(interaction.response, known, interaction.request.method),
        )

    def redact_exchange(self, exchange: Exchange) -> Exchange:
        """The exchange as it can be shown, which is as a cassette would keep it."""
        known = _is_known_call(exchange.request)
        response = exchange.response and self._response(
            exchange.response, known, exchange.request.method
        )
        return exchange._replace(request=self._request(exchange.request, known), response=response)

    def _request(self, request: Request, known: bool) -> Request:
        headers, body = self._message(request.headers, request.body, known)
        return request._replace(url=self._url(request.url), headers=headers, body=body)

    def _response(self, response: Response, known: bool, method: str) -> Response:
        headers, body = self._message(response.headers, response.body, known)
        length = response.header("content-length")
        if method == "HEAD" and _DIGITS.fullmatch(length) and not self._is_kept("content-length"):
            headers += (("Content-Length", length),)  # of the body that is not there
        reason = self.redact_text(response.reason)
        return response._replace(headers=headers, body=body, reason=reason)

    def _url(self, url: str) -> str:
        """A URL without its secrets, and without its user and fragment, which are not sent."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:  # of a secret, say, that is no URL's
            text = self.redact_text(url)
            return text if text == url else self._url(text)
        netloc = parts.netloc.rpartition("@")[2]
        text = self.redact_text(parts._replace(netloc=netloc, fragment="").geturl())
        site = f"{parts.scheme}://{netloc}"
        if not netloc or text.startswith(site) or self.redact_text(site) != site:
            return text
        # It still is to replay: from its host.
        return f"{site}/{PLACEHOLDER}"

    def redact_values(self, text: str) -> str:
        """A text that may be anything (a log, a traceback) without what is surely secret."""
        text = _SHAPES.sub(PLACEHOLDER, self._without_known(text))
        # A log is long, and decoding each of its words is slow: only where it will find.
        unbroken = re.sub(r"\s", "", text)
        views = (unbroken, unbroken.lower())  # hexadecimal has no case
        if any(trace in view for view in views for trace in self._traces):
            text = _RUN.sub(lambda match: self._run(match[0], 0), text)
        return text

    @functools.cached_property
    def _traces(self) -> frozenset[str]:
        """What each known secret leaves in base64, once or twice over, and in hexadecimal."""
        octets = [secret.encode("utf-8", "replace") for secret, _ in self._secrets]
        once = {core for secret in octets for core in _base64_cores(secret)}
        twice = {core for first in once for core in _base64_cores(first.encode())}
        return frozenset(once | twice | {secret.hex() for secret in octets})

    def reserve(self, text: str) -> None:
        """Give no number to a uuid that a text of a recording holds already."""
        if self._anonymize:
            _UUID.sub(self._number, text)

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

    def _message(self, headers: Headers, body: bytes, known: bool) -> tuple[Headers, bytes]:
        kept = self._headers(headers)
        encoding = ",".join(value for name, value in headers if name.lower() == "content-encoding")
        kept = tuple(pair for pair in kept if pair[0].lower() != "content-encoding" or not body)
        content_type = next(
            (value for name, value in headers if name.lower() == "content-type"), ""
        )
        return kept, self._body(body, encoding, content_type, known)

    def _body_anew(self, body: bytes, encoding: str, content_type: str, known: bool) -> bytes:
        if not body:
            return body
        plain = decoded(body, encoding)
        text = _text(plain) if plain is not None else None
        if text is not None and (
            (known and _is_json(text))
            or self._keeps(content_type)
            or _PLACEHOLDER_BODY.fullmatch(text)
        ):
            cleaned = self.redact_text(text)
            return plain if cleaned == text and plain else cleaned.encode("utf-8", "surrogatepass")
        named = _TYPE.match(content_type.strip())
        said = f"{PLACEHOLDER} {named[0] if named else 'body'}, {len(plain or body)} bytes"
        return self.redact_text(said).encode()

    def _keeps(self, content_type: str) -> bool:
        kind = content_type.partition(";")[0].strip().lower()
        return any(fnmatch.fnmatchcase(kind, pattern) for pattern in self._kept_bodies)

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
        if name == "set-cookie":  # kept by the user, for its attributes
            cookie, semicolon, attributes = value.partition(";")
            cookie = f"{self.redact_text(cookie.partition('=')[0])}={PLACEHOLDER}"
            return cookie + semicolon + self.redact_text(attributes)
        # Of ours none is named so: it was kept by the user.
        return PLACEHOLDER if value and _names_secret(name) else self.redact_text(value)

    # Text

    def _clean(self, text: str, depth: int) -> str:
        # Names and values of polls mostly repeat themselves.
        return self._cleaned(text, depth) if len(text) <= _SHORT else self._clean_anew(text, depth)

    def _clean_anew(self, text: str, depth: int) -> str:
        if depth > _DEPTH:
            return _SHAPES.sub(PLACEHOLDER, self._without_known(text))
        if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", '"'):
            text, checked = self._json(text, depth)
            if _is_json(text):
                # A known secret may reach over several values.
                return (
                    text if self._without_known(checked) == checked else self._without_known(text)
                )
        return self._plain(text, depth)

    def _plain(self, text: str, depth: int) -> str:
        text = _SHAPES.sub(PLACEHOLDER, self._without_known(text))
        text = _BEARER.sub(rf"\1{PLACEHOLDER}", text)
        text = _BASIC.sub(_basic, text)
        text = _USER.sub("", text)
        text = _PAIR.sub(lambda match: self._pair(match, depth), text)
        text = _LABEL.sub(_labelled, _HEADER_LINE.sub(_labelled, text))
        text = _RUN.sub(lambda match: self._run(match[0], depth), text)
        escaped = re.search(r"[%&\\]", text)
        return _WORD.sub(lambda match: self._word(match[0], depth), text) if escaped else text

    def _json(self, text: str, depth: int) -> tuple[str, str]:
        """The text without its secrets, and that again without what the contract vouches for."""
        # Token by token and not parsed: every other byte stays, no depth is too deep, no double
        # name hides a value.
        opened: list[tuple[bool, bool, str]] = [(False, False, "")]
        named, secret, name = False, False, ""
        written, checked = [], []
        for token in _TOKEN.findall(text):
            kept = token
            vouched = False
            if token in _STRUCTURE:
                named, secret, name = _step(token, opened, named, secret, name)
            elif named and not token.isspace():
                name = _unquoted(token) if token[0] == '"' else token
                secret = opened[-1][1] or _names_field(name)
                kept = token if name in _CONTRACT else self._value(token, False, depth)
            elif not token.isspace():
                vouched = _vouches(name, _unquoted(token) if token[0] == '"' else token)
                kept = token if vouched else self._value(token, secret, depth)
            written.append(kept)
            checked.append("0" if vouched else kept)
        return "".join(written), "".join(checked)

    def _value(self, token: str, secret: bool, depth: int) -> str:
        if token in ("null", "true", "false", '""', '"'):
            return token
        value = _unquoted(token) if token[0] == '"' else token
        if secret and value.strip().lower() not in _SAID_OF_SECRETS:
            return f'"{PLACEHOLDER}"'
        if token[0] != '"':
            return token if self._without_known(token) == token else f'"{PLACEHOLDER}"'
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
            data = _inflated(data[start:]) or data
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
def shared_redaction(
    secrets: tuple[str, ...], keep_headers: tuple[str, ...] = (), keep_bodies: tuple[str, ...] = ()
) -> Redaction:
    """The redaction of these secrets, one for all tests of a process."""
    return Redaction(secrets, keep_headers=keep_headers, keep_bodies=keep_bodies)


@functools.lru_cache(maxsize=256)
def credentials(headers: Headers, url: str = "", body: bytes = b"") -> frozenset[str]:
    """What a client sent to say who it is, which is a secret wherever else it turns up.

    These are ``Authorization`` of any scheme or none with its parameters, the two halves of
    ``Basic``, cookies, headers that are named like secrets, and what is named like a secret in the
    query, in a form and in JSON, also where a URL or JSON stands within a value.
    """
    found: set[str] = set()
    for header, value in headers:
        name = header.lower()
        if name == "cookie":
            pairs = (part.strip().partition("=") for part in value.split(";"))
            found.update((value or name).strip('"') for name, _, value in pairs)
        elif name == "authentication" or _names_secret(name.removeprefix("x-")):
            found.update(_in_credential(name, value.strip()))
        else:
            found.update(_named_secrets(value))
    with suppress(ValueError):
        parts = urlsplit(url)
        found.update(unquote(half or "") for half in (parts.username, parts.password))
        found.update(_named_secrets(f"{parts.query}#{parts.fragment}"))
    found.update(_named_secrets(_text(body) or ""))
    found |= {unquote(value) for value in found}
    return frozenset(
        value
        for value in found
        if len(value) >= _SHORTEST_LEARNED and value.lower() not in _SAID_OF_SECRETS
    )


def _in_credential(header: str, value: str) -> Iterator[str]:
    """A header's credential without its scheme, and its parameters that are secret."""
    scheme, _, credential = value.replace("\t", " ").partition(" ")
    if not (credential and header.endswith("authorization")):
        yield value
    yield credential.strip(' "')
    if scheme.lower() == "basic":
        yield from _basic_halves(credential)
    for name, quoted, plain in _CREDENTIAL_PARAMETER.findall(value):
        if name.lower() in _DIGEST or _names_secret(name, parameter=True):
            yield quoted or plain


_CREDENTIAL_PARAMETER = re.compile(r'([\w-]{1,100})[ \t]*=[ \t]*(?:"([^"]*)"|([^\s,;"]+))')
_DIGEST = frozenset(("username", "response"))


def _named_secrets(text: str, depth: int = 0) -> Iterator[str]:
    """The values that stand under a secret's name in JSON, in a form or in a URL."""
    if depth == _DEPTH_LEARNED:
        return
    with suppress(ValueError, RecursionError):
        if text.lstrip()[:1] in ("{", "["):
            yield from _named_in_json(json.loads(text), depth)
            return
    for name, value in _PAIR.findall(text):
        if _names_secret(unquote(name), parameter=True):
            yield unquote(value)
            yield unquote_plus(value)
        else:
            yield from _named_secrets(unquote_plus(value), depth + 1)


def _named_in_json(parsed: Any, depth: int) -> Iterator[str]:
    waiting = [("", False, parsed)]
    while waiting:
        name, secret, part = waiting.pop()
        if isinstance(part, dict):
            secret = secret and _compact(name) != "session"
            waiting += [(key, secret or _names_field(key), value) for key, value in part.items()]
        elif isinstance(part, list):
            waiting += [(name, secret, value) for value in part]
        elif isinstance(part, str) and secret and part.strip().lower() not in _SAID_OF_SECRETS:
            yield part
        elif isinstance(part, str):
            yield from _named_secrets(part, depth + 1)


def _names_field(name: str) -> bool:
    """Whether a field of JSON is named like a secret, and the contract knows of no such field."""
    return name not in _CONTRACT and _names_secret(name)


_DEPTH_LEARNED = 4


def _basic_halves(credential: str) -> list[str]:
    plain = next(_decodings(credential.strip()), b"")
    text = _text(plain)
    # requests writes user and password in latin-1.
    return (plain.decode("latin-1") if text is None else text).split(":", 1)


_CONTRACT = known_fields()


def _vouches(name: str, value: str) -> bool:
    """Whether the contract knows a field, and the value is of the field's kind."""
    return any(_is_of(schema, value) for schema in _CONTRACT.get(name, ()))


def _is_of(schema: Mapping[str, Any], value: str) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    if schema.get("format") == "uuid":
        return _UUID.fullmatch(value) is not None
    if schema["type"] == "integer":
        return _DIGITS.fullmatch(value) is not None
    holds = FORMATS.get(schema.get("format", ""))
    return holds is not None and holds(value)


def _is_known_call(request: Request) -> bool:
    return isinstance(match(request.method, api_path(request.url)), CallMatch)


def is_placeholder(body: bytes) -> bool:
    """Whether a body stands in the place of another that was replaced whole."""
    return _PLACEHOLDER_BODY.fullmatch(_text(body) or "") is not None


def _text(body: bytes) -> str | None:
    with suppress(UnicodeDecodeError):
        return body.decode("utf-8")
    return None


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


def _compact(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:200].lower())


def _step(
    mark: str, opened: list[tuple[bool, bool, str]], named: bool, secret: bool, name: str
) -> tuple[bool, bool, str]:
    """Whether a name comes next after a mark of JSON's structure, whether it is secret, its name.

    ``opened`` holds the same for each object and list that the mark stands in.
    """
    if mark in "{[":
        # What a session holds is told field by field.
        opened.append((mark == "{", secret and _compact(name) != "session", name))
    elif mark in "}]":
        _ = opened.pop() if len(opened) > 1 else None
        return named, secret, name
    elif mark == ":":
        return False, secret, name
    return opened[-1]


def _names_secret(name: str, *, parameter: bool = False) -> bool:
    name = _compact(name)
    if name in _CURSORS:
        return False
    exact = name in _SECRET_NAMES or (parameter and name in _SECRET_PARAMETERS)
    return exact or name.startswith("xamzsecurity") or bool(_SECRET_END.search(name))


def _basic(match: re.Match[str]) -> str:
    return match[1] + PLACEHOLDER if b":" in next(_decodings(match[2]), b"") else match[0]


def _labelled(match: re.Match[str]) -> str:
    said = re.split(r"[\s,;.!]", match[2], maxsplit=1)[0].lower() in _SAID_OF_SECRETS
    return match[0] if said else match[1] + PLACEHOLDER


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token[1:-1]


def _is_json(text: str) -> bool:
    try:
        json.loads(text.removeprefix("\ufeff"), parse_int=str, parse_float=str)
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


def _base64_cores(data: bytes) -> Iterator[str]:
    """The letters of base64 that these bytes alone decide, whatever stands around them."""
    for offset in range(3):
        letters = binascii.b2a_base64(b"\0" * offset + data, newline=False).decode().rstrip("=")
        core = letters[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _decodings(run: str) -> Iterator[bytes]:
    """What a run of letters says as base64, from each of four letters on, and as hexadecimal."""
    letters = re.sub(r"[=\s]", "", run).translate({ord("-"): "+", ord("_"): "/"})
    for start in range(min(4, len(letters))):
        part = letters[start : len(letters) - ((len(letters) - start) % 4 == 1)]
        yield binascii.a2b_base64(part + "=" * (-len(part) % 4))
    for found in _HEX.findall(run):
        for start in (0, 1):
            yield bytes.fromhex(found[start : len(found) - (len(found) - start) % 2])


def _inflated(data: bytes) -> bytes:
    """What gzip holds, up to where it is cut or followed by something else."""
    stream, plain = zlib.decompressobj(31), b""
    with suppress(zlib.error):
        for start in range(0, len(data), 256):
            plain += stream.decompress(data[start : start + 256], LARGEST - len(plain))
            if stream.eof or len(plain) >= LARGEST:
                break
    return plain


def _charset(body: bytes) -> str:
    for charset in (json.detect_encoding(body), "utf-8"):
        with suppress(UnicodeDecodeError):
            body.decode(charset)
            return charset
    return "latin-1"
