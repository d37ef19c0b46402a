"""A whole ingest: a database that takes its time, a data source that fails, a re-index."""

import asyncio

import pytest

for client in ("pydo", "gradient", "httpx"):
    pytest.importorskip(client)

from ingest import (  # noqa: E402  # after the check that its clients are there
    Gradient,
    Pydo,
    Requests,
    failed_sources,
    ingest,
    ingest_by_httpx,
    ingest_by_pydo,
    reindex,
    wait_for_database,
)

CLIENTS = [Pydo, Requests, Gradient]


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_whole_ingest(kind, indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan_database("online", after=420)
    client = kind("any")
    uuid, ended = ingest(client, "manuals")
    assert ended == "COMPLETED"
    assert indexjob_clock.elapsed > 420  # seconds that nobody waited
    assert failed_sources(client, uuid) == []
    client.delete(uuid)
    assert indexjob_simulator.knowledge_bases == ()


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_data_source_that_fails_is_named(kind, indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan("partial", ends=("UPDATED", "FAILED"))
    client = kind("any")
    uuid, ended = ingest(client, "manuals")
    assert ended == "PARTIAL"
    pages = indexjob_simulator.data_sources[1]
    assert pages.kind == "web_crawler_data_source"
    assert failed_sources(client, uuid) == [pages.uuid]


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_reindex(kind, indexjob_simulator, indexjob_clock):
    client = kind("any")
    uuid, _ = ingest(client, "manuals")
    indexjob_simulator.plan("no-changes")
    assert reindex(client, uuid) == "NO_CHANGES"
    assert len(indexjob_simulator.jobs) == 2


@pytest.mark.parametrize("life", ["unhealthy", "decommissioned"])
def test_a_database_that_does_not_come(life, indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan_database(life, after=60)
    client = Pydo("any")
    uuid = client.create("manuals")
    with pytest.raises(RuntimeError, match=life.upper()):
        wait_for_database(client, uuid)


def test_pydo_async(indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan_database("online", after=420)
    indexjob_simulator.plan("partial", ends={"https://docs.example.com": "FAILED"})
    ends, sources = asyncio.run(ingest_by_pydo("any", "manuals"))
    assert ends == ["PARTIAL", "PARTIAL"]
    statuses = [source["last_datasource_indexing_job"]["status"] for source in sources]
    assert statuses == ["DATA_SOURCE_STATUS_FAILED", "DATA_SOURCE_STATUS_UPDATED"]
    assert indexjob_clock.elapsed > 420  # seconds that nobody waited
    assert indexjob_simulator.knowledge_bases == ()


def test_httpx_async(indexjob_simulator, indexjob_clock):
    indexjob_simulator.plan("partial", ends=("FAILED", "UPDATED"))
    ends, sources = asyncio.run(ingest_by_httpx("any", "manuals", asyncio.sleep))
    assert ends == ["PARTIAL", "PARTIAL"]
    # The newest data source is listed first.
    statuses = [source["last_datasource_indexing_job"]["status"] for source in sources]
    assert statuses == ["DATA_SOURCE_STATUS_UPDATED", "DATA_SOURCE_STATUS_FAILED"]
