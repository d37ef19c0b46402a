"""Strategies: what they give, how it shrinks, and the project's own code under it."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from contextlib import suppress

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from pytest_indexjob import (
    DataSourceStatus,
    IndexedDataSource,
    IndexingJob,
    IndexingJobClient,
    IndexingJobPhase,
    IndexingJobStatus,
    IndexJobError,
    KnowledgeBase,
    KnowledgeBaseDataSource,
    Scenario,
    Simulator,
    Step,
    VirtualClock,
    WaitTimeoutError,
    assert_consistent,
    assert_status,
    assert_transitions,
    faults,
)
from pytest_indexjob.api import knowledge_bases as parts
from pytest_indexjob.api.calls import JOBS_PATH, KNOWLEDGE_BASES_PATH
from pytest_indexjob.api.schema import json_schema, operation_of
from pytest_indexjob.api.wire import UINT64_MAX
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.strategies import (
    data_sources,
    indexing_jobs,
    knowledge_base_data_sources,
    knowledge_bases,
    lifecycles,
    misbehaviours,
    wire_jobs,
)

# What a test that an example is pasted into imports.
NAMES = {
    **vars(parts),
    "datetime": dt,
    "DataSourceStatus": DataSourceStatus,
    "IndexedDataSource": IndexedDataSource,
    "IndexingJob": IndexingJob,
    "IndexingJobPhase": IndexingJobPhase,
    "IndexingJobStatus": IndexingJobStatus,
    "Scenario": Scenario,
    "Step": Step,
}
ALL = {
    "indexing_jobs": indexing_jobs(),
    "data_sources": data_sources(),
    "wire_jobs": wire_jobs(),
    "lifecycles": lifecycles(),
    "endless lifecycles": lifecycles(endless=True),
    "misbehaviours": misbehaviours(),
    "knowledge_bases": knowledge_bases(),
    "knowledge_base_data_sources": knowledge_base_data_sources(),
}
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Play:
    """A simulator and a client of it, in virtual time."""

    def __init__(self, scenario="completed", **options):
        self.clock = VirtualClock()
        self.journal = Journal()
        self.simulator = Simulator(self.clock, journal=self.journal, requests_per_minute=None)
        interception = Interception(self.journal, self.clock)
        interception.simulate(self.simulator)
        self.client = IndexingJobClient(
            "token", session=interception.session(), clock=self.clock, **options
        )
        self.job = self.simulator.start(scenario)


def smallest(strategy, condition):
    return find(
        strategy, condition, settings=settings(database=None, max_examples=5000, deadline=None)
    )


def some(strategy, condition):
    """Any example of a kind, which is found faster than the smallest."""
    return find(
        strategy,
        condition,
        settings=settings(database=None, max_examples=5000, phases=[Phase.generate]),
    )


# What they give.


@pytest.mark.parametrize("name", ALL)
def test_an_example_is_code_to_paste(name):
    @unhurried
    @given(ALL[name])
    def check(example):
        assert eval(repr(example), dict(NAMES)) == example

    check()


@pytest.mark.slow
def test_what_hypothesis_prints_of_a_failure_is_code_to_paste():
    @settings(database=None, deadline=None, phases=[Phase.generate, Phase.shrink])
    @given(indexing_jobs(), lifecycles(), misbehaviours(), wire_jobs())
    def check(job, life, wrong, wire):
        seen.append((job, life, wrong, wire))
        assert job.failed_item_count < 3

    seen = []
    with pytest.raises(AssertionError) as raised:
        check()
    printed = next(note for note in raised.value.__notes__ if "check(" in note)
    call = printed[printed.index("check(") :]
    pasted = eval(call, NAMES | {"check": lambda **parts: tuple(parts.values())})
    assert pasted in seen
    assert pasted[0] == IndexingJob(data_source_jobs=(IndexedDataSource(failed_item_count=3),))


ONE_SECOND = dt.datetime(2025, 10, 31, 1, 8, 33, tzinfo=dt.UTC)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "example"),
    [
        (lambda job: True, IndexingJob()),
        (lambda job: job.total_bytes > 2**53, {"total_bytes": 2**53 + 1}),
        (lambda job: len(job.data_source_jobs) == 3, [{}, {}, {}]),
        (lambda job: job.created_at is not None, IndexingJob(created_at=ONE_SECOND)),
        (lambda job: job.is_report_available, IndexingJob(is_report_available=True)),
        (lambda job: "costs" in job.extra, IndexingJob(extra={"costs": None})),
        (
            lambda job: job.status is IndexingJobStatus.PARTIAL,
            IndexingJob(status=IndexingJobStatus.PARTIAL, phase=IndexingJobPhase.SUCCEEDED),
        ),
        (
            lambda job: (job.duration or 0) < 0,
            IndexingJob(started_at=ONE_SECOND + dt.timedelta(seconds=1), finished_at=ONE_SECOND),
        ),
    ],
)
def test_a_job_shrinks_to_what_matters(condition, example):
    sources = [example] if isinstance(example, dict) else example
    if isinstance(sources, list):
        example = IndexingJob(
            data_source_jobs=tuple(IndexedDataSource(**fields) for fields in sources)
        )
    assert smallest(indexing_jobs(), condition) == example


@pytest.mark.slow
def test_other_examples_shrink_to_what_matters():
    assert smallest(data_sources(), lambda source: source.error_msg) == IndexedDataSource(
        error_msg="0"
    )
    assert list(smallest(wire_jobs(), lambda wire: "" in wire.values()).values()) == [""]
    assert smallest(
        misbehaviours(), lambda wrong: ("redirect", "list") in [(name, on) for name, _, on in wrong]
    ) == [("redirect", 1, "list")]
    life = smallest(lifecycles(), lambda life: life.status is IndexingJobStatus.PARTIAL)
    assert [step.at for step in life.steps] == [0, 1]
    assert life.steps[1].data_sources[0].total_file_count == 2
    assert len(smallest(lifecycles(endless=True), lambda life: life.duration is None).steps) == 1


MEMBERS = [*IndexingJobStatus, *IndexingJobPhase, *DataSourceStatus]


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_jobs_say_each_value_of_the_contract(member):
    def says(job):
        return member in (
            job.status,
            job.phase,
            *(source.status for source in job.data_source_jobs),
        )

    some(indexing_jobs(), says)
    some(wire_jobs(), lambda wire: says(IndexingJob.from_wire(wire)))


FORMS = {
    "null": lambda wire: wire.get("status", "") is None,
    "empty string": lambda wire: wire.get("status") == "",
    "omitted": lambda wire: "status" not in wire,
    "null for a list": lambda wire: wire.get("data_source_jobs", ()) is None,
    "empty count": lambda wire: wire.get("tokens") == "",
    "unknown field": lambda wire: "embedding_model" in wire,
    "unknown status": lambda wire: wire.get("status") == "INDEX_JOB_STATUS_ARCHIVED",
    "unknown phase": lambda wire: wire.get("phase") == "paused",
    "uint64 limit in a string": lambda wire: wire.get("total_tokens") == str(UINT64_MAX),
    "uint64 limit as a number": lambda wire: wire.get("total_tokens") == UINT64_MAX,
    "int64 in a string": lambda wire: wire.get("tokens") == "0",
    "fraction": lambda wire: "." in (wire.get("created_at") or ""),
    "offset": lambda wire: (wire.get("created_at") or "").endswith("+05:45"),
    "leap second": lambda wire: (wire.get("created_at") or "").endswith(":60Z"),
    "uuid in quotes": lambda wire: (wire.get("uuid") or "").startswith('"'),
    "data sources": lambda wire: len(wire.get("data_source_jobs") or ()) == 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_wire_has_each_form(form):
    some(wire_jobs(), FORMS[form])


def test_without_hypothesis_one_line_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import pytest_indexjob.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == "ImportError: pytest_indexjob.strategies needs Hypothesis: pip install"
        " 'pytest-indexjob[hypothesis]'"
    )
    assert done.stderr.count("Traceback") == 1


# The models.


@unhurried
@given(indexing_jobs())
def test_any_job_goes_over_the_wire_and_back(job):
    wire = json.loads(json.dumps(job.to_wire()))
    assert IndexingJob.from_wire(wire) == job
    assert IndexingJob.from_wire(wire).to_wire() == wire


@unhurried
@given(wire_jobs())
def test_any_form_is_read_and_unknown_fields_are_kept(wire):
    assert json.loads(json.dumps(wire)) == wire
    job = IndexingJob.from_wire(wire)
    again = IndexingJob.from_wire(job.to_wire())
    assert again == job
    assert again.to_wire() == job.to_wire()
    known = set(IndexingJob.kinds())
    assert job.extra == {name: value for name, value in wire.items() if name not in known}
    sources = wire.get("data_source_jobs") or []
    known = set(IndexedDataSource.kinds())
    for source, sent in zip(job.data_source_jobs, sources, strict=True):
        assert source.extra == {name: value for name, value in sent.items() if name not in known}


@unhurried
@given(indexing_jobs())
def test_whatever_a_job_says_assertions_fail_by_assertion_errors_alone(job):
    with suppress(AssertionError):
        assert_consistent(job)


# Knowledge bases.


def validated(path, body):
    """The body as it comes over the wire, held against the shape of the call's answer."""
    wire = json.loads(json.dumps(body))
    jsonschema.validate(wire, json_schema(operation_of("GET", path)))
    return wire


@unhurried
@given(knowledge_bases())
def test_any_knowledge_base_is_valid_and_goes_over_the_wire_and_back(base):
    body = {"knowledge_base": base.to_wire(), "database_status": "ONLINE"}
    wire = validated(f"{KNOWLEDGE_BASES_PATH}/kb", body)["knowledge_base"]
    assert KnowledgeBase.from_wire(wire) == base
    assert "name" not in wire or 3 <= len(wire["name"]) <= 63
    with suppress(AssertionError):
        assert_status(body, "COMPLETED")


@unhurried
@given(st.lists(knowledge_base_data_sources(), max_size=2))
def test_any_data_source_is_valid_and_goes_over_the_wire_and_back(sources):
    body = {"knowledge_base_data_sources": [source.to_wire() for source in sources]}
    wires = validated(f"{KNOWLEDGE_BASES_PATH}/kb/data_sources", body)
    for source, wire in zip(sources, wires["knowledge_base_data_sources"], strict=True):
        assert KnowledgeBaseDataSource.from_wire(wire) == source
        assert [name for name in parts.SOURCE_KINDS if name in wire] == [source.kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", parts.SOURCE_KINDS)
def test_data_sources_are_of_each_kind(kind):
    some(knowledge_base_data_sources(), lambda source: source.kind == kind)


@pytest.mark.slow
def test_the_smallest_data_source_of_a_kind_has_that_and_a_uuid_alone():
    kind = parts.SOURCE_KINDS[-1]
    found = smallest(knowledge_base_data_sources(), lambda source: source.kind == kind)
    fields = {kind: type(getattr(found, kind))()}
    assert found == KnowledgeBaseDataSource(uuid=found.uuid, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("status", [*IndexingJobStatus][1:], ids=repr)
def test_knowledge_bases_have_a_last_job_of_each_status(status):
    some(
        knowledge_bases(),
        lambda base: base.last_indexing_job and base.last_indexing_job.status is status,
    )


@pytest.mark.slow
def test_the_smallest_knowledge_base_with_a_job_has_the_smallest_job():
    found = smallest(knowledge_bases(), lambda base: base.last_indexing_job)
    assert found == KnowledgeBase(
        uuid=found.uuid,
        name=found.name,
        last_indexing_job=IndexingJob(
            status=IndexingJobStatus.PENDING, phase=IndexingJobPhase.PENDING
        ),
    )
    assert smallest(knowledge_bases(), lambda base: True).last_indexing_job is None


# Lives.

PAIRS = [
    ("COMPLETED", "SUCCEEDED"),
    ("NO_CHANGES", "SUCCEEDED"),
    ("PARTIAL", "SUCCEEDED"),
    ("FAILED", "FAILED"),
    ("FAILED", "ERROR"),
    ("CANCELLED", "CANCELLED"),
]


@pytest.mark.parametrize(("status", "phase"), PAIRS)
def test_lives_come_to_each_end(status, phase):
    life = smallest(
        lifecycles(), lambda life: (life.status.name, life.phase.name) == (status, phase)
    )
    assert len(life.steps) == 2


def is_final(source):
    return source.status is not DataSourceStatus.IN_PROGRESS


LIVES = {
    "pending first": lambda life: life.steps[0].status is IndexingJobStatus.PENDING,
    "no data source": lambda life: life.data_source_count == 0,
    "three data sources": lambda life: life.data_source_count == 3,
    "one done before another": lambda life: any(
        len({is_final(source) for source in step.data_sources}) == 2 for step in life.steps
    ),
    "final counts that stand": lambda life: (
        len(life.steps) > 2 and life.steps[-1].data_sources == life.steps[-2].data_sources != ()
    ),
    "counts over 2**53": lambda life: any(
        source.total_file_count > 2**53 for source in life.steps[-1].data_sources
    ),
    "fractions": lambda life: life.fractions,
    "nothing seen before the end": lambda life: (
        len(life.steps) == 2 and life.data_source_count == 1
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIVES)
def test_lives_are_of_each_kind(kind):
    some(lifecycles(), LIVES[kind])


@unhurried
@given(lifecycles(), st.integers(30, 300))
def test_a_life_is_waited_for_to_its_end(life, poll_interval):
    play = Play(life, retries=0)
    polls = []
    job = play.client.wait(play.job.uuid, poll_interval=poll_interval, on_poll=polls.append)
    assert (job.status, job.phase) == (life.status, life.phase)
    assert life.duration <= play.clock.elapsed < life.duration + poll_interval
    for poll in polls:
        assert_consistent(poll)
    assert_transitions(polls, [..., life.status])


@unhurried
@given(lifecycles(endless=True))
def test_a_job_agrees_with_itself_at_every_moment_of_its_life(life):
    play = Play(life, retries=0)
    schema = json_schema(operation_of("GET", f"{JOBS_PATH}/{play.job.uuid}"))
    before = None
    for step in life.steps:
        play.clock.advance(step.at - play.clock.elapsed)
        job = assert_consistent(play.client.get(play.job.uuid))
        assert (job.status, job.phase) == (step.status, step.phase)
        jsonschema.validate(json.loads(play.journal.exchanges[-1].response.body), schema)
        for earlier, later in zip(
            before.data_source_jobs if before else (), job.data_source_jobs, strict=False
        ):
            assert earlier.total_file_count == later.total_file_count
            assert earlier.indexed_item_count <= later.indexed_item_count
            assert earlier.total_bytes_indexed <= later.total_bytes_indexed
        before = job


@unhurried
@given(lifecycles())
def test_the_counts_of_an_end_are_those_of_its_meaning(life):
    sources = life.steps[-1].data_sources
    indexed, failed, skipped, files = (
        sum(getattr(source, name) for source in sources)
        for name in (
            "indexed_item_count",
            "failed_item_count",
            "skipped_item_count",
            "total_file_count",
        )
    )
    if life.status is IndexingJobStatus.COMPLETED:
        assert indexed
        assert indexed + skipped == files
    elif life.status is IndexingJobStatus.NO_CHANGES:
        assert skipped == files
    elif life.status is IndexingJobStatus.PARTIAL:
        assert indexed
        assert failed or skipped
    elif life.status is IndexingJobStatus.FAILED:
        assert not indexed
    assert indexed + failed + skipped <= files


# Misbehaviours.


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.names())
def test_each_fault_is_among_what_goes_wrong(fault):
    assert smallest(misbehaviours(), lambda wrong: fault in [name for name, _, _ in wrong]) == [
        (fault, 1, None)
    ]


def calls_of(client, job):
    yield lambda: client.wait(job.uuid, timeout=900, poll_interval=60)
    yield lambda: client.get(job.uuid)
    yield lambda: list(client.iterate())
    yield lambda: client.list_for_knowledge_base(job.knowledge_base_uuid)
    yield lambda: client.create(job.knowledge_base_uuid)
    yield lambda: client.data_sources(job.uuid)
    yield lambda: client.details_signed_url(job.uuid)
    yield lambda: client.cancel(job.uuid)


@unhurried
@given(misbehaviours(), lifecycles(endless=True), st.integers(0, 3))
def test_the_client_raises_its_own_errors_alone_and_never_hangs(wrong, life, retries):
    play = Play(life, retries=retries)
    for fault, times, on in wrong:
        play.simulator.inject(fault, times=times, on=on)
    for call in calls_of(play.client, play.job):
        with suppress(IndexJobError):
            call()
    assert play.journal.misses == []
    struck = sum(times for _, times, _ in wrong)
    assert (
        len(play.journal) <= 16 + 8 + struck
    )  # the polls of a wait, the other calls, and what was tried again
    assert play.clock.elapsed <= 900 + 60 + 60 * struck


@unhurried
@given(misbehaviours(), lifecycles())
def test_a_caller_that_perseveres_sees_the_end(wrong, life):
    play = Play(life, retries=0)
    for fault, times, on in wrong:
        play.simulator.inject(fault, times=times, on=on)
    for _ in range(5 * len(wrong) + 1):
        try:
            job = play.client.wait(play.job.uuid, poll_interval=300)
        except WaitTimeoutError:
            raise
        except IndexJobError:
            continue
        break
    assert (job.status, job.phase) == (life.status, life.phase)
