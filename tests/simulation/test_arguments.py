"""What a test says by mistake: each is told in a sentence, at once, and nothing is made."""

from __future__ import annotations

import pytest

from pytest_indexjob import DatabaseStatus, KnowledgeBase, Simulator, VirtualClock
from pytest_indexjob.exchange import Request

API = "https://api.digitalocean.com"
TOKEN = (("Authorization", "Bearer any"),)
BUCKET = {"bucket_name": "manuals"}
CRAWLER = {"base_url": "https://docs.example.com"}


@pytest.fixture
def service():
    return Simulator(VirtualClock())


@pytest.fixture
def base(service):
    return service.add_knowledge_base()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "ab"}, "name must have 3 to 63 letters, digits, hyphens and dots"),
        ({"name": None}, "name must have 3 to 63"),
        ({"name": "a name"}, "name must have 3 to 63"),
        ({"name": "a" * 64}, "name must have 3 to 63"),
        ({"name": 5}, "name: a string was expected, not 5"),
        ({"tags": "a"}, "tags: a list was expected, not 'a'"),
        ({"regio": "tor1"}, r"a KnowledgeBase has no 'regio' \(did you mean region\?\)"),
        ({"reranking_config": {"on": True}}, "a RerankingConfiguration has no 'on'"),
        ({"database": "offline"}, "there is no life 'offline' of a database. There are: online"),
        ({"database": "online", "after": "5"}, "after must be 0 or more seconds, not '5'"),
        ({"database": "online", "after": 10**400}, "after must be 0 or more seconds"),
        (
            {"after": 50},
            'a database that is "ready" takes no time: leave after out, or say "online"',
        ),
    ],
)
def test_a_knowledge_base_that_can_not_be(service, fields, problem):
    with pytest.raises(ValueError, match=problem):
        service.add_knowledge_base(**fields)
    assert service.knowledge_bases == ()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"region": "tor1"}, "a data source needs exactly one of spaces_data_source"),
        (
            {"spaces_data_source": BUCKET, "web_crawler_data_source": CRAWLER},
            "a data source needs exactly one of",
        ),
        ({"web_data_source": CRAWLER}, "a KnowledgeBaseDataSource has no 'web_data_source'"),
        (
            {"web_crawler_data_source": {"url": "https://docs.example.com"}},
            "a WebCrawlerDataSource has no 'url'. It has: base_url",
        ),
        (
            {"web_crawler_data_source": {**CRAWLER, "crawling_option": "ALL"}},
            "'ALL' is no CrawlingOption. Valid: UNKNOWN, SCOPED",
        ),
        ({"spaces_data_source": "manuals"}, "spaces_data_source: an object was expected"),
    ],
)
def test_a_data_source_that_can_not_be(service, base, fields, problem):
    with pytest.raises(ValueError, match=problem):
        service.add_data_source(base.uuid, **fields)
    assert service.data_sources == ()


def test_who_is_meant_is_a_uuid(service, base):
    with pytest.raises(KeyError, match="no knowledge base 'x': make it with add_knowledge_base"):
        service.add_data_source("x")
    with pytest.raises(KeyError, match="there is no job 'x'"):
        service.job("x")
    for wrong in (
        lambda: service.add_data_source(base),
        lambda: service.start(knowledge_base_uuid=base),
        lambda: service.start(uuid=5),
    ):
        with pytest.raises(
            TypeError, match=r"a uuid is needed, not .*: give the uuid of the model"
        ):
            wrong()
    assert (len(service.knowledge_bases), service.jobs) == (1, ())


@pytest.mark.parametrize("times", [0, -1, 1.5, float("nan"), "1", None])
def test_times_are_counted_in_whole_numbers(service, times):
    for say in (
        lambda: service.inject("rate-limit", times=times),
        lambda: service.answer("GET", "/v2/regions", times=times),
    ):
        with pytest.raises(ValueError, match="times must be a whole number of 1 or more"):
            say()


def test_a_fault_strikes_calls_that_there_are(service):
    with pytest.raises(ValueError, match=r"'knowledge_base.create'. Did you mean knowledge_bases"):
        service.inject("conflict", on="knowledge_base.create")
    with pytest.raises(
        TypeError, match="on must be the name of a call or a function of the request"
    ):
        service.inject("conflict", on=5)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"path": f"{API}/v2/regions"}, "path must begin with a slash, have no host"),
        ({"path": "/v2/regions?page=1"}, "no query"),
        ({"path": "/v2/databases/{uuid"}, "braces only around a whole segment"),
        ({"path": 5}, "path must begin with a slash"),
        ({"method": 5}, "a text such as 'GET', not 5"),
        ({"json": {1, 2}}, "json can't be written as JSON"),
        ({"json": b"{}"}, "json can't be written as JSON"),
        ({"json": {"score": float("nan")}}, "json can't be written as JSON"),
        ({"status": "200"}, "status must be an HTTP status"),
        ({"status": 100}, "status must be an HTTP status"),
        ({"headers": [("x", 5)]}, "the header 'x' can't be sent"),
        ({"headers": [(5, "x")]}, "the header 5 can't be sent"),
        ({"headers": 5}, "headers must be a mapping or pairs of a name and a value"),
        ({"headers": "x: y"}, "headers must be a mapping or pairs"),
        ({"headers": [()]}, "headers must be a mapping or pairs"),
        ({"headers": [5]}, "headers must be a mapping or pairs"),
        ({"headers": {"x": "a\r\nb: c"}}, "the header 'x' can't be sent"),
    ],
)
def test_an_answer_that_can_not_be_given(service, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        service.answer(**{"method": "GET", "path": "/v2/regions", **arguments})


def test_an_answer_of_a_function_that_is_no_json_is_told(service):
    service.answer("GET", "/v2/regions", json=lambda _request: object())
    with pytest.raises(ValueError, match="json can't be written as JSON"):
        service.handle(Request("GET", f"{API}/v2/regions", TOKEN))


def test_an_answer_may_have_any_status_and_headers_in_a_mapping(service):
    service.answer("GET", "/v2/regions", status=520, headers={"retry-after": "2"})
    answer = service.handle(Request("GET", f"{API}/v2/regions", TOKEN))
    assert (answer.status, answer.header("retry-after")) == (520, "2")


@pytest.mark.parametrize("life", ["powering-on", "POWERING_ON", DatabaseStatus.POWERING_ON])
def test_a_life_is_named_by_its_last_status_in_any_spelling(service, life):
    base = service.add_knowledge_base(database=life, after=5)
    service.clock.advance(5)
    path = f"{API}/v2/gen-ai/knowledge_bases/{base.uuid}"
    assert b'"POWERING_ON"' in service.handle(Request("GET", path, TOKEN)).body


def test_a_test_may_say_when_something_was_made(service):
    base = service.add_knowledge_base(created_at="2024-02-29T12:00:00Z")
    assert isinstance(base, KnowledgeBase)
    source = service.add_data_source(
        base.uuid, spaces_data_source=BUCKET, created_at="2024-03-01T00:00:00Z"
    )
    assert (base.created_at.year, source.created_at.month) == (2024, 3)


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        ({}, "ends is empty"),
        ([], "ends is empty"),
        ([{"state": "FAILED"}], "an end of a data source needs a status: {'state': 'FAILED'}"),
    ],
)
def test_ends_that_name_no_end(service, end, problem):
    with pytest.raises(ValueError, match=problem):
        service.start("partial", ends=end)
    assert service.jobs == ()
