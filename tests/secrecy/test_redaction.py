"""Redaction and its gate: each secret, in each form, in each place, is gone; and left in, the
gate finds it."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import zlib
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob.exchange import Exchange, Interaction, Request, Response, shown_url
from pytest_indexjob.recording.cassette import dump, load
from pytest_indexjob.secrecy.gate import Leak, scan
from pytest_indexjob.secrecy.redaction import Redaction, credentials, environment_secrets
from pytest_indexjob.story.moments import story
from pytest_indexjob.story.record import record_test

URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
CASSETTES = sorted((Path(__file__).parents[2] / "cassettes").glob("*.yaml"))
JSON = (("Content-Type", "application/json"),)

# One of letters only, one that every encoding must change.
SIMPLE = "s3cr3tValueOfTheUser42"
HARD = 'pa55/w0rd+&<"x">=\'y\\é~ ?'


def encoded(text, *, before=b"", after=b"", alphabet=base64.b64encode):
    return alphabet(before + text.encode() + after).decode()


FORMS = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent-lower": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "percent-all": lambda text: "".join(f"%{octet:02X}" for octet in text.encode()),
    "percent-twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "base64": encoded,
    "base64-unpadded": lambda text: encoded(text).rstrip("="),
    "base64-urlsafe": lambda text: encoded(text, alphabet=base64.urlsafe_b64encode),
    "base64-offset-1": lambda text: encoded(text, before=b":", after=b" and more"),
    "base64-offset-2": lambda text: encoded(text, before=b"x:", after=b" and more"),
    "base64-basic": lambda text: "Basic " + encoded(text, before=b"user:"),
    "base64-twice": lambda text: encoded(encoded(text)),
    "base64-percent": lambda text: quote(encoded(text, before=b"\xff\xfe"), safe=""),
    "base64-gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "json": lambda text: json.dumps(text)[1:-1],
    "json-slash": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json-all": lambda text: "".join(f"\\u{ord(letter):04X}" for letter in text),
    "json-twice": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "html": html.escape,
    "html-decimal": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "html-hexadecimal": lambda text: "".join(f"&#x{ord(letter):X};" for letter in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal-upper": lambda text: text.encode().hex().upper(),
}


def asked(**fields):
    return Interaction(
        Request("PUT", **{"url": f"{URL}/cancel", **fields}), Response(200, JSON, b'{"ok":true}')
    )


def answered(body=b"", headers=(), **fields):
    return Interaction(Request("GET", URL), Response(200, headers, body, **fields))


def deflated(text):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(text) + stream.flush()


def nested(value):
    return json.dumps(
        {"job": {"parts": [1, {"notes": [None, value]}]}, "total_tokens": "12"}
    ).encode()


def multipart(value):
    return (
        b'--frontier\r\nContent-Disposition: form-data; name="note"\r\n\r\n%s\r\n--frontier--\r\n'
        % f"a {value} b".encode()
    )


PLACES = {
    "url-path": lambda value: asked(url=f"https://api.example.com/a/{value}/b"),
    "url-query": lambda value: asked(url=f"{URL}?page=1&note={value}&per_page=2"),
    "url-fragment": lambda value: asked(url=f"{URL}#at={value}"),
    "url-user": lambda value: asked(url=f"https://user:{value}@api.example.com/"),
    "request-header": lambda value: asked(headers=(("Accept", value),)),
    "request-authorization": lambda value: asked(headers=(("Authorization", f"Bearer {value}"),)),
    "request-cookie": lambda value: asked(headers=(("Cookie", f"a=b; c={value}"),)),
    "request-kept-header": lambda value: asked(headers=(("X-Note", f"it is {value}"),)),
    "request-json": lambda value: asked(headers=JSON, body=json.dumps({"note": value}).encode()),
    "request-json-name": lambda value: asked(headers=JSON, body=json.dumps({value: 1}).encode()),
    "request-json-nested": lambda value: asked(headers=JSON, body=nested(f"it is {value}.")),
    "request-json-list": lambda value: asked(body=json.dumps(["a", [value]]).encode()),
    "request-json-in-json": lambda value: asked(
        body=json.dumps({"a": json.dumps({"b": value})}).encode()
    ),
    "request-json-raw": lambda value: asked(body=f'{{"a": "{value}"}}'.encode()),
    "request-form": lambda value: asked(body=f"a=b&note={value}&c=d".encode()),
    "request-plain": lambda value: asked(body=f"it is {value} as you know".encode()),
    "request-multipart": lambda value: asked(
        headers=(("Content-Type", "multipart/form-data; boundary=frontier"),), body=multipart(value)
    ),
    "request-gzip": lambda value: asked(
        headers=(("Content-Encoding", "gzip"),), body=gzip.compress(nested(value), mtime=0)
    ),
    "response-header": lambda value: answered(headers=(("X-Request-Id", value),)),
    "response-set-cookie": lambda value: answered(headers=(("Set-Cookie", f"a={value}; Path=/"),)),
    "response-location": lambda value: answered(headers=(("Location", f"/next?a={value}&b=1"),)),
    "response-link": lambda value: answered(headers=(("Link", f'<{URL}?a={value}>; rel="next"'),)),
    "response-reason": lambda value: answered(reason=value),
    "response-json": lambda value: answered(json.dumps({"note": value}).encode(), JSON),
    "response-json-cut": lambda value: answered(
        json.dumps({"note": value, "next": 1}).encode()[:-3], JSON
    ),
    "response-html": lambda value: answered(
        f'<p class="a">it is {value}</p>'.encode(), (("Content-Type", "text/html"),)
    ),
    "response-html-attribute": lambda value: answered(f'<input value="{value}">'.encode()),
    "response-gzip": lambda value: answered(
        gzip.compress(nested(value), mtime=0), (*JSON, ("Content-Encoding", "gzip"))
    ),
    "response-gzip-file": lambda value: answered(gzip.compress(nested(value), mtime=0)),
    "response-deflate": lambda value: answered(
        zlib.compress(nested(value)), (("Content-Encoding", "deflate"),)
    ),
    "response-raw-deflate": lambda value: answered(
        deflated(nested(value)), (("Content-Encoding", "deflate"),)
    ),
    "response-two-encodings": lambda value: answered(
        gzip.compress(zlib.compress(nested(value)), mtime=0),
        (("Content-Encoding", "deflate, gzip"),),
    ),
    "response-binary": lambda value: answered(b"\xff\xfe\xfa " + value.encode() + b" \x80\x81"),
    "response-utf-16": lambda value: answered(json.dumps({"note": value}).encode("utf-16")),
    "response-base64-json": lambda value: answered(
        json.dumps({"content": base64.b64encode(nested(value)).decode()}).encode()
    ),
}
CASES = [(place, form) for place in PLACES for form in FORMS]
# Each place and form has one of the secrets in each run, the other in the slow tests.
KNOWN = [
    pytest.param(
        *case,
        secret,
        id=f"{'-'.join(case)}-{name}",
        marks=[pytest.mark.slow] if (at + turn) % 2 else [],
    )
    for at, case in enumerate(CASES)
    for turn, (name, secret) in enumerate([("simple", SIMPLE), ("hard", HARD)])
]


def leaves(node):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(key)
            yield from leaves(value)
    elif isinstance(node, list):
        for item in node:
            yield from leaves(item)
    elif isinstance(node, str | bytes):
        yield node.encode() if isinstance(node, str) else node


def traces(secret):
    """What a secret leaves in a text, form by form, made by encoding it and not by decoding the
    text."""
    found = {form(secret) for name, form in FORMS.items() if not name.startswith("base64")}
    for offset in range(3):
        # The letters that the secret alone decides, whatever stands around it.
        text = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        inner = text[-(-offset * 8 // 6) : (offset + len(secret.encode())) * 8 // 6]
        found |= {
            inner,
            inner.replace("+", "-").replace("/", "_"),
            base64.b64encode(inner.encode()).decode()[:-4],
        }
    return {trace.encode() for trace in found} | {
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
    }


def assert_absent(secret, text):
    data = [text.encode(), *leaves(yaml.safe_load(text))]
    data += [gzip.decompress(leaf) for leaf in data if leaf.startswith(b"\x1f\x8b")]
    for trace in traces(secret):
        for leaf in data:
            assert trace not in leaf


@pytest.mark.parametrize(("place", "form", "secret"), KNOWN)
def test_a_known_secret_is_gone_and_found_where_it_is_not(place, form, secret):
    interaction = PLACES[place](FORMS[form](secret))
    redaction = Redaction([secret], keep_headers=["X-Note"])
    redacted = redaction.redact(interaction)
    text = dump([redacted])
    assert_absent(secret, text)
    assert scan(text, [secret]) == []
    assert redaction.redact(redacted) == redacted
    left = scan(dump([interaction]), [secret])
    assert left
    assert all(secret not in str(leak) and isinstance(leak, Leak) for leak in left)


# Shapes

DIGITS = "0123456789abcdef" * 4
JWT = ".".join(
    encoded(part, alphabet=base64.urlsafe_b64encode).rstrip("=")
    for part in ('{"alg":"HS256"}', '{"sub":"someone"}', "signature-of-it-all")
)
SHAPES = {
    "DigitalOcean token": f"dop_v1_{DIGITS}",
    "DigitalOcean token, OAuth": f"doo_v1_{DIGITS}",
    "DigitalOcean token, refresh": f"dor_v1_{DIGITS}",
    "API key": f"sk-do-{DIGITS[:40]}",
    "API key, GitHub": f"ghp_{DIGITS[:36]}",
    "API key, Slack": "xoxb-" + "123456789012-abcdefghijkl",
    "API key, Slack app": "xapp-1-A0123456789-1234567890123-abcdefghijkl",
    "API key, Stripe restricted": f"rk_live_{DIGITS[:24]}",
    "API key, GitLab": f"glpat-{DIGITS[:20]}",
    "API key, Hugging Face": f"hf_{DIGITS[:34]}",
    "API key, Google OAuth": f"ya29.{DIGITS}",
    "Spaces key": "DO00ABCDEFGHIJ234567",
    "API key, Google": "AIza" + DIGITS[:35],
    "API key, SendGrid": f"SG.{DIGITS[:22]}.{DIGITS[:43]}",
    "API key, npm": f"npm_{DIGITS[:36]}",
    "API key, PyPI": f"pypi-AgEIcHlwaS5vcmc{DIGITS}",
    "API key, Twilio": f"SK{DIGITS[:32]}",
    "API key, Slack web hook": f"https://hooks.slack.com/services/T0{DIGITS[:8]}/B0/{DIGITS[:24]}",
    "bearer token": "Bearer abc123def456",
    "Basic credentials": "Basic " + encoded("someone:opensesame"),
    "JWT": JWT,
    "AWS key": "AKIAIOSFODNN7EXAMPLE",
    "AWS key, temporary": "ASIAIOSFODNN7EXAMPLE",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "private key, PGP": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQWGBF\n"
    "-----END PGP PRIVATE KEY BLOCK-----",
    "password in URL": "https://someone:opensesame@example.com/x",
    "signed URL": "https://example.com/x?X-Amz-Expires=9&X-Amz-Signature=feedbeef",
    "signed URL, Google": "https://example.com/x?X-Goog-Signature=feedbeef",
    "signed URL, Azure": "https://example.com/x?se=2026&sp=r&sig=feed%2Bbeef%3D",
    "secret parameter": "https://example.com/x?access_token=opensesame",
}
SHAPE_PLACES = (
    *(
        "request-kept-header",
        "request-json-nested",
        "request-json-in-json",
        "request-plain",
        "request-multipart",
    ),
    *(
        "request-gzip",
        "response-link",
        "response-json",
        "response-json-cut",
        "response-html",
        "response-gzip-file",
    ),
    *("response-deflate", "response-utf-16", "response-binary", "response-base64-json"),
)


@pytest.mark.parametrize("place", SHAPE_PLACES)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_secret_that_nobody_named_is_known_by_its_shape(place, kind):
    interaction = PLACES[place](SHAPES[kind])
    redaction = Redaction(keep_headers=["X-Note"])
    redacted = redaction.redact(interaction)
    assert scan(dump([redacted])) == []
    assert redaction.redact(redacted) == redacted
    found = scan(dump([interaction]))
    assert any(leak.kind.startswith(kind.split(",")[0]) for leak in found), found
    assert not any(SHAPES[kind] in leak.kind for leak in found)


@pytest.mark.parametrize(
    "kind", [kind for kind in SHAPES if "URL" not in kind and "parameter" not in kind]
)
@pytest.mark.parametrize(
    "form", ["plain", "percent", "base64", "base64-offset-1", "json", "html-decimal"]
)
def test_a_shape_is_known_in_disguise(kind, form):
    interaction = answered(json.dumps({"note": FORMS[form](SHAPES[kind])}).encode())
    assert scan(dump([interaction])) != []
    text = dump([Redaction().redact(interaction)])
    assert scan(text) == []
    assert_absent(SHAPES[kind].split()[-1], text)


@pytest.mark.parametrize("scheme", ["Bearer abc123def456", "Basic c29tZW9uZTpvcGVuc2VzYW1l"])
def test_a_scheme_is_known_behind_an_underscore(scheme):
    name, value = scheme.split()
    assert Redaction().redact_text(f"auth_{name} {value}") == f"auth_{name} REDACTED"


FIELDS = (
    *(
        "token",
        "access_token",
        "refreshToken",
        "PASSWORD",
        "secret",
        "client-secret",
        "api_key",
        "apikey",
        "X-Api-Key",
    ),
    *(
        "authorization",
        "credentials",
        "private_key",
        "signature",
        "session",
        "set-cookie",
        "db_password",
        "csrf_token",
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "the password: opensesame was wrong",
        "token = 'opensesame'",
        "<pre>{&quot;password&quot;: &quot;opensesame&quot;}</pre>",
        'sent {\\"api_key\\": \\"opensesame\\"} to it',
        "Authorization: Digest a=b, response=opensesame",
        "var options = {token: 'opensesame'}",
        "https:\\/\\/user:opensesame@example.com\\/x",
        "https%3A%2F%2Fuser%3Aopensesame%40example.com%2Fx",
    ],
)
def test_a_value_in_prose_is_secret_by_its_label(text):
    redacted = Redaction().redact_text(text)
    assert "opensesame" not in redacted
    assert Redaction().redact_text(redacted) == redacted
    assert scan(dump([asked(body=redacted.encode())])) == []


BODIES = [
    '{{"a":[{{"{name}":"opensesame"}}]}}',
    '{{"{name}":{{"a":["opensesame"]}}}}',
    '{{"{name}" : "opensesame", "{name}" : ""}}',
    '{{"{name}":"opensesame","cut',
    "a=b&{name}=opensesame&c=d",
    "{name}=open%73esame",
    '<input type="hidden" name="{name}" value="opensesame">',
    '<input value="opensesame" id={name}>',
    "<a><{name}>opensesame</{name}></a>",
    '--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nopensesame\r\n--x--',
]
# What a session holds is told field by field.
NAMED = [
    (name, body) for body in BODIES for name in FIELDS if (name, body) != ("session", BODIES[1])
]


@pytest.mark.parametrize(("name", "body"), NAMED)
def test_a_value_is_secret_by_the_name_of_its_field(name, body):
    content_type = "multipart/form-data; boundary=x" if body.startswith("--") else "text/plain"
    interaction = asked(
        headers=(("Content-Type", content_type),), body=body.format(name=name).encode()
    )
    redacted = Redaction().redact(interaction)
    assert b"opensesame" not in redacted.request.body
    assert b"open%73esame" not in redacted.request.body
    assert b"REDACTED" in redacted.request.body
    assert Redaction().redact(redacted) == redacted


def test_the_gate_knows_fields_and_headers_by_name():
    text = dump(
        [
            asked(
                headers=(("Authorization", "opensesame"),),
                body=b'{"a": [{"password": "opensesame"}]}',
            )
        ]
    )
    lines = text.splitlines()
    leaks = scan(text)
    assert {leak.kind for leak in leaks} == {"secret field"}
    assert all("opensesame" in lines[leak.line - 1] for leak in leaks)
    assert len(leaks) == 2


def test_the_gate_tells_line_kind_and_encoding():
    text = dump([answered(json.dumps({"a": encoded(SIMPLE)}).encode())])
    line = next(at for at, written in enumerate(text.splitlines(), 1) if "string:" in written)
    assert Leak(line, "known secret (base64)") in scan(text, [SIMPLE])


def test_the_gate_reads_what_is_no_yaml_and_no_leaf():
    assert scan(f"a: [\n {encoded(SIMPLE)}", [SIMPLE]) == [Leak(1, "known secret (base64)")]
    assert Leak(2, "known secret") in scan(f"a: 1\n# {SIMPLE}\n", [SIMPLE])
    assert scan("a: !!binary '!'\nb: &x [*x]\n", [SIMPLE]) == []
    assert scan("", [SIMPLE]) == []
    assert scan("[" * 100_000, [SIMPLE]) == []


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_the_shipped_recordings_pass_and_are_not_changed(path):
    assert scan(path.read_text(), [SIMPLE]) == []
    interactions = load(path).interactions
    assert tuple(map(Redaction([SIMPLE]).redact, interactions)) == interactions


# What stays


@pytest.mark.parametrize(
    "body",
    [
        (
            b'{ "job": {"tokens": 12, "total_tokens" : "9007199254740993", "x":1.10, "y": 1E400,'
            b' "a":"\\u00e9\\/" } }\n'
        ),
        b'{"next_page_token": "abc", "is_password_protected": true, "token": null, "secret": ""}',
        b'\xef\xbb\xbf{"phase":"BATCH_JOB_PHASE_RUNNING"}',
        b'{"created_at":"2025-10-31T01:08:33Z","uuid":"5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"}',
        b'{"message":"a bearer token is required, basic authentication is not enough"}',
        b'{"url":"https://api.digitalocean.com/v2/gen-ai/indexing_jobs?page=2&per_page=20"}',
        b"",
    ],
)
def test_a_body_without_secrets_keeps_its_bytes(body):
    redacted = Redaction([SIMPLE]).redact(answered(body, JSON))
    assert redacted == answered(body, JSON)
    assert scan(dump([redacted]), [SIMPLE]) == []


def test_around_a_secret_every_byte_stays():
    body = b'{ "tokens" : 1.10,\n "password":"x", "total_tokens":"5", "list" :[ ] }'
    wanted = b'{ "tokens" : 1.10,\n "password":"REDACTED", "total_tokens":"5", "list" :[ ] }'
    assert Redaction().redact(answered(body)).response.body == wanted


def test_headers_are_kept_by_name():
    headers = (
        ("Content-Type", "application/json"),
        ("RateLimit-Limit", "5000"),
        ("Retry-After", "3"),
        ("X-Request-Id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("WWW-Authenticate", f'Bearer realm="{SIMPLE}"'),
        ("Date", "today"),
        ("Content-Length", "2"),
        ("Set-Cookie", "a=b"),
        ("X-Api-Key", SIMPLE),
        ("X-Note", "mine"),
    )
    kept = (
        Redaction(keep_headers=["x-note", "X-API-Key"])
        .redact(answered(b"", headers))
        .response.headers
    )
    assert kept == (
        *headers[:4],
        ("WWW-Authenticate", "Bearer"),
        ("X-Api-Key", "REDACTED"),
        ("X-Note", "mine"),
    )
    assert Redaction().redact(answered(b"", (("WWW-Authenticate", ""),))).response.headers == (
        ("WWW-Authenticate", ""),
    )


@pytest.mark.parametrize(
    "values",
    [(SIMPLE[:9], SIMPLE[9:]), (f"x {SIMPLE[:9]}\r\n {SIMPLE[9:]}",), (f"x {SIMPLE}\r\n y",)],
)
def test_a_secret_in_pieces_of_a_header_is_gone(values):
    headers = tuple(("Link", value) for value in values)
    kept = Redaction([SIMPLE]).redact(answered(b"", headers)).response.headers
    assert SIMPLE[:9] not in str(kept)
    assert not re.search(r"[\r\n]", "".join(value for _, value in kept))


SIGNED = (
    "https://reports.example.com/jobs/1.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE"
    "%2F20251031%2Fnyc3%2Fs3%2Faws4_request&X-Amz-Date=20251031T010833Z&X-Amz-Expires=900&X-Amz-Signature=feedbeef"
)


def test_a_signed_url_is_redacted_alike_wherever_it_stands():
    redaction = Redaction()
    wanted = (
        "https://reports.example.com/jobs/1.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=REDACTED"
        "&X-Amz-Date=20251031T010833Z&X-Amz-Expires=900&X-Amz-Signature=REDACTED"
    )
    body = json.dumps({"signed_url": SIGNED}).encode()
    assert json.loads(redaction.redact(answered(body)).response.body) == {"signed_url": wanted}
    escaped = body.replace(b"/", b"\\/").replace(b"&", b"\\u0026")
    assert json.loads(redaction.redact(answered(escaped)).response.body) == {"signed_url": wanted}
    assert redaction.redact(asked(url=SIGNED)).request.url == wanted
    assert redaction.redact(answered(headers=(("Location", SIGNED),))).response.headers == (
        ("Location", wanted),
    )
    assert Redaction(["opensesame"]).redact_text(f"see <{SIGNED}>") == f"see <{wanted}>"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://user:pass@example.com/a?b=c", "https://example.com/a?b=c"),
        (
            "https://x.blob.example/a?se=2026&sp=r&sv=2&sig=a%2Bb%3D",
            "https://x.blob.example/a?se=2026&sp=r&sv=2&sig=REDACTED",
        ),
        ("/next?page=2&key=abc", "/next?page=2&key=REDACTED"),
        ("/next#access_token=abc&state=1", "/next#access_token=REDACTED&state=1"),
        ("/a?next=https%3A%2F%2Fu%3Ap%40h%2F", "/a?next=https%3A%2F%2Fh%2F"),
        ("/a?page_token=abc&token=", "/a?page_token=abc&token="),
        ("https://h/@user/a@b?c", "https://h/@user/a@b?c"),
    ],
)
def test_urls_keep_their_shape(url, wanted):
    assert Redaction().redact_text(url) == wanted
    assert scan(f"- '{wanted}'") == []


def test_a_url_whose_secret_reaches_into_the_host_is_still_one_of_the_host():
    redaction = Redaction(["ample.com/abc"])
    kept = redaction.redact(asked(url="https://example.com/abcd")).request.url
    assert kept == "https://example.com/REDACTED"


@pytest.mark.parametrize(
    "text", ["password: \u00fcnsesame", "caf\u00e9, token=\u00e4\u00f6\u00fcsesame"]
)
def test_a_value_in_base64_is_secret_by_its_label_in_any_script(text):
    assert Redaction().redact_text(f"see {encoded(text)}") == "see REDACTED"


def test_a_path_keeps_the_parts_that_hide_nothing():
    redaction = Redaction([SIMPLE])
    assert redaction.redact_text(f"https://h.example/v2/{encoded(SIMPLE)}/list").startswith(
        "https://h.example/v2/REDACTED"
    )
    assert (
        redaction.redact_text(f"https://h.example/v2/{SIMPLE}/list?a=1")
        == "https://h.example/v2/REDACTED/list?a=1"
    )


# Bodies

CSV = (("Content-Type", "text/csv; charset=utf-8"),)


@pytest.mark.parametrize(
    ("body", "headers", "wanted"),
    [
        (b"a,b", CSV, b"REDACTED text/csv, 3 bytes"),
        (b"<a><token>x</token></a>", (), b"REDACTED body, 23 bytes"),
        (b"\xff\xfe\x00", (("Content-Type", "image/png"),), b"REDACTED image/png, 3 bytes"),
        (b'{"job": ', JSON, b"REDACTED application/json, 8 bytes"),
        ("{}".encode("utf-16"), JSON, b"REDACTED application/json, 6 bytes"),
        # Deeper than any Python reads: 3.14 reads 50,000 levels.
        (b"[" * 500_000 + b"]" * 500_000, JSON, b"REDACTED application/json, 1000000 bytes"),
        (
            gzip.compress(b"a,b", mtime=0),
            (*CSV, ("Content-Encoding", "gzip")),
            b"REDACTED text/csv, 3 bytes",
        ),
        (gzip.compress(b"{}", mtime=0), JSON, b"REDACTED application/json, 22 bytes"),
        (b"a", (("Content-Type", f"text/{SIMPLE}"),), b"REDACTED text/REDACTED, 1 bytes"),
    ],
)
def test_a_body_that_is_no_json_of_a_known_call_is_replaced_whole(body, headers, wanted):
    redaction = Redaction([SIMPLE])
    redacted = redaction.redact(answered(body, headers))
    assert redacted.response.body == wanted
    assert redaction.redact(redacted) == redacted
    assert scan(dump([redacted])) == []


def test_json_of_a_call_that_the_contract_does_not_know_is_replaced_whole():
    item = Interaction(
        Request("POST", "https://api.digitalocean.com/v2/databases", JSON, b'{"name": "a"}'),
        Response(200, JSON, b'{"database": {"name": "a"}}'),
    )
    redacted = Redaction().redact(item)
    assert redacted.request.body == b"REDACTED application/json, 13 bytes"
    assert redacted.response.body == b"REDACTED application/json, 27 bytes"
    assert Redaction(keep_bodies=["application/*"]).redact(item) == item


def test_a_type_that_the_user_named_is_kept_without_its_secrets():
    redaction = Redaction([SIMPLE], keep_bodies=["TEXT/csv"])
    body = f"name,key\na,{SIMPLE}\nb,dop_v1_{DIGITS}\n".encode()
    wanted = b"name,key\na,REDACTED\nb,REDACTED\n"
    assert redaction.redact(answered(body, CSV)).response.body == wanted
    assert redaction.redact(answered(b"\xff", CSV)).response.body == b"REDACTED text/csv, 1 bytes"
    assert redaction.redact(answered(body)).response.body == b"REDACTED body, %d bytes" % len(body)


def test_what_the_contract_knows_is_kept_whatever_is_secret():
    body = json.dumps(
        {
            "job": {
                "uuid": URL.rpartition("/")[2],
                "status": "INDEX_JOB_STATUS_COMPLETED",
                "created_at": "2025-10-31T01:08:33Z",
                "total_tokens": "20251031",
                "data_source_uuids": [URL.rpartition("/")[2]],
                "tokens": 20251031,
                "data_source_jobs": [{"error_msg": "COMPLETED 20251031", "total_bytes": "2025"}],
                "other": "INDEX_JOB_STATUS_COMPLETED",
            }
        }
    ).encode()
    secrets = ["COMPLETED", "20251031", "2025-10-31", "2025", URL.rpartition("/")[2]]
    job = json.loads(Redaction(secrets).redact(answered(body)).response.body)["job"]
    wanted = json.loads(body)["job"]
    for field in ("uuid", "status", "created_at", "total_tokens", "data_source_uuids", "tokens"):
        assert job[field] == wanted[field]
    source = {"error_msg": "REDACTED REDACTED", "total_bytes": "2025"}
    assert job["data_source_jobs"] == [source]
    assert job["other"] == "INDEX_JOB_STATUS_REDACTED"


@pytest.mark.parametrize("field", ["uuid", "status", "created_at", "total_tokens", "id"])
def test_a_secret_in_a_field_of_the_contract_is_no_value_of_its_kind(field):
    body = json.dumps({"job": {field: [SIMPLE, f"dop_v1_{DIGITS}"]}}).encode()
    redacted = Redaction([SIMPLE]).redact(answered(body)).response.body
    assert json.loads(redacted) == {"job": {field: ["REDACTED", "REDACTED"]}}


HARMLESS = {
    "clone": "https://bob@example.com/a.git",
    "locale": "sk_SK_locale_of_the_user_interface",
    "authorization": "required",
    "api_key_uuid": "5c0e1d52",
    "secret_count": "3",
    "password_policy": "long",
    "note": "authorization: required, the password: missing",
    "session": {"id": "abc", "state": ["open"]},
}


def test_what_only_tells_of_secrets_is_kept():
    body = json.dumps({"job": HARMLESS}).encode()
    assert json.loads(Redaction().redact(answered(body)).response.body) == {"job": HARMLESS}


def test_a_set_cookie_that_the_user_keeps_loses_its_value_alone():
    headers = (("Set-Cookie", "sid=opensesame; Path=/; HttpOnly"), ("ETag", '"abc"'))
    kept = Redaction(keep_headers=["set-cookie", "etag"]).redact(answered(b"", headers))
    assert kept.response.headers == (("Set-Cookie", "sid=REDACTED; Path=/; HttpOnly"), headers[1])


@pytest.mark.parametrize(
    ("headers", "url", "found"),
    [
        ((("Authorization", "Bearer opensesame"),), "", {"opensesame"}),
        ((("authorization", "opensesame"),), "", {"opensesame"}),
        ((("Proxy-Authorization", "Odd opensesame"),), "", {"opensesame"}),
        (
            (("Authorization", f"Basic {encoded('somebody:opensesame')}"),),
            "",
            {"somebody", "opensesame", encoded("somebody:opensesame")},
        ),
        ((("Cookie", "a=opensesame; b=sesameopen; c"),), "", {"opensesame", "sesameopen"}),
        ((("X-Api-Key", "opensesame"), ("Accept", "text/plain")), "", {"opensesame"}),
        (
            (),
            "https://me:open%2Fsesame@h/?token=sesameopen&page=123456",
            {"open/sesame", "sesameopen"},
        ),
        ((("Authorization", "Bearer tok"),), "http://[", set()),
        ((("X-Api-Key", "open sesame"),), "", {"open sesame", "sesame"}),
        ((("Authorization", "Bearer abcde"),), "", set()),
        ((("Authorization", "Bearer abcdef"),), "", {"abcdef"}),
    ],
)
def test_what_a_client_sends_to_say_who_it_is(headers, url, found):
    assert credentials(headers, url) == found


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f'Token token="{SIMPLE}", realm="realm-of-all"'},
        {"Authorization": f"key={SIMPLE}"},
        {"Authorization": f"Bearer\t{SIMPLE}"},
        {"Authorization": f'Bearer "{SIMPLE}"'},
        {"Authorization": f'Digest username="joe", realm="realm-of-all", response="{SIMPLE}"'},
        {"Authorization": f"AWS4-HMAC-SHA256 Credential=a/b, Signature={SIMPLE}"},
        {"Authorization": "Basic " + base64.b64encode(f"jö:{SIMPLE}".encode("latin-1")).decode()},
        {"X-Forwarded-Authorization": f"Bearer {SIMPLE}"},
        {"Authentication": SIMPLE},
        {"X-Auth": SIMPLE},
        {"X-Functions-Key": SIMPLE},
        {"Ocp-Apim-Subscription-Key": SIMPLE},
        {"Cookie": f'a="{SIMPLE}"; b=c'},
        {"Cookie": SIMPLE},
        {"Cookie": "a=" + "".join(f"%{ord(letter):02x}" for letter in SIMPLE)},
        {"Referer": f"https://x.example/?token={SIMPLE}"},
    ],
    ids=str,
)
def test_a_credential_in_a_header_is_learned_however_it_is_written(headers):
    found = credentials(tuple(headers.items()))
    assert SIMPLE in found
    assert not {"realm-of-all", "AWS4-HMAC-SHA256"} & found


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"a=1;api_key={SIMPLE}", ""),
        (f"next={quote(f'https://x.example/?token={SIMPLE}', safe='')}", ""),
        (f"filter={quote(json.dumps({'token': SIMPLE}), safe='')}", ""),
        (f"#access_token={SIMPLE}", ""),
        ("", f"grant_type=x&client_secret={SIMPLE}"),
        ("", json.dumps({"spaces": [{"secret_key": SIMPLE}]})),
        ("", json.dumps({"credentials": {"of": {"whom": [SIMPLE]}}})),
        ("", json.dumps({"in": json.dumps({"password": SIMPLE})})),
    ],
)
def test_what_is_named_like_a_secret_is_learned_wherever_a_request_holds_it(query, body):
    assert credentials((), f"{URL}?{query}", body.encode()) == {SIMPLE}


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("page=123456&next_page_token=abcdefgh&authorization=required", ""),
        ("", json.dumps({"total_tokens": "123456", "token": "missing", "note": "abcdefgh"})),
        ("", "[" * 100_000),
        ("", "\xff\xfe"),
    ],
    ids=["query", "JSON", "deep", "noise"],
)
def test_what_is_no_credential_is_not_learned(query, body):
    assert credentials((), f"{URL}?{query}", body.encode("latin-1")) == set()


# Compressed


def test_a_compressed_body_is_stored_plain_without_the_header_that_says_so():
    headers = (*JSON, ("Content-Encoding", "gzip"))
    redacted = Redaction().redact(answered(gzip.compress(b'{"a": 1}'), headers))
    assert redacted.response == Response(200, JSON, b'{"a": 1}')
    # As a recorder leaves it that has decompressed already.
    assert Redaction().redact(answered(b'{"a": 1}', headers)).response == Response(
        200, JSON, b'{"a": 1}'
    )


BOMB = gzip.compress(b"\0" * (17 * 1024 * 1024), mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (BOMB, "gzip"),
        (b"\xff\xfe\x80", "br"),
        (b"\xff\xfe\x80", "zstd"),
        (b"\xff\xfe\x80", "nonsense"),
        (b"\xff\xfe\x80", "deflate"),
        (gzip.compress(b"{}", mtime=0)[:-6], "gzip"),
    ],
)
def test_what_can_not_be_decompressed_is_replaced(body, encoding):
    redacted = Redaction().redact(answered(body, (*JSON, ("Content-Encoding", encoding))))
    assert redacted.response.body == b"REDACTED application/json, %d bytes" % len(body)


def test_every_member_of_a_compressed_body_is_read():
    body = gzip.compress(b'{"a": ', mtime=0) + gzip.compress(f'"{SIMPLE}"}}'.encode()) + b"\0\0"
    headers = (*JSON, ("Content-Encoding", "gzip"))
    redacted = Redaction([SIMPLE]).redact(answered(body, headers)).response.body
    assert redacted == b'{"a": "REDACTED"}'


# UUIDs


def test_anonymous_uuids_are_numbered_as_they_come():
    first, second = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02", "0F8FAD5B-D9CB-469F-A165-70867728950E"
    numbers = [f"00000000-0000-4000-8000-{number:012x}" for number in (1, 2)]
    redaction = Redaction(anonymize=True)
    body = json.dumps({"uuid": first.upper(), "other": [second]}).encode()
    redacted = redaction.redact(
        Interaction(Request("GET", f"{URL}?a={first}"), Response(200, JSON, body))
    )
    assert redacted.request.url == f"{URL.replace(first, numbers[0])}?a={numbers[0]}"
    assert json.loads(redacted.response.body) == {"uuid": numbers[0], "other": [numbers[1]]}
    assert redaction.redact(redacted) == redacted
    assert Redaction(anonymize=True).redact(redacted) == redacted
    item = asked(body=json.dumps({"a": first}).encode())
    assert first in str(Redaction().redact(item).request.body)


def test_numbers_that_a_recording_holds_already_are_not_given_again():
    redaction = Redaction(anonymize=True)
    held = "00000000-0000-4000-8000-000000000007"
    assert redaction.redact_text(held) == held
    assert (
        redaction.redact_text("5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02")
        == "00000000-0000-4000-8000-000000000008"
    )


# Any input


@given(st.text(), st.lists(st.text(min_size=4), max_size=3))
def test_any_text_can_be_redacted_and_scanned(text, secrets):
    redacted = Redaction(secrets).redact_text(text)
    scan(redacted, secrets)
    scan(text, secrets)


TRICKY = st.text(st.sampled_from('{}[]:,"\\/%&;#=?@ <>\n\tabu04xREDACTEDtokenBasic=:'), max_size=60)


@given(TRICKY, TRICKY)
def test_a_second_redaction_changes_nothing(text, secret):
    redaction = Redaction([secret, SIMPLE], anonymize=True)
    once = redaction.redact_text(f"{text}{SIMPLE}{text}")
    assert redaction.redact_text(once) == once
    assert SIMPLE not in once


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.just(SIMPLE)
    | st.just(f"Bearer {SIMPLE}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "token", "tokens", "é")), inner)
    ),
    max_leaves=8,
)


@given(VALUES, st.booleans(), st.sampled_from((None, 1)))
def test_json_stays_json_of_the_same_structure(value, ascii_only, indent):
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    redaction = Redaction([SIMPLE])
    redacted = redaction.redact(answered(body.encode("utf-8", "surrogatepass"), JSON))
    assert SIMPLE not in json.dumps(json.loads(redacted.response.body))
    assert scan(dump([redacted]), [SIMPLE]) == []
    assert redaction.redact(redacted) == redacted


@given(st.binary(), st.sampled_from(("", "gzip", "deflate", "br", "gzip, gzip", "identity")))
def test_any_body_can_be_redacted(body, encoding):
    redaction = Redaction([SIMPLE])
    redacted = redaction.redact(answered(body, (("Content-Encoding", encoding),)))
    assert redaction.redact(redacted).response.body == redacted.response.body
    scan(dump([redacted]), [SIMPLE])


HOSTILE = (
    "a" * 200_000,
    "=" * 100_000,
    "://" * 50_000,
    "eyJ" * 50_000,
    "%25" * 20_000,
    "\\" * 50_000,
    "&amp;" * 20_000,
)


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:6])
def test_hostile_text_is_read_to_its_end(text):
    redaction = Redaction([SIMPLE, HARD])
    assert SIMPLE not in redaction.redact_text(text + SIMPLE + text)
    assert scan(json.dumps(text), [SIMPLE, HARD]) == []


# Known values


def test_secrets_of_the_environment():
    environment = {
        "DIGITALOCEAN_ACCESS_TOKEN": f"dop_v1_{DIGITS}",
        "PGPASSWORD": "opensesame",
        "AWS_SECRET_ACCESS_KEY": "/abc+def/ghi=jkl",
        "MY_APIKEY": "  opensesame-2\n",
        "APP_CREDENTIALS": "opensesame-3",
        "SSH_AUTH_SOCK": "/tmp/ssh-1/agent.2",
        "SSH_KEY_PATH": "~/keys/mine",
        "GOOGLE_APPLICATION_CREDENTIALS": "/srv/google.json",
        "WINDOWS_KEY": "C:\\keys\\mine",
        "USE_TOKEN": "disabled",
        "TOKEN_LIFETIME_KEY": "123456789",
        "SHORT_TOKEN": "abc",
        "GIT_AUTHOR_NAME": "Somebody There",
        "KEYBOARD_LAYOUT": "something",
        "HOME": "/home/somebody",
    }
    assert environment_secrets(environment) == [
        f"dop_v1_{DIGITS}",
        "/abc+def/ghi=jkl",
        "opensesame-2",
        "opensesame-3",
        "opensesame",
    ]


def test_what_is_too_short_or_the_placeholder_itself_is_no_secret():
    redaction = Redaction(["abc", "REDACTED", "DACT", ""])
    assert redaction.redact_text("abc REDACTED") == "abc REDACTED"
    assert scan("a: abc REDACTED", ["abc", "REDACTED", ""]) == []


@pytest.mark.parametrize("form", [name for name in FORMS if name != "base64-gzip"])
def test_a_known_secret_goes_from_a_log_in_whatever_form(form):
    line = f"INFO b'Location: /next?a={FORMS[form](SIMPLE)}&b=1' GET /v2/gen-ai/indexing_jobs\n"
    told = Redaction([SIMPLE]).redact_values("DEBUG before 200 OK\n" + line)
    assert "REDACTED" in told
    assert told.startswith("DEBUG before 200 OK\nINFO ")
    assert told.endswith(" GET /v2/gen-ai/indexing_jobs\n")
    assert not any(trace in told.encode() for trace in traces(SIMPLE))


# Knowledge bases.

GEN_AI = "https://api.digitalocean.com/v2/gen-ai"
SOURCES = f"{GEN_AI}/knowledge_bases/kb/data_sources"
UPLOADS = f"{GEN_AI}/knowledge_bases/data_sources/file_upload_presigned_urls"
# None of them looks like a secret: the name of its field says that it is one.
KEY_ID, SECRET_KEY, REFRESH_TOKEN = "minio-documents", "correct/horse/battery", "1//staple-horse"
SIGNATURE, CREDENTIAL = "ab54d286474614ab", "documents-key/20251031/nyc3/s3/aws4_request"
PRESIGNED = (
    "https://uploads.example.com/bucket/a.pdf?X-Amz-Expires=900"
    f"&X-Amz-Credential={quote(CREDENTIAL, safe='')}&X-Amz-Signature={SIGNATURE}"
)
SECRETS_OF_SOURCES = (KEY_ID, SECRET_KEY, REFRESH_TOKEN, SIGNATURE, "documents-key")
WITH_SECRETS = {
    "s3": {"aws_data_source": {"bucket_name": "b", "key_id": KEY_ID, "secret_key": SECRET_KEY}},
    "dropbox": {"dropbox_data_source": {"folder": "/b", "refresh_token": REFRESH_TOKEN}},
    "drive": {"google_drive_data_source": {"folder_id": "b", "refresh_token": REFRESH_TOKEN}},
}


def call_with(method, url, sent, answer, status=200):
    content = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return Interaction(
        Request(method, url, JSON, content), Response(status, JSON, json.dumps(answer).encode())
    )


def interactions_with_secrets():
    for source in WITH_SECRETS.values():
        echoed = {"knowledge_base_data_source": {"uuid": "d", **source}}
        yield call_with("POST", SOURCES, source, echoed)
        yield call_with("PUT", f"{SOURCES}/d", source, echoed)
        whole = {"name": "docs", "datasources": [source]}
        yield call_with("POST", f"{GEN_AI}/knowledge_bases", whole, {})
        refused = {"id": "invalid_argument", "message": f"no access with {json.dumps(source)}"}
        yield call_with("POST", SOURCES, source, refused, 400)
        yield call_with("POST", f"{GEN_AI}/no_such_call", source, echoed, 404)
    yield call_with("POST", UPLOADS, {"files": []}, {"uploads": [{"presigned_url": PRESIGNED}]})
    yield call_with("PUT", PRESIGNED, SECRET_KEY.encode(), {})


@pytest.mark.parametrize("item", [*interactions_with_secrets()], ids=repr)
def test_credentials_of_data_sources_are_nowhere(item):
    redaction = Redaction()
    exchange = Exchange(item.request, item.response, None, 0.0)
    shown, clean = redaction.redact_exchange(exchange), redaction.redact_text
    kept = dump([redaction.redact(item)])
    texts = {
        "cassette": kept,
        "page": json.dumps(record_test("test", "failed", 1.0, [shown], redact=clean)),
        "story": str(story([exchange], redact=clean)),
        "message": f"{item.request!r} {item.response!r} {shown_url(item.request.url)}",
    }
    for place, text in texts.items():
        assert [secret for secret in SECRETS_OF_SOURCES if secret in text] == [], place
    assert scan(kept) == []


@pytest.mark.parametrize("item", [*interactions_with_secrets()], ids=repr)
def test_the_gate_stops_credentials_of_data_sources(item):
    assert scan(dump([item])) != []


@pytest.mark.parametrize(
    "field",
    [
        {"authorization": "required"},
        {"token": "Invalid"},
        {"secret": "missing"},
        {"locale": "sk_SK_locale_of_the_user_interface"},
        {"homepage": "https://bob@example.com/x"},
        {"api_key_uuid": "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02", "secret_count": "3"},
        {"session": {"page": "home"}, "password_policy": "at least eight letters"},
    ],
)
def test_what_redaction_keeps_as_harmless_does_not_refuse_the_write(field):
    body = json.dumps({"job": field}).encode()
    kept = Redaction().redact(Interaction(Request("GET", URL), Response(200, JSON, body)))
    assert scan(dump([kept])) == []


def test_a_secret_among_many_short_texts_is_found_on_its_line():
    lines = [f"- a{n}" for n in range(2000)]
    lines[1234] = "- AKIAIOSFODNN7EXAMPLE"
    lines[77] = "- known-to-me"
    found = {(leak.line, leak.kind) for leak in scan("\n".join(lines), ["known-to-me"])}
    assert found == {(1235, "AWS key"), (78, "known secret")}


@pytest.mark.parametrize(
    "text", ["a: &x known-to-me\nb: *x\n", "a: &x [one]\npassword: *x\n", "password: &x one\n"]
)
def test_what_an_alias_stands_for_is_no_hiding_place(text):
    assert scan(text, ["known-to-me"])


def test_the_answer_to_head_keeps_the_length_that_it_tells_of():
    headers = (("Content-Length", "271"), ("X-Odd", "1"))
    asked_head = Interaction(Request("HEAD", URL), Response(200, headers))
    assert Redaction().redact(asked_head).response.headers == (("Content-Length", "271"),)
    assert Redaction().redact(answered(b"", headers)).response.headers == ()


@pytest.mark.parametrize("name", [r"pass\word", r"\password", r"passwor\d"])
def test_a_name_with_an_escape_that_json_does_not_have_still_names_a_secret(name):
    body = f'{{"{name}": "hunter2-abc", "status": "ok"}}'
    assert Redaction().redact_text(body) == f'{{"{name}": "REDACTED", "status": "ok"}}'


@pytest.mark.parametrize("after", [b"", b"\xff", b"~~", b"zz~"])
@pytest.mark.parametrize("before", [b"", b"b", b"bb", b"bbb"])
def test_a_secret_in_base64_is_found_in_a_log_whatever_stands_around_it(before, after):
    text = base64.b64encode(before + b"kimono42" + after).decode()
    told = Redaction(["kimono42"]).redact_values(f"DEBUG sent {text}")
    # A slash of base64 ends the part that goes.
    assert told.partition("/")[0] == "DEBUG sent REDACTED"
