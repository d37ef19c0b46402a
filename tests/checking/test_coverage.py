"""Outcome coverage: what the code under test was given, over a whole run and several processes."""

# ruff: noqa: RUF001  # the sign of multiplication stands between a status and its phase

from __future__ import annotations

import gzip
import json
import pickle
import time
import zlib
from contextlib import suppress

import pytest
from conftest import COMPLETED, JOB_URL, RUNNING, job_answer
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import DatabaseStatus, IndexingJobClient, IndexJobError
from pytest_indexjob.api.outcomes import DataSourceStatus, IndexingJobPhase, IndexingJobStatus
from pytest_indexjob.checking import coverage
from pytest_indexjob.checking.coverage import (
    ITEMS,
    Coverage,
    CoverageFileError,
    combine,
    outcomes_of,
    parse_left_out,
    read,
    write,
)
from pytest_indexjob.content_coding import LARGEST
from pytest_indexjob.exchange import Exchange, Journal, Request, Response, TransportFault
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.simulation import scenarios
from pytest_indexjob.simulation.simulator import Simulator
from pytest_indexjob.virtual_time.clock import VirtualClock

API = "https://api.digitalocean.com/v2/gen-ai"
JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html; charset=utf-8"),)


class Run:
    """A test of a user: a simulator, a client, and code that asks for all there is to ask."""

    def __init__(self):
        self.journal = Journal()
        self.interception = Interception(self.journal, VirtualClock(), test="the test")
        clock = self.interception.clock
        self.simulator = Simulator(clock, journal=self.journal)
        self.interception.simulate(self.simulator)
        self.session = self.interception.session()
        self.client = IndexingJobClient("token", session=self.session, clock=clock)

    def follow(self):
        for job in self.simulator.jobs or [self.simulator.start()]:
            with suppress(IndexJobError):
                self.client.wait(job.uuid, timeout=900)
        with suppress(IndexJobError):
            self.client.data_sources(job.uuid)
        with suppress(IndexJobError):
            list(self.client.iterate())

    def ask(self, path, method="GET"):
        headers = {"Authorization": "Bearer token"}
        return self.session.request(method, f"{API}/{path}", headers=headers, timeout=10)

    def follow_knowledge_bases(self):
        self.ask("knowledge_bases")
        for base in self.simulator.knowledge_bases or [self.simulator.add_knowledge_base()]:
            self.ask(f"knowledge_bases/{base.uuid}")
            self.interception.clock.advance(self.simulator.database_delay)
            self.ask(f"knowledge_bases/{base.uuid}")
            self.ask(f"knowledge_bases/{base.uuid}/data_sources")
        self.ask(f"knowledge_bases/{base.uuid}", "DELETE")

    def serve(self, line):
        names = {"indexjob_simulator": self.simulator, "indexjob_client": self.client}
        if "knowledge_base.uuid" in line:
            names["knowledge_base"] = self.simulator.add_knowledge_base()
        if "job." in line:
            names["job"] = self.simulator.start()
            if "signed_url" in line:
                self.client.wait(names["job"].uuid)
        with suppress(IndexJobError):
            exec(line, names)  # the line as a user would copy it
        if "knowledge_base" in line.replace("job.knowledge_base_uuid", ""):
            self.follow_knowledge_bases()
        self.follow()
        return outcomes_of(self.journal.exchanges)


def exchange(answer, url=JOB_URL, method="GET"):
    return Exchange(Request(method, url), answer)


def given_by(answer, url=JOB_URL, method="GET"):
    return outcomes_of([exchange(answer, url, method)])


def given_by_json(body, url=JOB_URL, method="GET", status=200):
    return given_by(Response(status, JSON, json.dumps(body).encode()), url, method)


# What each line serves.

JOB_ITEMS = 53  # the items that every suite is asked for
JOBS_ONLY = {
    item: entry
    for item, entry in ITEMS.items()
    if entry.group not in ("database", "source", "knowledge_base")
}
PLAIN = Run().serve("indexjob_simulator.start()")


@pytest.mark.parametrize("item", ITEMS)
def test_the_line_of_each_item_serves_it(item):
    line = ITEMS[item].serve
    seen = Run().serve(line)
    assert item in seen
    assert item not in PLAIN or line == "indexjob_simulator.start()", (
        "another line than the plain one is not needed"
    )


def test_lines_name_what_there_is():
    assert all(item == f"{entry.group}:{entry.name}" for item, entry in ITEMS.items())
    groups = [entry.group for entry in ITEMS.values()]
    assert list(dict.fromkeys(groups)) == [
        "status",
        "phase",
        "data_source",
        "pair",
        "http",
        "fault",
        "shape",
        "database",
        "source",
        "knowledge_base",
    ]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index), (
        "in the order of the groups"
    )
    assert len(ITEMS) == JOB_ITEMS + 13 + 6 + 5
    assert JOB_ITEMS == 7 + 6 + 6 + 8 + 8 + 8 + 10
    for group, enum in {
        "status": IndexingJobStatus,
        "phase": IndexingJobPhase,
        "data_source": DataSourceStatus,
        "database": DatabaseStatus,
    }.items():
        names = {entry.name for entry in ITEMS.values() if entry.group == group}
        assert names == set(enum.__members__) - {"UNKNOWN"}, "each value of the contract is an item"


def test_all_lines_together_serve_all():
    whole = Coverage()
    for line in dict.fromkeys(item.serve for item in ITEMS.values()):
        whole.add(Run().serve(line))
    assert whole.percent() == 100.0


def test_a_plain_job_gives_this_and_no_more():
    assert sorted(PLAIN) == [
        "data_source:IN_PROGRESS",
        "data_source:UPDATED",
        "pair:COMPLETED×SUCCEEDED",
        "pair:IN_PROGRESS×RUNNING",
        "phase:RUNNING",
        "phase:SUCCEEDED",
        "shape:absent-counts",
        "status:COMPLETED",
        "status:IN_PROGRESS",
    ]


def test_a_weak_journal_shows_what_it_never_served():
    whole = Coverage()
    whole.add(outcomes_of([exchange(RUNNING), exchange(COMPLETED)]))
    whole.add(outcomes_of([exchange(Response(429, JSON, b"{}")), exchange(COMPLETED)]))
    whole.add(outcomes_of([]))
    served = {
        "status:IN_PROGRESS": 1,
        "status:COMPLETED": 2,
        "phase:RUNNING": 1,
        "phase:SUCCEEDED": 2,
        "pair:IN_PROGRESS×RUNNING": 1,
        "pair:COMPLETED×SUCCEEDED": 2,
        "http:429": 1,
        "shape:absent-counts": 2,
    }
    assert (whole.tests, dict(whole.counts)) == (3, served)
    assert whole.percent() == pytest.approx(100 * 8 / JOB_ITEMS)
    told = {line.strip() for line in whole.table(width=200)}
    for item, entry in JOBS_ONLY.items():
        count = served.get(item)
        text = f"seen by {count} test{'s' * (count > 1)}" if count else entry.serve
        assert f"{entry.name:<22}  {text}" in told or f"{entry.name:<21}  {text}" in told


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_can_be_examined(name):
    run = Run()
    run.simulator.start(name)
    run.follow()
    assert all(coverage._is_item(item) for item in outcomes_of(run.journal.exchanges))


# Answers one by one.


def test_what_was_not_delivered_does_not_count():
    request = Request("GET", JOB_URL)
    assert (
        outcomes_of([Exchange(request, None, IndexJobError("a miss")), Exchange(request, None)])
        == frozenset()
    )
    assert given_by(COMPLETED._replace(cut_after=10)) == {"fault:reset-midway"}
    assert given_by(COMPLETED, method="HEAD") == frozenset()


@pytest.mark.parametrize(
    ("kind", "item"),
    [("refused", "connection-refused"), ("reset", "connection-reset"), ("timeout", "read-timeout")],
)
def test_transport_faults(kind, item):
    assert outcomes_of([Exchange(Request("GET", JOB_URL), None, TransportFault(kind))]) == {
        f"fault:{item}"
    }


def test_bodies_that_are_no_answers():
    page = Response(200, HTML, b"<html>")
    assert given_by(page) == {"fault:wrong-content-type"}
    assert given_by(page, "https://api.digitalocean.com/login") == frozenset()
    assert given_by(Response(200, JSON, b'{"job": {')) == {"fault:invalid-json"}
    assert given_by(Response(200, JSON, b"[" * 100_000)) == {"fault:invalid-json"}
    assert given_by(Response(200, (("Content-Type", "text/csv"),), b"a,b")) == frozenset()
    assert given_by(Response(200, JSON, b" \n")) == {"fault:empty-body"}
    assert given_by(Response(500, HTML, b"")) == {"http:500"}
    assert given_by(Response(302)) == {"fault:redirect"}
    assert given_by(Response(304)) == frozenset()
    assert given_by(Response(418, JSON, COMPLETED.body)) == frozenset()


@pytest.mark.parametrize(
    ("method", "path", "one_job"),
    [
        ("GET", "/indexing_jobs/x", True),
        ("GET", "/indexing_jobs/x?a=/indexing_jobs", True),
        ("PUT", "/indexing_jobs/x/cancel", True),
        ("POST", "/indexing_jobs", True),
        ("GET", "/indexing_jobs", False),
        ("GET", "/indexing_jobs?page=2", False),
        ("GET", "/indexing_jobs/x/data_sources", False),
        ("GET", "/indexing_jobs/x/details_signed_url", False),
        ("GET", "/knowledge_bases/x/indexing_jobs", False),
    ],
)
def test_a_job_is_missed_where_one_belongs(method, path, one_job):
    expected = {"shape:missing-job"} if one_job else set()
    for base in (API, "http://127.0.0.1:8000/prefix/v2/gen-ai"):
        assert given_by_json({}, base + path, method) == expected
        assert given_by_json([], base + path, method) == expected
        assert given_by_json({"indexing_job": {}}, base + path, method) == expected


def test_shapes():
    assert "shape:explicit-nulls" in given_by_json({"job": None})
    assert given_by_json({"job": {"status": "INDEX_JOB_STATUS_UNKNOWN", "phase": None}}) >= {
        "shape:missing-phase",
        "shape:explicit-nulls",
        "pair:UNKNOWN×UNKNOWN",
    }
    assert "shape:missing-status" in given_by_json({"job": {"status": ""}})
    sources = [
        {
            "status": "DATA_SOURCE_STATUS_LATER",
            "total_bytes": str(2**53 + 1),
            "started_at": "2025-10-31T01:08:33.5Z",
        }
    ]
    assert given_by_json({"indexed_data_sources": sources}) >= {
        "shape:unknown-value",
        "shape:counts-over-2**53",
        "shape:fractional-timestamps",
    }
    assert "shape:counts-over-2**53" not in given_by_json(
        {"job": {"total_tokens": str(2**53), "uuid": "9" * 20}}
    )
    assert "shape:several-pages" not in given_by_json(
        {"jobs": [], "meta": {"pages": 1}}, f"{API}/indexing_jobs"
    )
    assert given_by_json({"signed_url": ""}, f"{JOB_URL}/details_signed_url") == frozenset()


def test_a_pending_job_lacks_no_counts_and_a_source_without_any_does():
    pending = {"status": "INDEX_JOB_STATUS_PENDING", "phase": "BATCH_JOB_PHASE_PENDING"}
    assert "shape:absent-counts" not in given_by_json({"job": pending})
    source = {"data_source_uuid": "x", "total_file_count": "5"}
    assert "shape:absent-counts" not in given_by_json({"job": {"data_source_jobs": [source]}})
    assert "shape:absent-counts" in given_by_json(
        {"job": {"data_source_jobs": [source, {"data_source_uuid": "y"}]}}
    )


BASE_URL = f"{API}/knowledge_bases/kb"


def test_a_knowledge_base_says_how_its_database_and_its_last_job_stand():
    running = {"status": "INDEX_JOB_STATUS_IN_PROGRESS", "phase": "BATCH_JOB_PHASE_RUNNING"}
    answer = {
        "knowledge_base": {"uuid": "kb", "last_indexing_job": running},
        "database_status": "ONLINE",
    }
    assert given_by_json(answer, BASE_URL) == {
        "database:ONLINE",
        "knowledge_base:last-job",
        "status:IN_PROGRESS",
        "phase:RUNNING",
        "pair:IN_PROGRESS×RUNNING",
        "shape:absent-counts",
    }
    assert given_by_json({"knowledge_base": {"uuid": "kb"}}, BASE_URL) == {
        "knowledge_base:no-job-yet"
    }
    agent = {"agent": {"knowledge_bases": [{"uuid": "kb"}]}}
    assert given_by_json(agent, f"{API}/agents/a") == {"knowledge_base:no-job-yet"}
    assert given_by_json({"database_status": "ASLEEP"}, BASE_URL) == {"shape:unknown-value"}


def test_the_answer_that_makes_a_knowledge_base_never_has_a_job():
    made = {"knowledge_base": {"uuid": "kb"}}
    assert given_by_json(made, f"{API}/knowledge_bases", "POST") == frozenset()


def test_a_data_source_says_its_kind_and_its_part_in_the_last_job():
    source = {
        "uuid": "ds",
        "web_crawler_data_source": {"base_url": "https://example.com"},
        "dropbox_data_source": None,
        "last_datasource_indexing_job": {
            "status": "DATA_SOURCE_STATUS_UPDATED",
            "indexed_item_count": "1",
        },
    }
    answer = {"knowledge_base_data_sources": [source], "meta": {"pages": 2}}
    assert given_by_json(answer, f"{BASE_URL}/data_sources") == {
        "source:web_crawler",
        "data_source:UPDATED",
        "shape:explicit-nulls",
        "knowledge_base:several-pages",
    }


@pytest.mark.parametrize("path", ["knowledge_bases/kb", "agents/a", "scheduled-indexing/s"])
def test_refusals_of_calls_around_a_job(path):
    for status in (404, 409):
        assert given_by_json({}, f"{API}/{path}", "DELETE", status) == {
            f"http:{status}",
            f"knowledge_base:{status}",
        }
    assert given_by_json({}, f"{API}/{path}", "DELETE", 500) == {"http:500"}
    assert given_by_json({}, f"{BASE_URL}/indexing_jobs", status=404) == {"http:404"}


def test_knowledge_bases_count_once_any_test_was_given_one():
    whole = Coverage()
    whole.add(JOBS_ONLY)
    assert whole.percent() == 100.0
    note = (
        "database, source, knowledge_base: not counted, as no test was given an answer"
        " about a knowledge base"
    )
    assert whole.table(width=100)[-1] == note
    assert not any("add_knowledge_base" in line for line in whole.table())
    other = Coverage()
    other.add(["database:ONLINE"])
    whole.merge(other)
    assert whole.percent() == pytest.approx(100 * (JOB_ITEMS + 1) / len(ITEMS))
    assert note not in whole.table(width=100)
    assert "database: 1 of 13 database statuses" in whole.table()
    assert '    indexjob_simulator.add_knowledge_base(database="unhealthy")' in whole.table(
        width=60
    )
    rest = parse_left_out(["database:*: x", "source:*: x", "knowledge_base:*: x"])
    assert whole.percent(rest) == 100.0


def test_what_another_service_says_of_its_databases_asks_for_nothing():
    url = "https://example.com/v2/databases/d"
    assert given_by_json({"database_status": "ONLINE", "knowledge_base": {}}, url) == frozenset()


def test_encoded_bodies_are_read():
    for encoding, encode in (("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip", bytes)):
        answer = Response(200, (*JSON, ("Content-Encoding", encoding)), encode(COMPLETED.body))
        assert given_by(answer) == given_by(COMPLETED)
    raw = zlib.compressobj(wbits=-15)
    body = raw.compress(COMPLETED.body) + raw.flush()
    assert given_by(Response(200, (*JSON, ("Content-Encoding", "deflate")), body)) == given_by(
        COMPLETED
    )
    assert (
        given_by(Response(200, (*JSON, ("Content-Encoding", "x-own")), b"\x8b\xff")) == frozenset()
    )
    for broken in (b"\x1f\x8b\x00", gzip.compress(COMPLETED.body)[:-9]):
        assert given_by(Response(200, (*JSON, ("Content-Encoding", "gzip")), broken)) == {
            "fault:invalid-json"
        }
    bomb = Response(
        200,
        (*JSON, ("Content-Encoding", "gzip")),
        gzip.compress(bytes(LARGEST + 1), 1),
    )
    assert given_by(bomb) == frozenset()


def test_unexpected_pairs_are_kept_beside_the_items():
    whole = Coverage()
    whole.add(
        given_by(job_answer(status="INDEX_JOB_STATUS_FAILED", phase="BATCH_JOB_PHASE_SUCCEEDED"))
    )
    whole.add(given_by(job_answer(status="INDEX_JOB_STATUS_NEW", phase="<script>")))
    whole.add(given_by(COMPLETED))
    whole.add(given_by(COMPLETED))
    assert whole.matrix() == {
        "COMPLETED": {"SUCCEEDED": 2},
        "FAILED": {"SUCCEEDED": 1},
        "NEW": {"OTHER": 1},
    }
    table = "\n".join(whole.table())
    assert "FAILED×SUCCEEDED       seen by 1 test, though not expected" in table
    assert table.count("COMPLETED×SUCCEEDED") == 1
    assert table.count("not expected") == 2
    assert whole.percent() == pytest.approx(
        100 * 6 / JOB_ITEMS
    )  # COMPLETED, SUCCEEDED, their pair, FAILED, two shapes
    assert Coverage().matrix() == {}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**60, "9" * 30]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "job",
                    "jobs",
                    "meta",
                    "pages",
                    "status",
                    "phase",
                    "data_source_jobs",
                    "indexed_data_sources",
                ]
            )
            | st.sampled_from(["total_tokens", "total_file_count", "started_at", "signed_url"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING, st.text(max_size=20), st.sampled_from([200, 201, 302, 404, 500, 0, -1]))
def test_no_answer_is_too_strange(body, url, status):
    for content in (json.dumps(body).encode(), repr(body).encode("utf-8", "replace")):
        for where in (url, JOB_URL):
            assert all(
                coverage._is_item(item) for item in given_by(Response(status, JSON, content), where)
            )


def test_a_repeated_answer_costs_next_to_nothing():
    run = Run()
    run.simulator.start()
    run.follow()
    polls = run.journal.exchanges * 50
    best = min(timed(polls) for _ in range(5)) / len(polls)
    assert best < 20e-6  # 1 to 3 us on an idle machine


def timed(exchanges):
    began = time.perf_counter()
    outcomes_of(exchanges)
    return time.perf_counter() - began


# Adding up.

SOME_ITEMS = st.frozensets(
    st.sampled_from([*ITEMS, "pair:FAILED×SUCCEEDED", "pair:NEW×UNKNOWN"]), max_size=8
)


@given(st.lists(st.tuples(SOME_ITEMS, st.integers(0, 3)), max_size=12), st.permutations(range(4)))
def test_several_processes_count_as_one(tests, order):
    one = Coverage()
    workers = [Coverage() for _ in range(4)]
    for items, worker in tests:
        one.add(items)
        workers[worker].add(items)
    merged = Coverage()
    for worker in order:
        merged.merge(workers[worker])
    assert merged == one
    assert json.dumps(merged.to_json()) == json.dumps(one.to_json())
    assert Coverage.from_json(json.loads(json.dumps(one.to_json())), source="x") == one
    assert 0 <= one.percent() <= 100


def test_what_is_no_item_is_not_counted():
    with pytest.raises(ValueError, match="status:NONSENSE"):
        Coverage().add(["status:COMPLETED", "status:NONSENSE"])


# The table.


def test_the_table():
    whole = Coverage()
    whole.add(["status:COMPLETED", "http:429"])
    reason = (
        "we never index the same knowledge base twice, so there is nothing that could be unchanged"
    )
    lines = whole.table(
        {
            "status:NO_CHANGES": reason,
            "http:429": "our proxy retries",
            "shape:signed-url": "no reports",
        }
    )
    assert lines[:9] == [
        "status: 1 of 6 job statuses",
        '  PENDING                indexjob_simulator.start("pending")',
        "  IN_PROGRESS            indexjob_simulator.start()",
        "  COMPLETED              seen by 1 test",
        "  NO_CHANGES             left out: we never index the same knowledge base twice,",
        "                         so there is nothing that could be unchanged",
        '  PARTIAL                indexjob_simulator.start("partial")',
        '  FAILED                 indexjob_simulator.start("failed")',
        '  CANCELLED              indexjob_simulator.start("cancelled")',
    ]
    assert "  429                    left out: our proxy retries (yet seen by 1 test)" in lines
    assert "http: 0 of 7 HTTP statuses" in lines
    assert max(map(len, lines)) <= 80
    assert '    indexjob_simulator.start("no-changes")' in Coverage().table(width=40)
    assert Coverage().table(width=1)


def test_left_out_items_do_not_count():
    whole = Coverage()
    whole.add(["status:COMPLETED"])
    others = dict.fromkeys(
        [item for item in JOBS_ONLY if item not in ("status:COMPLETED", "status:FAILED")], "why"
    )
    assert whole.percent(others) == 50.0
    assert whole.percent(dict.fromkeys(ITEMS, "why")) == 100.0


# Files.


def some_coverage():
    whole = Coverage()
    whole.add(PLAIN)
    whole.add(["http:429", "pair:FAILED×SUCCEEDED"])
    return whole


def test_a_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "outcomes.json"
    write(path, some_coverage())
    assert read(path) == some_coverage()
    write(str(path), Coverage())
    assert read(str(path)) == Coverage()
    assert [each.name for each in path.parent.iterdir()] == ["outcomes.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "outcomes.json"
    write(path, some_coverage())
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        write(path, Coverage())
    assert read(path) == some_coverage()
    assert [each.name for each in tmp_path.iterdir()] == ["outcomes.json"]


def test_a_cut_file_is_told_wherever_it_is_cut(tmp_path):
    path = tmp_path / "outcomes.json"
    write(path, some_coverage())
    content = path.read_bytes()
    for end in range(len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(CoverageFileError, match=r"outcomes\.json is cut short or damaged"):
            read(path)


def damaged(**fields):
    return json.dumps(some_coverage().to_json() | fields).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>", "is no file of outcome coverage"),
        (b"\xff\xfe\x00", "is no file of outcome coverage"),
        (b"[" * 100_000, "is no file of outcome coverage"),
        (b"null", "is no file of outcome coverage"),
        (b"[]", "is no file of outcome coverage"),
        (b'{"version": 1, "tests": 0, "counts": {}}', "is no file of outcome coverage"),
        (b" " * (coverage._LARGEST_FILE + 1), "is no file of outcome coverage"),
        (damaged(version=2), "is of version 2, not 1: run the tests again"),
        (damaged(version=True), "is of version True, not 1"),
        (damaged(version=None), "is of version absent"),
        (damaged(tests=-1), "is damaged: tests is -1"),
        (damaged(tests=True), "is damaged: tests is True"),
        (damaged(tests=2.0), "is damaged: tests is 2.0"),
        (damaged(tests="2"), "is damaged: tests is '2'"),
        (damaged(tests=10**300), r"is damaged: tests is 10+\.\.\.$"),
        (damaged(counts=[]), r"is damaged: counts is \[\]"),
        (damaged(counts={"http:429": 3}), "is damaged: http:429 is 3 of 2 tests"),
        (damaged(counts={"http:429": 0}), "is damaged: http:429 is 0 of 2 tests"),
        (damaged(counts={"http:429": True}), "is damaged: http:429 is True of 2 tests"),
        (damaged(counts={"http:429": 10**300}), r"is damaged: http:429 is 10+\.\.\. of 2"),
        (damaged(counts={"http:999": 1}), "counts 'http:999', which this version does not know"),
        (damaged(counts={"pair:a×b": 1}), "counts 'pair:a×b', which"),
        (damaged(counts={"x" * 500: 1}), r"counts 'x+\.\.\., which"),
        (
            damaged().replace(b'"tests": 2', b'"tests": ' + b"9" * 5000),
            "is no file of outcome coverage",
        ),
        (damaged().replace(b'"tests": 2', b'"tests": NaN'), "is damaged: tests is nan"),
    ],
)
def test_hostile_files(tmp_path, content, problem):
    path = tmp_path / "outcomes.json"
    path.write_bytes(content)
    with pytest.raises(CoverageFileError, match=f"outcomes.json {problem}") as caught:
        read(path)
    assert caught.value.path == path
    assert isinstance(caught.value, IndexJobError)
    other = pickle.loads(pickle.dumps(caught.value))
    assert (str(other), other.path, other.problem) == (
        str(caught.value),
        path,
        caught.value.problem,
    )


def test_files_are_combined(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good, other, broken = (tmp_path / name for name in ("a.json", "b.json", "c.json"))
    write(good, some_coverage())
    write(other, some_coverage())
    broken.write_text("{")
    whole, errors = combine([good, other, str(good), "a.json"])
    assert (whole.tests, whole.counts["http:429"], errors) == (4, 2, [])
    with pytest.raises(CoverageFileError, match=r"c\.json"):
        combine([good, broken, other])
    missing = tmp_path / "none.json"
    whole, errors = combine([broken, good, missing, tmp_path, other], skip_broken=True)
    assert whole.tests == 4
    assert [error.path for error in errors] == [broken, missing, tmp_path]
    assert "can't be read: No such file" in str(errors[1])
    assert combine([]) == (Coverage(), [])


# What is left out.


def test_lines_of_what_is_left_out():
    lines = [
        "",
        "status:NO_CHANGES: we never  re-index",
        " pair:NO_CHANGES×SUCCEEDED : nor: this ",
        "shape:counts-over-2**53:x",
    ]
    assert parse_left_out(lines) == {
        "status:NO_CHANGES": "we never re-index",
        "pair:NO_CHANGES×SUCCEEDED": "nor: this",
        "shape:counts-over-2**53": "x",
    }
    assert parse_left_out([]) == {}


def test_a_star_leaves_out_a_whole_group():
    left_out = parse_left_out(["database:*: a colleague waits", "source:aws: we have no S3"])
    assert set(left_out) == {f"database:{status.name}" for status in DatabaseStatus} | {
        "source:aws"
    }
    assert left_out["database:UNHEALTHY"] == "a colleague waits"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("status:NO_CHANGES", "a reason is needed: status:NO_CHANGES: we never"),
        ("status:NO_CHANGES:  ", "a reason is needed"),
        (
            "status:NO_CHANGE: x",
            r"'status:NO_CHANGE' is no item .* \(did you mean status:NO_CHANGES",
        ),
        ("status:no-changes: x", r"\(did you mean status:NO_CHANGES\?\)"),
        ("Status:COMPLETED: x", r"\(did you mean status:COMPLETED\?\)"),
        ("phase:failed: x", r"\(did you mean phase:FAILED\?\)"),
        ("NO_CHANGES: x", r"'NO_CHANGES' is no item .* \(did you mean status:NO_CHANGES\?\)"),
        ("pair:FAILED x ERROR: x", r"\(did you mean pair:FAILED×ERROR\?\)"),
        ("http: 418: x", "did you mean http:4"),
        ("source:*", r"a reason is needed: source:\*: we never"),
        ("sources:*: x", "'sources' is no item .*did you mean source:"),
        ("*: x", "is no item of outcome coverage"),
        ("!!!", "is no item of outcome coverage. Groups: status, phase"),
        (":::", "is no item of outcome coverage. Groups: status, phase"),
    ],
)
def test_wrong_lines_of_what_is_left_out(line, problem):
    with pytest.raises(ValueError, match=problem):
        parse_left_out([line])


def test_an_error_of_writing_names_the_file_that_was_meant(tmp_path):
    path = tmp_path / "no-such-folder" / "outcomes.json"
    with pytest.raises(OSError, match="No such file") as raised:
        write(path, Coverage())
    assert raised.value.filename == str(path)
