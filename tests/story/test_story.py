"""The story of a test: moments, text and record."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import unicodedata

import pytest
from conftest import COMPLETED, JOB_URL, JOB_UUID, RUNNING, job_answer

from pytest_indexjob.api.errors import CassetteMissError
from pytest_indexjob.durations import duration_text
from pytest_indexjob.exchange import Exchange, Request, Response, TransportFault
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.simulation import faults
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.story.moments import story
from pytest_indexjob.story.record import record_test
from pytest_indexjob.story.text import story_text

JOBS_URL = JOB_URL.rpartition("/")[0]
GET = Request("GET", JOB_URL)
JSON = (("Content-Type", "application/json"),)
LIMITED = Response(
    429, (*JSON, ("retry-after", "2")), b'{"id": "too_many_requests", "message": "slow down"}'
)
REDACT = Redaction(["Alice"]).redact_text
story, story_text, record_of = (
    functools.partial(form, redact=REDACT) for form in (story, story_text, record_test)
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def answered(response, at=0.0, request=GET):
    return Exchange(request, response, None, at)


def failed(error, at=0.0, request=GET):
    return Exchange(request, None, error, at)


def polls(*answers, every=5.0):
    return [answered(answer, every * at) for at, answer in enumerate(answers)]


def files(indexed, total, **more):
    source = {"indexed_file_count": str(indexed), "total_file_count": str(total), **more}
    return job_answer(
        status="INDEX_JOB_STATUS_IN_PROGRESS",
        phase="BATCH_JOB_PHASE_RUNNING",
        data_source_jobs=[source],
    )


def notes(moments):
    return [moment.note for moment in moments]


def simulated(scenario, count, *, every=5.0, fault=None, times=1):
    """The exchanges and sleeps of a test that polls a simulated job."""
    simulator = Simulator()
    job = simulator.start(scenario)
    for at in range(count):
        if at == 3 and fault:
            simulator.inject(fault, times=times)
        with contextlib.suppress(TransportFault):
            simulator.handle(
                Request("GET", f"{JOBS_URL}/{job.uuid}", (("Authorization", "Bearer x"),))
            )
        simulator.clock.sleep(every)
    return simulator.journal.exchanges, list(
        zip(simulator.clock.slept_at, simulator.clock.sleeps, strict=True)
    )


# Moments.


def test_equal_polls_in_a_row_are_one_moment():
    moments = story(polls(RUNNING, RUNNING, RUNNING, files(2, 5, failed_item_count="1"), COMPLETED))
    assert [(moment.at, moment.until, moment.times) for moment in moments] == [
        (0, 10, 3),
        (15, 15, 1),
        (20, 20, 1),
    ]
    assert moments[0] == (
        0,
        "GET /v2/gen-ai/indexing_jobs/5c0e1d52…",
        "200",
        "RUNNING",
        "IN_PROGRESS",
        "",
        3,
        10,
        "",
    )
    assert moments[1].counts == "2/5 files · 1 failed"
    assert moments[2][3:5] == ("SUCCEEDED", "COMPLETED")


def knowledge_base(name, database, **job):
    last = {"last_indexing_job": {"uuid": JOB_UUID, **job}} if job else {}
    body = {"knowledge_base": {"uuid": name, "name": name, **last}, "database_status": database}
    return Response(200, JSON, json.dumps(body).encode())


def test_each_knowledge_base_is_named_with_its_database_and_its_last_job():
    base, other = (
        Request("GET", f"https://api.digitalocean.com/v2/gen-ai/knowledge_bases/{name}")
        for name in ("manuals", "Alice")
    )
    running = {"status": "INDEX_JOB_STATUS_IN_PROGRESS", "phase": "BATCH_JOB_PHASE_RUNNING"}
    exchanges = [
        answered(knowledge_base("manuals", "CREATING"), 0, base),
        answered(knowledge_base("Alice", "UNHEALTHY"), 1, other),
        answered(knowledge_base("manuals", "CREATING"), 2, base),
        answered(knowledge_base("Alice", "UNHEALTHY"), 3, other),
        answered(knowledge_base("manuals", "ONLINE", **running), 4, base),
        answered(knowledge_base({"<b>": 1}, 5, uuid=[]), 5, base),
    ]
    moments = story(exchanges)
    assert [(moment.counts, moment.status, moment.times) for moment in moments] == [
        ("knowledge base manuals · database CREATING", "", 2),
        ("knowledge base REDACTED · database UNHEALTHY", "", 2),
        ("knowledge base manuals · database ONLINE", "IN_PROGRESS", 1),
        ("knowledge base {'<b>': 1} · database 5", "", 1),
    ]
    (_, _, moment, _) = record_of("test", "passed", 1.0, exchanges)["moments"]
    assert (moment["lane"], moment["job"], moment["phase"]) == (
        "knowledge_bases.get",
        JOB_UUID,
        "RUNNING",
    )


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        ({"knowledge_bases": [{}, {}], "meta": {"page": 1, "pages": 2}}, "page 1 of 2 · 2 know"),
        ({"knowledge_base_data_sources": [{}]}, "1 data source"),
        ({"agents": []}, "0 agents"),
    ],
)
def test_lists_around_a_job_say_how_many_they_hold(body, summary):
    answer = Response(200, JSON, json.dumps(body).encode())
    assert story([answered(answer)])[0].counts.startswith(summary)


def test_two_jobs_polled_in_turn_have_a_moment_each():
    other = Request("GET", f"{JOBS_URL}/aaaaaaaa-b5f6-11f0-9c3a-0a58a9feac02")
    exchanges = [answered(RUNNING, at, (GET, other)[at % 2]) for at in range(10)]
    assert [moment.times for moment in story(exchanges)] == [5, 5]
    # A call that changes something ends the rows.
    cancel = answered(RUNNING, 10, Request("PUT", f"{JOB_URL}/cancel"))
    later = [answered(RUNNING, 11 + at, (GET, other)[at % 2]) for at in range(10)]
    assert [moment.times for moment in story([*exchanges, cancel, *later])] == [5, 5, 1, 5, 5]


def test_updated_times_are_no_change_but_counts_are():
    running = {"status": "INDEX_JOB_STATUS_IN_PROGRESS", "phase": "BATCH_JOB_PHASE_RUNNING"}
    answers = [
        job_answer(**running, updated_at=f"2025-10-31T01:08:{second}Z") for second in range(10, 60)
    ]
    assert [moment.times for moment in story(polls(*answers))] == [50]
    record = record_of("t", "passed", 0, polls(*answers))
    assert [json.loads(body)["job"]["updated_at"][-3:] for body in record["bodies"]] == ["59Z"]


def test_a_simulated_life():
    moments = story(*simulated("completed", 200))
    assert [moment.counts for moment in moments[:-1]] == [
        "",
        "0/5 files",
        "2/5 files",
        "5/5 files",
        "5/5 files",
    ]
    assert sum(moment.times for moment in moments[:-1]) == 200
    assert [moment.status for moment in moments] == [*["IN_PROGRESS"] * 4, "COMPLETED", ""]


def test_retries_and_faults_are_marked():
    moments = story(polls(RUNNING, LIMITED, LIMITED, LIMITED, RUNNING, RUNNING))
    limit = "fault: rate limit, retry-after 2 s"
    assert notes(moments) == ["", limit, f"retry, {limit}", "retry", ""]
    assert [moment.times for moment in moments] == [1, 1, 2, 1, 1]
    assert moments[1].counts == "429 too_many_requests"


@pytest.mark.parametrize("kind", ["refused", "reset", "timeout"])
def test_no_answer_is_a_fault_and_the_next_a_retry(kind):
    moments = story([failed(TransportFault(kind)), answered(RUNNING, 1)])
    assert [(moment.http, moment.note) for moment in moments] == [
        (kind, f"fault: {kind}"),
        ("200", "retry"),
    ]


def test_another_request_after_a_fault_is_no_retry():
    other = Request("GET", f"{JOB_URL}/data_sources")
    moments = story([answered(LIMITED), answered(RUNNING, 1, other)])
    assert moments[1].note == ""


def test_another_error_is_named_by_its_kind():
    (moment,) = story([failed(CassetteMissError("no recorded answer\nfits", request=GET))])
    assert (moment.http, moment.note) == (
        "CassetteMissError",
        "miss: CassetteMissError: no recorded answer",
    )
    (moment,) = story([failed(None)])
    assert moment.http == "none"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "0 s"),
        (0.25, "0.25 s"),
        (59.9996, "1 min"),
        (340, "5 min 40 s"),
        (3600.5, "1 h 0.5 s"),
        (86_400, "1 day"),
        (172_860, "2 days 1 min"),
        (math.inf, "inf s"),
    ],
)
def test_durations_are_told_in_the_units_that_people_use(seconds, text):
    assert duration_text(seconds) == text


def test_a_long_story_counts_in_days():
    exchanges = [answered(RUNNING, 0), answered(COMPLETED, 172_800)]
    lines = story_text(exchanges, [(0, 172_800)]).splitlines()
    assert lines[1].startswith("2 days  GET")
    assert lines[1].endswith("slept 2 days")


def test_a_long_wait_after_the_rate_limit_is_told_in_hours():
    limited = Response(429, (("retry-after", "5400"),), b"{}")
    (moment,) = story([answered(limited, 0)])
    assert moment.note == "fault: rate limit, retry-after 1 h 30 min"


def test_sleeps_stand_where_they_were():
    exchanges = polls(RUNNING, RUNNING, RUNNING, COMPLETED)
    moments = story(exchanges, [(0, 5), (5, 5), (10, 4), (14, 1), (15, 30), (45, 2)])
    assert notes(moments) == ["slept 5 s", "slept 5 s", "slept 32 s"]
    assert moments[-1] == (15, "", "", "", "", "", 2, 47, "slept 32 s")
    assert notes(story(exchanges, [(0, 1), (5, 0.25)]))[0] == "slept 0.25 s to 1 s"


def test_sleeps_at_the_same_time_count_once():
    exchanges = polls(RUNNING, COMPLETED)
    both = [(0, 5), (0, 5), (5, 8), (6, 2), (10, 5)]
    assert notes(story(exchanges, both)) == ["", "slept 5 s", "slept 10 s"]
    assert record_of("t", "passed", 0, exchanges, both)["slept"] == 15


def test_answers_that_overlap_are_shown_in_the_order_of_their_moments():
    first, second, third = polls(RUNNING, files(1, 5), COMPLETED)
    moments = story([first, third, second], [(0, 5), (5, 5)])
    assert [(moment.at, moment.note) for moment in moments] == [
        (0, ""),
        (5, "slept 5 s"),
        (10, "slept 5 s"),
    ]
    assert moments[-1].status == "COMPLETED"
    record = record_of("t", "passed", 0, [first, third, second])
    assert [moment["at"] for moment in record["moments"]] == [0, 5, 10]


@pytest.mark.parametrize(
    ("path", "response", "summary"),
    [
        (
            "",
            Response(200, JSON, b'{"jobs": [{}, {}], "meta": {"page": 1, "pages": 3}}'),
            "page 1 of 3 · 2 jobs",
        ),
        ("", Response(200, JSON, b'{"jobs": [{}]}'), "1 job"),
        ("", Response(200, JSON, b'{"jobs": [], "meta": []}'), "0 jobs"),
        (
            "/x/data_sources",
            Response(200, JSON, b'{"indexed_data_sources": [{}, {}]}'),
            "2 data sources",
        ),
        (
            "/x/details_signed_url",
            Response(200, JSON, b'{"signed_url": "https://x/?s=1"}'),
            "a signed URL",
        ),
        ("/x", Response(404, JSON, b'{"id": "not_found"}'), "404 not_found"),
        ("/x", Response(502, (), b"<html>"), "502 Bad Gateway"),
        ("/x", Response(404, JSON, b"[]"), "404 Not Found"),
        ("/x", Response(200, JSON, b"{}"), "no job"),
        ("/x", Response(200, JSON, b'{"index_job": {}}'), "no job (index_job)"),
        ("/x", Response(200, JSON, b'{"job": {"status": 7}}'), "not a job"),
        ("/x", Response(200, JSON, b'{"job": [1]}'), "not a job"),
        ("/x", Response(200, JSON, b"[1]"), "not a job"),
        ("/x", Response(200, JSON, b""), "an empty body"),
        ("/x", Response(200, JSON, b'{"job'), "broken JSON, 5 bytes"),
        (
            "/x",
            Response(200, (("Content-Type", "text/html; charset=x"),), b"<html>"),
            "6 bytes of text/html",
        ),
        ("/x", Response(200, JSON, b"[" * 100_000), "broken JSON, 100000 bytes"),
        ("/x", Response(200, JSON, b'{"job": {}}', cut_after=3), "cut short"),
    ],
)
def test_answers_without_a_job_have_a_short_summary(path, response, summary):
    (moment,) = story([answered(response, request=Request("GET", JOBS_URL + path))])
    assert (moment.counts, moment.status, moment.phase) == (summary, "", "")


def test_a_bad_answer_of_the_service_is_a_fault_but_a_report_is_none():
    broken = answered(Response(200, JSON, b"{"))
    report = answered(
        Response(200, (("Content-Type", "text/csv"),), b"a,b"),
        request=Request("GET", "https://x.test/r"),
    )
    assert notes(story([broken, report])) == ["fault: not JSON", ""]
    assert story([report])[0].call == "GET https://x.test/r"


# A stale read is an answer like any other.
@pytest.mark.parametrize("fault", [fault for fault in faults.all() if not fault.age], ids=str)
def test_every_fault_of_the_catalogue_shows(fault):
    exchanges, sleeps = simulated("completed", 8, fault=fault)
    moments = story(exchanges, sleeps)
    odd = [
        moment for moment in moments[:-1] if moment.http != "200" or moment.note.startswith("fault")
    ]
    assert len(odd) == 1


def test_a_url_that_no_one_can_read_is_no_reason_to_fail():
    exchanges = [answered(job_answer(note="http://[::1"), request=Request("GET", "http://[::1"))]
    assert story(exchanges)[0].call == "GET (a URL that can't be read)"
    assert record_of("t", "passed", 0, exchanges)["moments"][0]["lane"] == "other"


def test_unknown_values_and_missing_ones_are_shown():
    (moment,) = story(polls(job_answer(status="INDEX_JOB_STATUS_NEW", phase="odd")))
    assert (moment.status, moment.phase) == ("NEW", "odd")
    (moment,) = story(polls(job_answer()))
    assert (moment.status, moment.phase) == ("UNKNOWN", "UNKNOWN")


def test_no_exchange_is_no_moment():
    assert story([]) == []
    assert story_text([]) == "no calls"
    assert story([], [(0, 5)])[0].note == "slept 5 s"


# Text.


def test_text_has_a_line_for_each_change():
    text = story_text(polls(*[RUNNING] * 93, files(2, 5), COMPLETED))
    assert text.splitlines()[:3] == [
        "       0 s  GET …/5c0e1d52…  IN_PROGRESS  RUNNING    × 93",  # noqa: RUF001
        "7 min 45 s  GET …/5c0e1d52…  IN_PROGRESS  RUNNING    2/5 files",
        "7 min 50 s  GET …/5c0e1d52…  COMPLETED    SUCCEEDED",
    ]
    assert "the last answer, 200 OK:" in text
    assert '"status": "INDEX_JOB_STATUS_COMPLETED"' in text
    assert not text.endswith("more lines")


def columns(line):
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


@pytest.mark.parametrize("width", [1, 30, 40, 57, 80, 200])
@pytest.mark.parametrize(
    "scenario",
    ["partial", "many-data-sources", "future-status", "missing-job", "string-counts-at-uint64-max"],
)
def test_text_fits_the_width(width, scenario):
    exchanges, sleeps = simulated(scenario, 80, fault="read-timeout", times=2)
    wide = job_answer(status="状態" * 40, error="文" * 100)
    text = story_text([*exchanges, answered(wide, 1000)], sleeps, width=width)
    assert max(columns(line) for line in text.splitlines()) <= max(width, 30)
    assert "× " in text  # noqa: RUF001
    assert "fault: timeout" in " ".join(text.split())


def test_colors_are_added_to_the_same_text():
    exchanges = polls(RUNNING, LIMITED, RUNNING, COMPLETED)
    plain, colored = (story_text(exchanges, color=color) for color in (False, True))
    assert "\x1b" not in plain
    assert ANSI.sub("", colored) == plain
    line = next(line for line in colored.splitlines() if "COMPLETED" in line)
    assert "\x1b[32m" in line
    assert "\x1b[31m" in next(line for line in colored.splitlines() if "429" in line)


def test_text_marks_retry_and_fault():
    text = story_text(polls(RUNNING, LIMITED, RUNNING), width=120)
    assert "429 too_many_requests  fault: rate limit, retry-after 2 s" in text
    assert text.splitlines()[2].endswith("retry")


def test_the_last_answer_is_cut_unless_verbose():
    exchanges, _ = simulated("many-data-sources", 80)
    text = story_text(exchanges)
    assert len(text.splitlines()) < 60
    assert re.search(r"\.\.\. \d+ more lines$", text)
    assert len(story_text(exchanges, verbose=True).splitlines()) > 1000


def test_many_changes_are_cut_unless_verbose():
    exchanges = polls(*[files(at, 500) for at in range(500)])
    text = story_text(exchanges)
    assert "... 440 changes left out" in text
    assert "499/500 files" in text
    assert "250/500 files" in story_text(exchanges, verbose=True)


def test_a_last_call_without_answer_is_told():
    text = story_text([answered(RUNNING), failed(TransportFault("timeout"), 5)])
    assert text.endswith("the last call had no answer: timeout")


def test_a_miss_is_told_without_its_call_which_the_line_has():
    told = "has no recorded answer left: this recording ends at IN_PROGRESS after 12 polls"
    error = CassetteMissError(f"GET {JOB_URL} {told}", request=GET)
    text = story_text([answered(RUNNING), failed(error, 5)], width=200)
    assert f"  miss: CassetteMissError: {told}\n" in text
    assert text.endswith("the last call had no answer: CassetteMissError")


def test_nothing_reaches_the_terminal_that_it_would_obey():
    evil = job_answer(status="\x1b[2J\r\n\x07", phase="\u202e", note="\x9b2J")
    url = Request("GET", f"{JOBS_URL}/\x1b]0;title\x07")
    for text in (
        story_text([answered(evil, request=url)]),
        story_text([failed(OSError("\x1b[31m"))]),
    ):
        assert all(line.isprintable() for line in text.splitlines())


# Secrets.

SECRET = "s3cr3t-value"
SECRET_BODIES = [
    {"signed_url": f"https://x.test/r?X-Amz-Signature={SECRET}"},
    {"job": {"uuid": JOB_UUID, "note": f"see https://u:{SECRET}@x.test/a?sig={SECRET}#{SECRET}"}},
    {
        "access_token": SECRET,
        "Password": [SECRET],
        "client-secret": {"a": SECRET},
        "apiKey": SECRET,
    },
    {"list": [{"token": SECRET}]},
    {"message": f"Authorization: Bearer {SECRET}"},
    {"message": f"dop_v1_{SECRET.replace('-', '')}"},
]


@pytest.mark.parametrize("body", SECRET_BODIES, ids=str)
@pytest.mark.parametrize("cut", [0, 1], ids=["JSON", "broken"])
def test_no_secret_is_shown(body, cut):
    raw = json.dumps(body).encode()
    answer = Response(200, JSON, raw[: len(raw) - cut])
    request = Request(
        "POST", f"{JOBS_URL}?signature={SECRET}", (("Authorization", f"Bearer {SECRET}"),), raw
    )
    exchanges = [
        answered(answer, request=request),
        failed(OSError(f"https://x.test/?s={SECRET}"), request=request),
    ]
    for text in (
        story_text(exchanges[:1], verbose=True),
        story_text(exchanges, verbose=True),
        json.dumps(record_of("t", "passed", 0.1, exchanges)),
    ):
        assert SECRET not in text
        assert SECRET.replace("-", "") not in text


def test_counts_of_tokens_are_no_secrets():
    text = '{"tokens": 7, "total_tokens": "18446744073709551615", "next": "https://x/?page=2"}'
    assert REDACT(text) == text


# Records.


def test_a_record_is_json_and_holds_each_body_once():
    exchanges, sleeps = simulated("partial", 75, fault="connection-reset")
    record = record_of("t.py::test", "failed", 1.25, exchanges, sleeps)
    assert json.loads(json.dumps(record)) == record
    assert (record["nodeid"], record["outcome"], record["duration"], record["calls"]) == (
        "t.py::test",
        "failed",
        1.25,
        75,
    )
    assert sum(moment["times"] for moment in record["moments"]) == 75
    assert len(record["bodies"]) == len(set(record["bodies"]))
    end = record["moments"][-1]
    assert (
        json.loads(record["bodies"][end["answer"]])["job"]["status"] == "INDEX_JOB_STATUS_PARTIAL"
    )
    assert [moment["kind"] for moment in record["moments"]].count("fault") == 1


def test_lanes_name_the_calls():
    calls = [
        ("POST", "", "create"),
        ("GET", "", "list"),
        ("GET", "/x", "get"),
        ("PUT", "/x/cancel", "cancel"),
        ("GET", "/x/data_sources", "sources"),
        ("GET", "/x/details_signed_url", "report URL"),
        ("DELETE", "/x", "other"),
    ]
    for method, path, lane in calls:
        record = record_of(
            "t", "passed", 0, [answered(RUNNING, request=Request(method, JOBS_URL + path))]
        )
        assert record["moments"][0]["lane"] == lane


def test_six_thousand_polls_make_a_small_record():
    exchanges, sleeps = simulated("stuck", 6_000)
    record = record_of("t", "failed", 1, exchanges, sleeps)
    assert len(record["bodies"]) <= 2
    assert len(json.dumps(record)) < 30_000
    assert sum(moment["times"] for moment in record["moments"]) == 6_000


@pytest.mark.slow
def test_six_thousand_changes_make_a_bounded_record():
    exchanges = polls(*[files(at, 6_000, padding="x" * 3_000) for at in range(6_000)])
    record = record_of("t", "failed", 1, exchanges)
    assert len(record["moments"]) + record["left_out"] == 6_000
    assert len(json.dumps(record)) < 1_000_000
    flapping = record_of("t", "failed", 1, polls(*[RUNNING, LIMITED] * 3_000))
    assert len(flapping["bodies"]) == 2


def test_a_large_body_is_cut():
    record = record_of("t", "failed", 1, [answered(job_answer(note="x" * 100_000))])
    assert record["bodies"][0].endswith("more characters")
    assert len(record["bodies"][0]) < 20_000


def test_hostile_texts_can_be_sent_to_another_process():
    answer = Response(
        200, JSON, b'{"job": {"status": "\\ud800", "uuid": "\\udfff"}, "x": "\\ud800\xff"}'
    )
    record = record_of("t\ud800", "passed", 0, [answered(answer), failed(OSError("\ud800"))])
    json.dumps(record, ensure_ascii=False).encode()


def test_known_secrets_are_in_no_form_of_the_story():
    error = OSError("x" * 90 + " Alice and more")
    answer = job_answer(note="it is Alice", status="Alice", phase="Alice", uuid="Alice")
    refused = Response(
        400, (("Content-Type", "Alice"),), b'{"id": "Alice", "message": "Alice"}', "Alice"
    )
    page = Response(200, (("Content-Type", "text/Alice"),), b"Alice")
    late = Response(429, (("Retry-After", "Alice"),), b"Alice", "Alice")
    request = Request("POST", f"{JOBS_URL}/Alice", body=b"Alice")
    named = Response(200, JSON, b'{"Alice": 1}')
    exchanges = [answered(each, request=request) for each in (refused, page, late, named, answer)]
    exchanges.append(failed(error, request=request))
    texts = [story_text(exchanges[: at + 1], width=40) for at in range(len(exchanges))]
    for text in (*texts, str(story(exchanges)), str(record_of("t", "passed", 0, exchanges))):
        assert "REDACTED" in text
        assert "Ali" not in text
