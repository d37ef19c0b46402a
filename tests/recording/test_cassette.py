"""Reading cassettes, writing them, answering from them."""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import vcr
from conftest import COMPLETED, JOB_URL, JOB_UUID, RUNNING, cassette_text, job_answer
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import (
    CassetteCorruptError,
    CassetteError,
    CassetteExhaustedError,
    CassetteMissError,
)
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import Playback, dump, load
from pytest_indexjob.recording.limits import check_limits

GOOD = cassette_text(RUNNING, RUNNING, COMPLETED)


@pytest.fixture
def write(tmp_path):
    def write(content, name="it"):
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def play(write):
    def play(*interactions, **options):
        return Playback([load(write(dump(interactions)))], **options)

    return play


def test_a_file_is_read_once_while_it_is_unchanged(write):
    path = write(GOOD)
    first = load(path)
    assert load(path) is first
    write(cassette_text(COMPLETED))
    assert len(load(path).interactions) == 1


def bomb():
    lines = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
    ]
    return "\n".join([*lines, "interactions: *a11", "version: 1"])


BAD = {
    "empty": (b"", 1),
    "blank": (b"\n \n", 1),
    "not-utf-8": (GOOD.encode() + b"# \xff\n", GOOD.count("\n") + 1),
    "utf-16": (GOOD.encode("utf-16"), 1),
    "not-yaml": (b"interactions: [\n}", 2),
    "a-list": (b"- 1\n- 2\n", 1),
    "an-old-list": (b"- request: {}\n  response: {}\n", 1),
    "a-word": (b"hello\n", 1),
    "no-interactions": (b"version: 1\n", 1),
    "interactions-no-list": (b"interactions: 3\nversion: 1\n", 1),
    "an-item-no-mapping": (b"interactions:\n- 3\nversion: 1\n", 2),
    "no-response": (b"interactions:\n- request: {method: GET, uri: x}\nversion: 1\n", 2),
    "no-status": (GOOD.replace("code: 200", "kode: 200", 1).encode(), 2),
    "status-42": (GOOD.replace("code: 200", "code: 42").encode(), 2),
    "status-true": (GOOD.replace("code: 200", "code: true").encode(), 2),
    "status-text": (GOOD.replace("code: 200", "code: '200'").encode(), 2),
    "second-broken": (
        GOOD[::-1].replace("code: 200"[::-1], "code: x"[::-1], 1)[::-1].encode(),
        None,
    ),
    "body-a-list": (
        GOOD.replace("body: null", "body: [1]").replace("string: '", "string: [1] #'").encode(),
        2,
    ),
    "headers-a-list": (GOOD.replace("headers: {}", "headers: [1]").encode(), 2),
    "header-a-mapping": (GOOD.replace("headers: {}", "headers: {a: {b: c}}").encode(), 2),
    "header-splitting": (
        GOOD.replace("headers: {}", 'headers: {a: "b\\r\\nset-cookie: c"}').encode(),
        2,
    ),
    "another-version": (GOOD.replace("version: 1", "version: 2").encode(), None),
    "conflict": (
        GOOD.replace("version: 1", "<<<<<<< HEAD\nversion: 1\n=======\n>>>>>>> b\n").encode(),
        None,
    ),
    "unsafe-tag": (b"interactions: !!python/object/apply:os.abort []\nversion: 1\n", 1),
    "custom-tag": (b"interactions: []\nversion: !mine 1\n", 2),
    "bomb": (bomb().encode(), None),
    "deep": (b"[" * 100_000, None),
    "bool": (b"interactions: []\nversion: !!bool x\n", None),
    "timestamp": (b"interactions: []\nversion: !!timestamp x\n", None),
    "int": (b"interactions: []\nversion: !!int x\n", None),
    "line-break-in-the-message": (
        GOOD.replace("message: OK", 'message: "a\\r\\nB: c"').encode(),
        2,
    ),
    "control-characters": (b"interactions: \x01\n", None),
    "control-characters-in-the-method": (
        GOOD.replace("method: GET", 'method: "GET\\e[31m"').encode(),
        2,
    ),
    "uri-no-url": (re.sub("uri: .*", "uri: http://[::1", GOOD).encode(), 2),
    "uri-of-letters-that-become-a-slash": (
        re.sub("uri: .*", "uri: http://a\u2100b/", GOOD).encode(),
        2,
    ),
    "number-of-too-many-digits": (
        GOOD.replace("headers: {}", f"headers: {{a: 0b{'1' * 20_000}}}").encode(),
        2,
    ),
    "body-that-holds-itself": (GOOD.replace("body: null", "body: &a [*a]", 1).encode(), 2),
}


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_with_its_line_and_the_mend_and_left_as_it_is(write, content, line):
    path = write(content)
    with pytest.raises(CassetteCorruptError) as raised:
        load(path)
    assert raised.value.path == path
    assert line is None or raised.value.line == line
    assert str(path) in str(raised.value)
    assert "Restore it from version control, or delete it and record it again" in str(raised.value)
    assert len(str(raised.value)) < 600
    assert path.read_bytes() == content


@pytest.mark.parametrize("at", [*range(1, len(GOOD.rstrip()), 31), len(GOOD.rstrip()) - 1])
def test_a_file_cut_anywhere_is_corrupt(write, at):
    with pytest.raises(CassetteCorruptError):
        load(write(GOOD[:at]))


def test_a_file_cut_between_interactions_is_corrupt(write):
    lines = GOOD.splitlines(keepends=True)
    for at in [at for at, line in enumerate(lines) if line.startswith("- request") and at > 1]:
        with pytest.raises(CassetteCorruptError, match="cut short"):
            load(write("".join(lines[:at])))


def test_a_part_that_is_wrong_is_named_with_the_line_of_its_interaction(write):
    before, _, last = GOOD.rpartition("- request:")
    wrong = before + "- request:" + re.sub(r"uri: .*", "uri: []", last)
    with pytest.raises(CassetteCorruptError) as raised:
        load(write(wrong))
    assert raised.value.line == before.count("\n") + 1 > 2


def test_a_url_has_an_end(write):
    longest = JOB_URL + "?a=".ljust(2**16 - len(JOB_URL), "b")
    (item,) = load(write(cassette_text(COMPLETED, url=longest))).interactions
    assert item.request.url == longest
    with pytest.raises(CassetteCorruptError, match="`uri` has more than 65536 characters"):
        load(write(cassette_text(COMPLETED, url=f"{longest}b")))


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("'2025-10-31T01:08:33Z'", "2025-10-31T01:08:33+00:00"),
        ("'2025-10-31T03:08:33+02:00'", "2025-10-31T03:08:33+02:00"),
        ("'2025-10-31T01:08:33'", None),
        ("2025-10-31T01:08:33", "2025-10-31T01:08:33+00:00"),
        ("yesterday", None),
        ("5", None),
    ],
)
def test_when_it_was_recorded(write, written, moment):
    text = f"interactions: []\nprovenance:\n  recorded_at: {written}\nversion: 1\n"
    recorded = load(write(text)).recorded_at
    assert (recorded and recorded.isoformat()) == moment


def test_a_folder_that_moved_away_is_a_plain_error(tmp_path):
    with pytest.raises(OSError):
        load(tmp_path / "nowhere.yaml")


def test_what_vcrpy_recorded_is_read_and_answers(loopback, tmp_path):
    body = gzip.compress(COMPLETED.body)
    server = loopback(
        lambda _: Response(
            200, (("content-encoding", "gzip"), ("set-cookie", "a=b"), ("set-cookie", "c")), body
        )
    )
    path = tmp_path / "theirs.yaml"
    url = f"{server.url}/v2/gen-ai/indexing_jobs/{JOB_UUID}"
    with vcr.VCR().use_cassette(path), requests.Session() as session:
        session.get(url)
        session.post(url, data=io.BytesIO(b"\xff\x00"))
    playback = Playback([load(path)], base_url=server.url)
    answer = playback.handle(Request("GET", url))
    assert (
        answer.body == COMPLETED.body
    )  # vcrpy stores it decoded, and leaves the header that says otherwise
    assert answer.header("content-encoding") == ""
    assert [value for name, value in answer.headers if name.lower() == "set-cookie"] == ["a=b", "c"]
    assert playback.job_uuid == JOB_UUID
    assert playback.interactions[1].request.body == b"\xff\x00"


def test_a_body_that_is_compressed_stays_so(play):
    packed = Response(200, (("Content-Encoding", "gzip"),), gzip.compress(b"{}"), "OK")
    assert (
        play(Interaction(Request("GET", JOB_URL), packed)).handle(Request("GET", JOB_URL)) == packed
    )


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
def test_an_answer_without_a_body_keeps_what_it_tells_of_the_body(play, method, status):
    told = (("Content-Encoding", "gzip"), ("Content-Length", "50"))
    item = Interaction(Request(method, JOB_URL), Response(status, told, b"", "OK"))
    assert play(item).handle(item.request) == item.response


def test_vcrpy_reads_what_was_written(tmp_path):
    path = tmp_path / "ours.yaml"
    path.write_text(dump([Interaction(Request("GET", JOB_URL), COMPLETED)], {"recorded_by": "us"}))
    with vcr.VCR(record_mode="none").use_cassette(path), requests.Session() as session:
        assert session.get(JOB_URL).content == COMPLETED.body
    assert load(path).provenance == {"recorded_by": "us"}


plain = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
headers = st.lists(st.tuples(st.sampled_from(["A", "b"]), plain), max_size=3).map(
    lambda pairs: tuple(sorted(pairs))
)
bodies = st.binary(max_size=30) | st.text(max_size=30).map(str.encode)
requests_made = st.builds(
    Request, st.sampled_from(["GET", "POST"]), plain.map("https://x/".__add__), headers, bodies
)
responses_given = st.builds(
    Response, st.integers(100, 599), headers, bodies, st.just("OK"), st.just(0.0), st.none()
)


@given(interactions=st.lists(st.builds(Interaction, requests_made, responses_given), max_size=3))
def test_what_was_written_is_read_again(tmp_path_factory, interactions):
    path = tmp_path_factory.mktemp("c") / "it.yaml"
    text = dump(interactions)
    path.write_text(text, encoding="utf-8", newline="\n")
    assert list(load(path).interactions) == interactions
    assert dump(load(path).interactions) == text


OTHER = JOB_URL + "/data_sources"


def test_answers_of_one_request_come_in_order_whatever_comes_between(play):
    playback = play(
        Interaction(Request("GET", JOB_URL), RUNNING),
        Interaction(Request("GET", OTHER), COMPLETED),
        Interaction(Request("GET", JOB_URL), COMPLETED),
    )
    assert playback.handle(Request("GET", JOB_URL)) == RUNNING
    assert playback.handle(Request("GET", JOB_URL)) == COMPLETED
    assert [request.url for request in playback.unplayed] == [OTHER]
    assert playback.handle(Request("GET", OTHER)) == COMPLETED
    assert (playback.played, playback.unplayed) == (3, [])
    assert "3 of 3" in repr(playback)


@pytest.mark.parametrize(
    "last",
    [
        *(
            job_answer(status=f"INDEX_JOB_STATUS_{end}")
            for end in ["COMPLETED", "PARTIAL", "FAILED", "NO_CHANGES", "CANCELLED"]
        ),
        *(
            job_answer(phase=f"BATCH_JOB_PHASE_{end}")
            for end in ["SUCCEEDED", "FAILED", "ERROR", "CANCELLED"]
        ),
    ],
)
def test_the_last_answer_repeats_if_the_job_has_ended(play, last):
    playback = play(
        Interaction(Request("GET", JOB_URL), RUNNING), Interaction(Request("GET", JOB_URL), last)
    )
    answers = [playback.handle(Request("GET", JOB_URL)) for _ in range(4)]
    assert answers == [RUNNING, last, last, last]
    assert playback.played == 2


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (RUNNING, "IN_PROGRESS"),
        (job_answer(status="INDEX_JOB_STATUS_NEW"), "NEW"),
        (Response(404, (), b'{"id": "not_found"}'), "HTTP 404"),
        (Response(200, (), b'{"jobs": []}'), "HTTP 200"),
        (Response(200, (), b'{"job": {"tokens": -1}}'), "HTTP 200"),
        (Response(200, (), b"[1"), "HTTP 200"),
        (Response(200, (), b"[]"), "HTTP 200"),
    ],
)
def test_otherwise_the_recording_is_exhausted(play, last, end):
    playback = play(*[Interaction(Request("GET", JOB_URL), last)] * 12)
    for _ in range(12):
        playback.handle(Request("GET", JOB_URL))
    with pytest.raises(
        CassetteExhaustedError, match=f"this recording ends at {end} after 12 polls"
    ) as raised:
        playback.handle(Request("GET", JOB_URL))
    assert raised.value.played == 12


def test_eight_threads_get_each_answer_once(play):
    answers = [job_answer(uuid=str(at)) for at in range(400)]
    playback = play(*(Interaction(Request("GET", JOB_URL), each) for each in answers))
    with ThreadPoolExecutor(8) as pool:
        start = threading.Barrier(8)

        def work(_):
            start.wait()
            return [playback.handle(Request("GET", JOB_URL)) for _ in range(50)]

        got = [answer for part in pool.map(work, range(8)) for answer in part]
    assert sorted(json.loads(answer.body)["job"]["uuid"] for answer in got) == sorted(
        map(str, range(400))
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Request("GET", JOB_URL + "?page=1&per_page=2"), True),
        (Request("GET", JOB_URL + "?per_page=2&page=1", (("authorization", "any"),)), True),
        (
            Request(
                "GET",
                JOB_URL.replace("https://api.digitalocean.com", "http://base:81/api")
                + "?page=1&per_page=2",
            ),
            True,
        ),
        (Request("GET", JOB_URL + "?page=2&per_page=2"), False),
        (Request("GET", JOB_URL), False),
        (Request("POST", JOB_URL + "?page=1&per_page=2"), False),
        (Request("GET", JOB_URL.replace("api.", "other.") + "?page=1&per_page=2"), False),
        (
            Request(
                "GET",
                JOB_URL.replace("https://api.digitalocean.com", "http://base:81/apix")
                + "?page=1&per_page=2",
            ),
            False,
        ),
    ],
)
def test_matching(play, asked, found):
    recorded = Request("GET", JOB_URL + "?page=1&per_page=2", (), b"body")
    playback = play(Interaction(recorded, COMPLETED), base_url="http://base:81/api/")
    if found:
        assert playback.handle(asked) == COMPLETED
    else:
        with pytest.raises(CassetteMissError):
            playback.handle(asked)


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        (JOB_URL, JOB_URL.replace("api.digitalocean", "API.DigitalOcean")),
        (JOB_URL, JOB_URL.replace(".com/", ".com:443/")),
        (JOB_URL.replace("https://", "https://me:pw@"), JOB_URL),
        (JOB_URL.replace(".com/", ".com:443/"), JOB_URL + "#top"),
        ("https://b\u00fccher.example/a", "https://xn--bcher-kva.example:443/a"),
        ("https://x.example/a%2db%2f%7e\u00e9 c", "https://x.example/a-b%2F~%C3%A9%20c"),
        ("https://x.example", "https://X.example./"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        (JOB_URL, JOB_URL.replace("https://api.digitalocean.com", "http://Base.example/api")),
        (JOB_URL, JOB_URL.replace("https://api.digitalocean.com", "http://base.example:80/%61pi")),
    ],
)
def test_urls_are_compared_as_http_means_them(play, recorded, asked):
    item = Interaction(Request("GET", recorded), COMPLETED)
    playback = play(item, base_url="http://base.EXAMPLE:80/api/")
    assert playback.handle(Request("GET", asked)) == COMPLETED


@pytest.mark.parametrize(
    ("recorded", "asked", "found"),
    [
        ("?api_key=REDACTED", "?api_key=plainZx81", True),
        ("?a=1&api_key=REDACTED", "?api_key=plainZx81&a=1", True),
        ("?a=1&api_key=REDACTED", "?api_key=plainZx81&a=2", False),
        ("?api_key=REDACTED", "?api_key=", False),
        ("?api_key=REDACTED", "?key=plainZx81", False),
        ("?api_key=REDACTED", "?api_key=a&api_key=b", False),
        ("/keys/REDACTED", "/keys/dop_v1_0", True),
        ("/keys/REDACTED", "/keys/dop_v1_0/list", False),
        ("/keys/REDACTED/list", "/keys/dop_v1_0/list", True),
        ("/keys/aREDACTEDbREDACTEDc", "/keys/a1b2bc", True),
        ("/keys/aREDACTEDbREDACTEDc", "/keys/abc", False),
        ("/keys/aREDACTEDbREDACTEDc", "/keys/a1bc", False),
        ("/keys/aREDACTEDbREDACTEDc", "/keys/ab2c", False),
        ("/keys/aREDACTEDbREDACTEDc", "/keys/x1b2c", False),
    ],
)
def test_a_placeholder_fits_any_value_in_its_place(play, recorded, asked, found):
    playback = play(Interaction(Request("GET", JOB_URL + recorded), COMPLETED))
    if found:
        assert playback.handle(Request("GET", JOB_URL + asked)) == COMPLETED
        assert playback.unplayed == []
    else:
        with pytest.raises(CassetteMissError):
            playback.handle(Request("GET", JOB_URL + asked))


def test_requests_that_differ_only_in_a_placeholder_play_in_order(play):
    url = JOB_URL + "?api_key="
    items = [Interaction(Request("GET", f"{url}REDACTED"), each) for each in (RUNNING, COMPLETED)]
    playback = play(*items, Interaction(Request("GET", f"{url}harmless"), RUNNING))
    assert playback.handle(Request("GET", f"{url}first")) == RUNNING
    assert playback.handle(Request("GET", f"{url}harmless")) == RUNNING
    assert playback.handle(Request("GET", f"{url}second")) == COMPLETED


def test_a_path_of_placeholders_is_compared_in_linear_time(play):
    url = "https://x.example/" + "REDACTEDa" * 7_000
    playback = play(Interaction(Request("GET", url + "b"), COMPLETED))
    with pytest.raises(CassetteMissError):
        playback.handle(Request("GET", "https://x.example/" + "a" * 60_000))


OLD_HTTPX = """
interactions:
- request: {body: '', headers: {accept: ['*/*']}, method: GET, uri: 'https://x.example/a'}
  response:
    content: %s
    headers: {content-type: [text/plain], content-encoding: [gzip]}
    http_version: HTTP/2
    status_code: 201
version: 1
"""


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("done", b"done"),
        ("!!binary 3q2+7w==", b"\xde\xad\xbe\xef"),
        ("null", b""),
    ],
)
def test_what_older_vcrpy_recorded_through_httpx_answers(write, content, body):
    answer = Playback([load(write(OLD_HTTPX % content))]).handle(
        Request("GET", "https://x.example/a")
    )
    assert (answer.status, answer.body) == (201, body)
    assert answer.headers == (("content-type", "text/plain"),)


def test_what_vcrpy_recorded_through_aiohttp_answers(write):
    text = """
interactions:
- request: {body: [chunk, ed], headers: {}, method: GET, uri: 'https://me:pw@x.example/a'}
  response:
    body: {}
    headers: {Transfer-Encoding: [chunked], X-A: [b, c]}
    status: {code: 204, message: null}
    url: https://x.example/a
version: 1
"""
    recording = load(write(text))
    assert recording.interactions[0].request.body == b"chunked"
    answer = Playback([recording]).handle(Request("GET", "https://x.example/a"))
    assert (answer.status, answer.body, answer.phrase) == (204, b"", "No Content")


def test_a_miss_shows_the_nearest_and_the_difference_and_no_secret(play):
    playback = play(
        Interaction(Request("GET", JOB_URL), RUNNING),
        Interaction(
            Request("POST", "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"), COMPLETED
        ),
        record_command="pytest --record",
    )
    playback.handle(Request("GET", JOB_URL))
    asked = Request(
        "PUT",
        f"https://me:hush@api.digitalocean.com/v2/x{JOB_UUID}?sig=hush&page=3",
        (("a", "hush"),),
        b"hush",
    )
    with pytest.raises(CassetteMissError) as raised:
        playback.handle(asked)
    text = str(raised.value)
    assert f"PUT https://api.digitalocean.com/v2/x{JOB_UUID}?sig=REDACTED&page=3" in text
    assert f"GET {JOB_URL}" in text
    assert "method: asked PUT, recorded GET" in text
    assert re.search("query: asked (sig=REDACTED&page=3|page=3&sig=REDACTED), recorded none", text)
    assert "Played so far: 1 of 2 answers" in text
    assert "1 x GET /v2/gen-ai/indexing_jobs/" in text
    assert "To record it: pytest --record" in text
    assert raised.value.request == asked
    assert raised.value.nearest.url == JOB_URL
    assert "hush" not in text + repr(raised.value)


def test_a_miss_names_the_parameter_whose_hidden_value_differs(play):
    playback = play(Interaction(Request("GET", f"{JOB_URL}?owner=hush&page=1"), RUNNING))
    with pytest.raises(CassetteMissError) as raised:
        playback.handle(Request("GET", f"{JOB_URL}?owner=other&page=1"))
    text = str(raised.value)
    assert "query: the value of owner differs" in text
    assert "hush" not in text
    assert "other" not in text


def test_a_miss_shows_nothing_that_a_terminal_or_a_reader_would_obey(play):
    playback = play(Interaction(Request("GET", f"{JOB_URL}/\u202e\x1b[2J"), RUNNING))
    with pytest.raises(CassetteMissError) as raised:
        playback.handle(Request("GET", f"{JOB_URL}/x"))
    assert "/%E2%80%AE%1B[2J" in str(raised.value)


def test_a_miss_of_an_empty_recording(play):
    with pytest.raises(CassetteMissError, match="Played so far: 0 of 0"):
        play().handle(Request("GET", JOB_URL))


def test_what_the_recording_tells_of(play):
    base = "https://api.digitalocean.com/v2/gen-ai/knowledge_bases/k%20b/indexing_jobs"
    playback = play(Interaction(Request("GET", base), Response(200)))
    assert playback.knowledge_base_uuid == "k b"
    with pytest.raises(CassetteError, match="has no job"):
        _ = playback.job_uuid
    create = Request("POST", "https://api.digitalocean.com/v2/gen-ai/indexing_jobs")
    playback = play(Interaction(create, job_answer(knowledge_base_uuid="kb")))
    assert (playback.job_uuid, playback.knowledge_base_uuid) == (JOB_UUID, "kb")
    with pytest.raises(CassetteError, match="has no knowledge base"):
        _ = play().knowledge_base_uuid
    assert play(Interaction(Request("GET", "https://me@x.example:81/y"), Response(200))).hosts == {
        "x.example:81"
    }


API = "https://api.digitalocean.com/v2/gen-ai"


def told(method, path, body, status=200):
    content = json.dumps(body).encode()
    return Interaction(Request(method, f"{API}/{path}"), Response(status, (), content))


def test_the_uuid_of_each_resource(play):
    base = {"knowledge_base": {"uuid": "kb", "last_indexing_job": {"uuid": "j"}}}
    playback = play(
        told("POST", "knowledge_bases", {"knowledge_base": {"uuid": "kb"}}),
        told("GET", "knowledge_bases/kb", base),
        told(
            "POST", "knowledge_bases/kb/data_sources", {"knowledge_base_data_source": {"uuid": "d"}}
        ),
        told("GET", "knowledge_bases", {"knowledge_bases": [{"uuid": "kb"}, {"uuid": "other"}]}),
        told("GET", "scheduled-indexing/knowledge-base/kb", {"indexing_info": {"uuid": "s"}}),
        told("PUT", "agents/a%20b", {"agent": {"uuid": "a b"}}),
    )
    wanted = {"jobs": "j", "knowledge_bases": "kb", "data_sources": "d", "schedules": "s"}
    assert {resource: playback.uuid_of(resource) for resource in wanted} == wanted
    assert playback.uuid_of("agents") == "a b"
    assert playback.knowledge_base_uuid == "kb"


def test_a_data_source_of_a_job_will_do_where_nothing_else_names_one(play):
    job = {"uuid": "j", "data_source_jobs": [{"data_source_uuid": "d"}], "data_source_uuids": ["d"]}
    playback = play(told("GET", "indexing_jobs/j", {"job": job}))
    assert playback.uuid_of("data_sources") == "d"


def test_no_uuid_and_several_are_told_apart(play):
    listed = {"knowledge_bases": [{"uuid": f"kb-{number}"} for number in range(5)]}
    playback = play(told("GET", "knowledge_bases", listed))
    with pytest.raises(
        CassetteError, match=r"about 5 knowledge bases: kb-0, kb-1, kb-2 and 2 more"
    ):
        _ = playback.knowledge_base_uuid
    with pytest.raises(
        CassetteError, match="has no data source: no request and no answer names one"
    ):
        playback.uuid_of("data_sources")
    with pytest.raises(ValueError, match=r"no resource 'uploads' with a uuid\. There are: jobs"):
        playback.uuid_of("uploads")


def test_an_answer_of_endless_depth_has_no_uuid(play):
    deep = b'{"job":' * 900 + b"{}" + b"}" * 900
    playback = play(Interaction(Request("GET", f"{API}/agents"), Response(200, (), deep)))
    with pytest.raises(CassetteError, match="has no agent"):
        playback.uuid_of("agents")


def test_a_knowledge_base_is_given_again_once_its_last_job_has_ended(play):
    def answer(**fields):
        return told("GET", "knowledge_bases/kb", {"knowledge_base": {"uuid": "kb", **fields}})

    request = answer().request
    ended = {"uuid": "j", "status": "INDEX_JOB_STATUS_COMPLETED"}
    playback = play(answer(), answer(last_indexing_job=ended))
    bodies = [json.loads(playback.handle(request).body) for _ in range(4)]
    assert bodies[1:] == [bodies[1]] * 3
    for unsettled in ({}, {"last_indexing_job": {"uuid": "j"}}, {"last_indexing_job": 5}):
        playback = play(answer(**unsettled))
        playback.handle(request)
        with pytest.raises(CassetteExhaustedError):
            playback.handle(request)


@pytest.mark.parametrize(
    "added",
    [
        "- request: &a {method: GET, uri: x}\n  response: {status: {code: 200}, body: {}}\n",
        "- request: {method: GET, uri: x}\n  response: {status: {code: 99}, body: {}}\n",
        "interactions: []\n",
        "- 1\ninteractions: []\n",
        "x: 1\n",
        "  z: 1\n",
        "- *a\n",
    ],
)
def test_a_file_that_was_read_and_grew_reads_as_if_it_were_new(tmp_path, added):
    old, other = tmp_path / "old.yaml", tmp_path / "other.yaml"
    text = cassette_text(RUNNING, COMPLETED)
    old.write_text(text)
    load(old)
    text = text.replace("version: 1", f"{added}version: 1")
    for path in (old, other):
        path.write_text(text)
    results = []
    for path in (old, other):
        try:
            results.append(load(path).interactions)
        except CassetteCorruptError as error:
            results.append(str(error).replace(str(path), "it"))
    assert results[0] == results[1]


def test_what_is_added_to_a_file_that_was_read_is_all_that_is_parsed(tmp_path, monkeypatch):
    parsed = []

    def counted(text, **limits):
        parsed.append(len(text))
        return check_limits(text, **limits)

    monkeypatch.setattr("pytest_indexjob.recording.cassette.check_limits", counted)
    path = tmp_path / "it.yaml"
    for count in range(1, 40):
        path.write_text(cassette_text(*[RUNNING] * count))
        assert len(load(path).interactions) == count
    assert max(parsed) == min(parsed)


def test_of_several_placeholders_that_fit_the_closest_is_played(tmp_path):
    recorded = ["x/REDACTED", "x/a-REDACTED.csv", "x/REDACTED?page=1"]
    items = [
        Interaction(Request("GET", f"{JOB_URL}/{path}"), Response(200, (), str(at).encode()))
        for at, path in enumerate(recorded)
    ]
    path = tmp_path / "it.yaml"
    path.write_text(dump(items))
    playback = Playback([load(path)])
    asked = ["x/a-secret.csv", "x/secret?page=1", "x/secret"]
    answers = [playback.handle(Request("GET", f"{JOB_URL}/{each}")).body for each in asked]
    assert answers == [b"1", b"2", b"0"]
