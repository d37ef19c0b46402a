"""Whatever a client sends and a service echoes: the recording plays for the same client, and no
credential is in anything that the runs leave."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote

import pytest
from conftest import JOB_UUID
from test_redaction import assert_absent, traces

from pytest_indexjob.recording.cassette import load

SENT = "Gj4tHr7wQz9nLpX2cVb5"  # of no known shape, and named by nobody
PATH = f"/v2/gen-ai/indexing_jobs/{JOB_UUID}"


def told(value, **fields):
    return json.dumps({"job": {"uuid": JOB_UUID, "error_details": value, **fields}}).encode()


def zipped(value):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.txt", value)
    return packed.getvalue()


def part(value):
    head = f'Content-Disposition: form-data; name="f"; filename="{value}"'
    return f"--x\r\n{head}\r\n\r\n{value}\r\n--x--"


JSON, TEXT = "application/json", "text/plain"
LOWER = "".join(f"%{ord(letter):02x}" for letter in SENT)
# How a request carries the credential beside its header: method, what follows the path, headers,
# body.
ASKED = {
    "path": ("GET", f"/{SENT}", {}, ""),
    "path, a part": ("GET", f"/a-{SENT}.csv", {}, ""),
    "path, percent-encoded": ("GET", f"/{LOWER}", {}, ""),
    "path, upper case": ("GET", f"/{LOWER.upper()}?page=1", {}, ""),
    "path, twice": ("GET", f"/{SENT}/data_sources/{SENT}", {}, ""),
    "query": ("GET", f"?api_key={SENT}&page=2", {}, ""),
    "query, unnamed": ("GET", f"?q={SENT}", {}, ""),
    "query, of two values": ("GET", f"?q=1&q={SENT}", {}, ""),
    "query, a name": ("GET", f"?{SENT}=1", {}, ""),
    "query, base64": (
        "GET",
        f"?q={quote(base64.b64encode(SENT.encode()).decode(), safe='')}",
        {},
        "",
    ),
    "query, JSON": ("GET", f"?q={quote(json.dumps({'k': SENT}))}", {}, ""),
    "query, plus": ("GET", f"?q=it+is+{SENT}", {}, ""),
    "query, presigned": ("GET", f"?X-Amz-Credential={SENT}%2F2026&X-Amz-Signature={SENT}", {}, ""),
    "cookie": ("GET", "?n=1", {"Cookie": f"a={SENT}; b=c"}, ""),
    "odd header": ("GET", "?n=2", {"X-Acme_Thing.Key": SENT}, ""),
    "accept": ("GET", "?n=3", {"Accept": f"text/{SENT}"}, ""),
    "form": (
        "POST",
        "?n=4",
        {"Content-Type": "application/x-www-form-urlencoded"},
        f"a={SENT}&b=1",
    ),
    "multipart": ("POST", "?n=5", {"Content-Type": "multipart/form-data; boundary=x"}, part(SENT)),
    "JSON": ("POST", "?n=6", {"Content-Type": JSON}, json.dumps({"note": [SENT, {SENT: 1}]})),
    "XML": ("POST", "?n=7", {"Content-Type": "text/xml"}, f"<a k='{SENT}'>{SENT}</a>"),
    "type": ("POST", "?n=8", {"Content-Type": f"text/{SENT}"}, "x"),
}
# How an answer tells it: status, headers, body.
ANSWERED = {
    "JSON": (200, {}, JSON, told(f"you sent {SENT}")),
    "JSON in JSON": (200, {}, JSON, told(json.dumps({"in": json.dumps({"it": SENT})}))),
    "base64": (200, {}, JSON, told(base64.b64encode(SENT.encode()).decode())),
    "base64 of Basic": (200, {}, JSON, told(base64.b64encode(f"u:{SENT}".encode()).decode())),
    "hexadecimal": (200, {}, JSON, told(SENT.encode().hex())),
    "escaped": (
        200,
        {},
        JSON,
        told("").replace(b'""', ascii(SENT).encode().replace(b"'", b'"').replace(b"G", b"\\u0047")),
    ),
    "name": (200, {}, JSON, told("x", **{SENT: "1"})),
    "error": (
        401,
        {},
        JSON,
        json.dumps({"id": "unauthorized", "message": f"{SENT} is no token"}).encode(),
    ),
    "error of a proxy": (502, {}, "text/html", f"<p>{SENT}</p>".encode()),
    "cut JSON": (200, {}, JSON, told(SENT)[:-2]),
    "UTF-16": (200, {}, JSON, told(SENT).decode().encode("utf-16")),
    "UTF-32": (200, {}, f"{TEXT}; charset=utf-32", SENT.encode("utf-32")),
    "BOM": (200, {}, JSON, b"\xef\xbb\xbf" + told(SENT)),
    "events": (200, {}, "text/event-stream", f"data: {SENT}\n\n".encode()),
    "XML": (200, {}, "application/xml", f"<a><![CDATA[{SENT}]]></a>".encode()),
    "archive": (200, {}, "application/zip", zipped(SENT)),
    "gzip": (200, {"Content-Encoding": "gzip"}, JSON, gzip.compress(told(SENT))),
    "CSV": (200, {}, "text/csv", f"a,{SENT}\n".encode()),
    "lines": (200, {}, "application/x-ndjson", told(SENT) + b"\n" + told(SENT)),
    "location": (
        302,
        {"Location": f"https://u:{SENT}@bucket.example.com/r?sig={SENT}#{SENT}"},
        TEXT,
        b"",
    ),
    "location, IDN": (302, {"Location": f"https://b%C3%BCcher.example:8443/{SENT}"}, TEXT, b""),
    "link": (200, {"Link": f'<https://x.example/?t={SENT}>; rel="{SENT}"'}, JSON, told("x")),
    "etag": (200, {"ETag": f'W/"{SENT}"'}, JSON, told("x")),
    "cookie": (200, {"Set-Cookie": f"{SENT}={SENT}; Path=/{SENT}"}, JSON, told("x")),
    "request id": (200, {"X-Request-Id": f"a-{SENT}"}, JSON, told("x")),
    "challenge": (401, {"WWW-Authenticate": f'Bearer realm="{SENT}"'}, JSON, b"{}"),
    "disposition": (200, {"Content-Disposition": f'attachment; filename="{SENT}"'}, TEXT, b"x"),
    "type": (200, {}, f"text/{SENT}", b"x"),
    "odd header": (200, {"X-Acme_Thing.Key": SENT, "RateLimit-Note": SENT}, JSON, told("x")),
    "signed URL": (
        200,
        {},
        JSON,
        json.dumps({"signed_url": f"https://b.example/r?X-Amz-Signature=ab&u={SENT}"}).encode(),
    ),
}
ITEMS = [
    *((*asked, *ANSWERED["JSON"]) for asked in ASKED.values()),
    *(("GET", f"?answer={at}", {}, "", *answered) for at, answered in enumerate(ANSWERED.values())),
]
SUITE = """
import asyncio, http.client, json, logging, os, urllib.parse
from pathlib import Path
import aiohttp, httpx, pytest, requests, urllib3

BASE, CLIENT = os.environ["BASE"], os.environ["CLIENT"]
ITEMS = json.loads(Path(__file__).with_name("items.json").read_text())

def by_requests(method, url, headers, body):
    answer = requests.request(method, url, headers=headers, data=body, allow_redirects=False)
    return answer.status_code, answer.content

def by_urllib3(method, url, headers, body):
    with urllib3.PoolManager() as pool:
        wishes = {"redirect": False, "retries": False}
        answer = pool.request(method, url, headers=headers, body=body, **wishes)
        return answer.status, answer.data

def by_http_client(method, url, headers, body):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()

def by_httpx(method, url, headers, body):
    with httpx.Client() as client:
        answer = client.request(method, url, headers=headers, content=body)
        return answer.status_code, answer.content

def by_aiohttp(method, url, headers, body):
    async def ask():
        async with aiohttp.ClientSession() as session:
            asked = session.request(method, url, headers=headers, data=body, allow_redirects=False)
            async with asked as answer:
                return answer.status, await answer.read()
    return asyncio.run(ask())

@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.indexjob_cassette("mine")
def test_it(fails):
    seen = []
    for at, (method, rest, headers, body, *_) in enumerate(ITEMS):
        sent = {**headers, "Authorization": f"Bearer {os.environ['GIVEN']}"}
        status, content = globals()[f"by_{CLIENT}"](method, BASE + rest, sent, body.encode())
        logging.warning("answered %r", content)
        print("answered", content)
        seen.append(status)
    assert seen == [item[4] for item in ITEMS]
    if fails: raise ValueError(seen, content, os.environ["GIVEN"])
"""


@pytest.fixture
def service():
    """A service that answers each request as the items say."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = self.path.removeprefix(PATH)
            item = next(item for item in ITEMS if same(item[1], asked))
            _, _, _, _, status, headers, content_type, body = item
            self.send_response(status, "OK" if status == 200 else SENT)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", content_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 7):  # the credential is in pieces
                self.wfile.write(b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
            self.wfile.write(b"0\r\n\r\n")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def same(path, asked):
    # A client may write an encoded letter plainly.
    from urllib.parse import unquote_plus

    return unquote_plus(path) == unquote_plus(asked)


@pytest.mark.parametrize(
    "client",
    [
        "aiohttp",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("requests", "urllib3", "http_client", "httpx")
        ),
    ],
)
def test_it_replays_and_tells_nothing(pytester, service, monkeypatch, client):
    base = f"http://127.0.0.1:{service.server_address[1]}"
    for name, value in {"BASE": base + PATH, "CLIENT": client, "GIVEN": SENT}.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(test_it=SUITE)
    items = [[*item[:4], item[4]] for item in ITEMS]
    (pytester.path / "items.json").write_text(json.dumps(items))
    pytester.makeconftest(f"""
        import pytest
        from pytest_indexjob import IndexJobSettings
        @pytest.fixture(scope="session")
        def indexjob_settings(): return IndexJobSettings(base_url={base!r}, token="any")
    """)
    outputs = []
    for options in (("--indexjob-record=all",), ()):
        result = pytester.runpytest(
            *(
                "-p",
                "no:cacheprovider",
                "-rA",
                "-vv",
                "--log-level=DEBUG",
                "--junitxml=results.xml",
            ),
            "--indexjob-report=page.html",
            *options,
        )
        result.assert_outcomes(passed=1, failed=1)
        outputs += [result.stdout.str(), result.stderr.str()]
        outputs += [(pytester.path / name).read_text() for name in ("results.xml", "page.html")]
        service.socket.close()
    written = pytester.path / "cassettes" / "mine.yaml"
    assert len(load(written).interactions) == len(ITEMS)
    assert_absent(SENT, written.read_text())
    for output in outputs:
        for trace in traces(SENT):
            assert trace not in output.encode()
