"""The models: every field both ways on the wire."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import (
    DataSourceStatus,
    DecodeError,
    IndexedDataSource,
    IndexingJob,
    IndexingJobPage,
    IndexingJobPhase,
    IndexingJobStatus,
)
from pytest_indexjob.api.knowledge_bases import ChunkingOptions
from pytest_indexjob.api.wire import WireModel

# Sent by the live service; identifiers changed.
LIVE = json.loads(
    '{"uuid":"5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02","knowledge_base_uuid":"61f7a3de-b5f1-11f0-9c3a-0a58a9feac02",'
    '"created_at":"2025-10-31T01:08:33Z","updated_at":"2025-10-31T01:14:12Z","started_at":"2025-10-31T01:08:34Z",'
    '"finished_at":"2025-10-31T01:14:12Z","phase":"BATCH_JOB_PHASE_SUCCEEDED","total_datasources":1,'
    '"completed_datasources":1,"status":"INDEX_JOB_STATUS_COMPLETED","data_source_jobs":[{"data_source_uuid":'
    '"70aa91f4-b5f1-11f0-9c3a-0a58a9feac02","total_file_count":"3","indexed_file_count":"1","total_bytes":"6454487",'
    '"total_bytes_indexed":"4672176","started_at":"2025-10-31T01:08:55Z","completed_at":"2025-10-31T01:13:59Z",'
    '"indexed_item_count":"1","skipped_item_count":"2","status":"DATA_SOURCE_STATUS_UPDATED"}],'
    '"is_report_available":true}'
)
MOMENT = "2023-01-01T00:00:00Z"
SOURCE_FIELDS = {
    "data_source_uuid": "a",
    "status": "DATA_SOURCE_STATUS_FAILED",
    "started_at": MOMENT,
    "completed_at": MOMENT,
    "error_msg": "CODE",
    "error_details": "prose",
    **dict.fromkeys(
        (
            "failed_item_count",
            "indexed_file_count",
            "indexed_item_count",
            "removed_item_count",
            "skipped_item_count",
            "total_bytes",
            "total_bytes_indexed",
            "total_file_count",
        ),
        "18446744073709551615",
    ),
}
JOB_FIELDS = {
    "uuid": "u",
    "knowledge_base_uuid": "k",
    "status": "INDEX_JOB_STATUS_PARTIAL",
    "phase": "BATCH_JOB_PHASE_RUNNING",
    **dict.fromkeys(("created_at", "started_at", "finished_at", "updated_at"), MOMENT),
    **dict.fromkeys(("total_datasources", "completed_datasources", "tokens"), 2**63 - 1),
    "total_tokens": "18446744073709551615",
    "is_report_available": True,
    "data_source_uuids": ["a", "b"],
    "data_source_jobs": [SOURCE_FIELDS],
}


def test_what_the_live_service_sends_goes_both_ways_exactly():
    assert IndexingJob.from_wire(LIVE).to_wire() == LIVE


@pytest.mark.parametrize(
    ("model", "fields"), [(IndexingJob, JOB_FIELDS), (IndexedDataSource, SOURCE_FIELDS)]
)
def test_every_field_goes_both_ways_exactly(model, fields):
    read = model.from_wire(fields)
    assert read.to_wire() == fields
    assert read.extra == {}
    for name in fields:
        assert model.from_wire({name: fields[name]}).to_wire() == {name: fields[name]}
        for absent in (None, ""):
            assert model.from_wire({name: absent}) == model()


def test_absent_means_the_default():
    job = IndexingJob.from_wire({})
    assert job.to_wire() == {}
    assert (job.status, job.phase) == (IndexingJobStatus.UNKNOWN, IndexingJobPhase.UNKNOWN)
    assert (job.tokens, job.created_at, job.data_source_jobs, job.duration) == (0, None, (), None)
    assert not job.is_terminal


def test_totals_and_duration():
    job = IndexingJob.from_wire(
        LIVE | {"data_source_jobs": [SOURCE_FIELDS, LIVE["data_source_jobs"][0]]}
    )
    assert job.duration == 338.0
    assert (job.indexed_item_count, job.skipped_item_count) == (2**64, 2**64 + 1)
    assert job.failed_item_count == job.removed_item_count == 2**64 - 1
    assert (job.total_file_count, job.indexed_file_count) == (2**64 + 2, 2**64)
    assert (job.total_bytes, job.total_bytes_indexed) == (2**64 - 1 + 6454487, 2**64 - 1 + 4672176)


def test_a_job_lasts_from_its_start_to_its_end_and_no_time_without_either():
    moments = {"started_at": LIVE["started_at"], "finished_at": LIVE["finished_at"]}
    assert IndexingJob.from_wire(moments).duration == 338.0
    for name in moments:
        assert IndexingJob.from_wire({name: moments[name]}).duration is None


@pytest.mark.parametrize(
    "model", [*WireModel.__subclasses__(), IndexingJobPage], ids=lambda model: model.__name__
)
def test_a_model_is_made_by_keywords_and_then_stays_as_it_is(model):
    first = dataclasses.fields(model)[0].name
    with pytest.raises(TypeError):
        model("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model(), first, "x")
    if issubclass(model, WireModel):
        assert repr(model()) == f"{model.__name__}()"
        assert repr(model(**{first: "x"})) == f"{model.__name__}({first}='x')"


def test_unknown_fields_and_values_survive_and_are_visible():
    wire = {
        "status": "INDEX_JOB_STATUS_ARCHIVED",
        "phase": "NEW",
        "total_items_indexed": "3",
        "data_source_jobs": [{"status": "DATA_SOURCE_STATUS_QUEUED", "more": [1]}],
    }
    job = IndexingJob.from_wire(wire)
    assert job.to_wire() == wire
    assert job.extra == {"total_items_indexed": "3"}
    assert job.data_source_jobs[0].extra == {"more": [1]}
    assert (job.status.is_known, job.status.name, job.status.is_terminal) == (
        False,
        "ARCHIVED",
        False,
    )
    assert (
        job.status == IndexingJobStatus("INDEX_JOB_STATUS_ARCHIVED") == "INDEX_JOB_STATUS_ARCHIVED"
    )
    assert repr(job.status) == "IndexingJobStatus('INDEX_JOB_STATUS_ARCHIVED')"
    assert "extra={'total_items_indexed': '3'}" in repr(job)


def test_frozen_equal_hashable_copied_pickled():
    job = IndexingJob.from_wire(JOB_FIELDS | {"new": 1, "status": "NEW"})
    with pytest.raises(AttributeError):
        job.uuid = "x"
    for other in (
        copy.deepcopy(job),
        pickle.loads(pickle.dumps(job)),
        IndexingJob.from_wire(job.to_wire()),
    ):
        assert other == job
        assert hash(other) == hash(job)
    assert repr(IndexingJob(uuid="u", tokens=3)) == "IndexingJob(uuid='u', tokens=3)"


COUNTS = [
    -1,
    "-1",
    "1e3",
    2**64,
    str(2**64),
    1.0,
    1.5,
    True,
    False,
    " 5",
    "5 ",
    "0x1",
    "٣",
    "+1",
    [],
    {},
    "1" * 5000,
]


@pytest.mark.parametrize("bad", COUNTS, ids=lambda bad: repr(bad)[:12])
def test_a_count_that_is_none_is_named(bad):
    with pytest.raises(DecodeError) as error:
        IndexingJob.from_wire({"data_source_jobs": [{}, {"failed_item_count": bad}]})
    assert error.value.path == "$.data_source_jobs[1].failed_item_count"
    assert len(str(error.value)) < 250
    with pytest.raises(DecodeError, match=r"\$\.tokens"):
        IndexingJob.from_wire({"tokens": bad})


def test_int64_ends_earlier_and_both_spellings_are_read():
    with pytest.raises(DecodeError):
        IndexingJob.from_wire({"tokens": 2**63})
    assert IndexingJob.from_wire({"tokens": "5", "total_tokens": 5}) == IndexingJob(
        tokens=5, total_tokens=5
    )


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "2025-10-31",
            "2025-10-31T01:08:33",
            "2025-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "yesterday",
            "now\n",
        ),
        *(
            "2025-10-31T01:08:33Z\n",
            "2025-10-31T01:08:33+99:99",
            "2025-10-31T24:00:01Z",
            "9999-12-31T23:59:60Z",
            5,
            True,
        ),
    ],
)
def test_a_time_that_is_none_is_named(bad):
    with pytest.raises(DecodeError) as error:
        IndexingJob.from_wire({"created_at": bad})
    assert error.value.path == "$.created_at"


@pytest.mark.parametrize(
    ("text", "moment", "written"),
    [
        (
            "2025-10-31T01:08:33Z",
            datetime(2025, 10, 31, 1, 8, 33, tzinfo=UTC),
            "2025-10-31T01:08:33Z",
        ),
        (
            "2025-10-31t01:08:33.5z",
            datetime(2025, 10, 31, 1, 8, 33, 500000, tzinfo=UTC),
            "2025-10-31T01:08:33.500Z",
        ),
        (
            "2025-10-31T01:08:33.123456789Z",
            datetime(2025, 10, 31, 1, 8, 33, 123456, tzinfo=UTC),
            None,
        ),
        (
            "2025-10-31T01:08:33+00:00",
            datetime(2025, 10, 31, 1, 8, 33, tzinfo=UTC),
            "2025-10-31T01:08:33Z",
        ),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC), "2017-01-01T00:00:00Z"),
        (
            "2025-10-31T01:08:33.000001-02:30",
            datetime(2025, 10, 31, 1, 8, 33, 1, tzinfo=timezone(timedelta(hours=-2.5))),
            "2025-10-31T01:08:33.000001-02:30",
        ),
    ],
)
def test_any_rfc_3339_time_is_read(text, moment, written):
    job = IndexingJob.from_wire({"created_at": text})
    assert job.created_at == moment
    assert job.created_at.utcoffset() is not None
    assert job.to_wire()["created_at"] == (written or "2025-10-31T01:08:33.123456Z")


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        ([], "$"),
        ({"uuid": 5}, "$.uuid"),
        ({"status": 3}, "$.status"),
        ({"is_report_available": "true"}, "$.is_report_available"),
        ({"data_source_uuids": "a"}, "$.data_source_uuids"),
        ({"data_source_uuids": ["a", 1]}, "$.data_source_uuids[1]"),
        ({"data_source_jobs": {}}, "$.data_source_jobs"),
        ({"data_source_jobs": [{}, []]}, "$.data_source_jobs[1]"),
    ],
)
def test_a_wrong_type_is_named(wire, path):
    with pytest.raises(DecodeError) as error:
        IndexingJob.from_wire(wire)
    assert error.value.path == path


@pytest.mark.parametrize("bad", ["abc", "0.5", True, [], float("nan"), float("inf"), 10**400])
def test_a_number_that_is_none_is_named(bad):
    assert ChunkingOptions.from_wire({"semantic_threshold": 1}).semantic_threshold == 1.0
    with pytest.raises(DecodeError, match=r"\$\.semantic_threshold: a number was expected"):
        ChunkingOptions.from_wire({"semantic_threshold": bad})


def test_pages():
    page = IndexingJobPage.from_wire(
        {
            "jobs": [LIVE],
            "links": {"pages": {"next": "https://elsewhere.example/x?per_page=2&page=3"}},
            "meta": {"page": 2, "pages": 3, "total": "5"},
        }
    )
    assert (page.page, page.pages, page.total, page.next, page.jobs[0].is_terminal) == (
        2,
        3,
        5,
        3,
        True,
    )
    assert IndexingJobPage.from_wire({"jobs": None, "links": None}) == IndexingJobPage()
    for wire, path in (
        ({"jobs": [{"uuid": 1}]}, "$.jobs[0].uuid"),
        ({"links": {"pages": {"next": "?per_page=3"}}}, "$.links.pages.next"),
        ({"meta": {"total": -1}}, "$.meta.total"),
    ):
        with pytest.raises(DecodeError) as error:
            IndexingJobPage.from_wire(wire)
        assert error.value.path == path


STATUSES = [
    "UNKNOWN",
    "PARTIAL",
    "IN_PROGRESS",
    "COMPLETED",
    "FAILED",
    "NO_CHANGES",
    "PENDING",
    "CANCELLED",
]
PHASES = ["UNKNOWN", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "ERROR", "CANCELLED"]
SOURCE_STATUSES = [
    "UNKNOWN",
    "IN_PROGRESS",
    "UPDATED",
    "PARTIALLY_UPDATED",
    "NOT_UPDATED",
    "FAILED",
    "CANCELLED",
]


@pytest.mark.parametrize(
    ("enum", "prefix", "names"),
    [
        (IndexingJobStatus, "INDEX_JOB_STATUS_", STATUSES),
        (IndexingJobPhase, "BATCH_JOB_PHASE_", PHASES),
        (DataSourceStatus, "DATA_SOURCE_STATUS_", SOURCE_STATUSES),
    ],
)
def test_enums_are_those_of_the_reference(enum, prefix, names):
    assert [(member.name, member.value) for member in enum] == [
        (name, prefix + name) for name in names
    ]
    for member in enum:
        assert member.is_known
        assert repr(member) == f"{enum.__name__}.{member.name}"
        short = member.name.lower().replace("_", "-")
        assert {enum.parse(form) for form in (member, member.value, member.name, short)} == {member}


def test_ends():
    ends = {"PARTIAL", "COMPLETED", "FAILED", "NO_CHANGES", "CANCELLED"}
    assert {status.name for status in IndexingJobStatus if status.is_terminal} == ends
    assert {phase.name for phase in IndexingJobPhase if phase.is_terminal} == {
        "SUCCEEDED",
        "FAILED",
        "ERROR",
        "CANCELLED",
    }
    assert IndexingJob(phase=IndexingJobPhase.ERROR).is_terminal
    assert IndexingJob(status=IndexingJobStatus.PARTIAL).is_terminal


@pytest.mark.parametrize(
    ("enum", "wrong", "near"),
    [
        (IndexingJobPhase, "BATCH_JOB_PHASE_COMPLETED", "SUCCEEDED"),
        (IndexingJobStatus, "INDEX_JOB_STATUS_RUNNING", "IN_PROGRESS"),
        (DataSourceStatus, "DATA_SOURCE_STATUS_COMPLETED", "UPDATED"),
        (IndexingJobStatus, "COMPLETD", "COMPLETED"),
        (IndexingJobStatus, "RUNING", "IN_PROGRESS"),
        (IndexingJobStatus, "INDEX_JOB_STATUS_PARTIALLY_COMPLETED", "PARTIAL"),
        (IndexingJobStatus, IndexingJobPhase.SUCCEEDED, "COMPLETED"),
    ],
)
def test_parse_names_the_valid_and_the_nearest(enum, wrong, near):
    with pytest.raises(ValueError, match=f"did you mean {near}.*Valid: UNKNOWN, "):
        enum.parse(wrong)


def test_parse_of_nonsense():
    for wrong in (None, 3, "zzz", IndexingJobPhase.FAILED):
        with pytest.raises(ValueError, match="is no IndexingJobStatus"):
            IndexingJobStatus.parse(wrong)
    with pytest.raises(ValueError, match="is not a valid"):
        IndexingJobStatus(3)
    assert IndexingJobStatus.nearest("INDEX_JOB_STATUS_FAILED") is IndexingJobStatus.FAILED


uint64 = st.integers(0, 2**64 - 1)
times = st.none() | st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(minutes=330))]),
)
text = st.text(max_size=8)
extras = st.dictionaries(
    st.text("xyz", min_size=1), st.integers() | st.none() | st.text(), max_size=2
)
data_sources = st.builds(
    IndexedDataSource,
    data_source_uuid=text,
    status=st.sampled_from(DataSourceStatus)
    | st.builds(DataSourceStatus, st.text("NEW", min_size=1)),
    started_at=times,
    completed_at=times,
    error_msg=text,
    extra=extras,
    **dict.fromkeys(
        (name for name in SOURCE_FIELDS if name.endswith(("count", "bytes", "indexed"))), uint64
    ),
)
jobs = st.builds(
    IndexingJob,
    uuid=text,
    status=st.sampled_from(IndexingJobStatus)
    | st.builds(IndexingJobStatus, st.text("NEW", min_size=1)),
    phase=st.sampled_from(IndexingJobPhase),
    created_at=times,
    total_tokens=uint64,
    tokens=st.integers(0, 2**63 - 1),
    is_report_available=st.booleans(),
    data_source_uuids=st.lists(text, max_size=2).map(tuple),
    data_source_jobs=st.lists(data_sources, max_size=2).map(tuple),
    extra=extras,
)


@given(jobs)
def test_any_job_survives_the_wire(job):
    wire = json.loads(json.dumps(job.to_wire()))
    assert IndexingJob.from_wire(wire) == job
    assert IndexingJob.from_wire(wire).to_wire() == wire
