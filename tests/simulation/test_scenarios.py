"""Scenarios: the catalogue, overrides, scenarios of one's own."""

from __future__ import annotations

import itertools

import pytest

from pytest_indexjob import (
    CassetteNotFoundError,
    DataSourceStatus,
    IndexedDataSource,
    Scenario,
    Simulator,
    Step,
    assert_counts,
    assert_transitions,
    scenarios,
)
from pytest_indexjob.recording.library import open_cassettes, shipped_folder

ENDS = {
    "completed": ("COMPLETED", "SUCCEEDED"),
    "completed-with-skips": ("COMPLETED", "SUCCEEDED"),
    "no-changes": ("NO_CHANGES", "SUCCEEDED"),
    "partial": ("PARTIAL", "SUCCEEDED"),
    "failed": ("FAILED", "FAILED"),
    "error": ("FAILED", "ERROR"),
    "cancelled": ("CANCELLED", "CANCELLED"),
}


def test_outcomes_are_all_the_ends_with_readable_ids(pytester):
    assert {each.name: (each.status.name, each.phase.name) for each in scenarios.outcomes()} == ENDS
    pytester.makepyfile(
        "import pytest\nfrom pytest_indexjob import faults, scenarios\n"
        "@pytest.mark.parametrize('scenario', scenarios.outcomes())\ndef test_it(scenario): pass\n"
        "@pytest.mark.parametrize('fault', faults.all())\ndef test_fault(fault): pass\n"
    )
    result = pytester.runpytest("-v", "-p", "no:cacheprovider")
    for line in ("*test_it[[]completed-with-skips]*", "*test_fault[[]rate-limit]*"):
        result.stdout.fnmatch_lines([line])


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_is_a_life(name):
    scenario = scenarios.get(name)
    assert scenario.summary
    assert str(scenario) == name
    assert scenario.steps[0].at == 0
    assert scenario == scenarios.get(name)


def test_overrides_are_what_the_job_then_says():
    scenario = scenarios.get(
        "partial",
        files=10,
        failed_items=2,
        skipped_items=3,
        removed_items=4,
        data_sources=3,
        duration=60,
        total_bytes=7,
    )
    sources = scenario.steps[-1].data_sources
    total = {
        name: sum(getattr(each, name) for each in sources)
        for name in vars(sources[0])
        if name.endswith("count")
    }
    assert total == {
        "total_file_count": 10,
        "indexed_file_count": 5,
        "indexed_item_count": 5,
        "failed_item_count": 2,
        "skipped_item_count": 3,
        "removed_item_count": 4,
    }
    assert (len(sources), scenario.duration, sum(each.total_bytes for each in sources)) == (
        3,
        60,
        7,
    )


def test_files_that_nobody_chose_make_room():
    sources = scenarios.get("partial", failed_items=30).steps[-1].data_sources
    assert (sources[0].failed_item_count, sources[0].total_file_count) == (30, 31)


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("partial", {"files": 3, "failed_items": 9}, "failed_items=9.*more than files=3"),
        ("completed", {"failed_items": 1}, "COMPLETED has no failed_items"),
        ("partial", {"failed_items": 0}, "failed_items or skipped_items"),
        ("failed", {"files": 5, "failed_items": 2}, "no file is indexed in this scenario"),
        ("completed", {"duration": -1}, "duration must be .* above 0, not -1"),
        ("completed", {"duration": float("inf")}, "duration"),
        ("completed", {"files": -1}, "files must be a whole number"),
        ("completed", {"files": 2.5}, "files must be a whole number"),
        ("completed", {"files": True}, "files must be a whole number"),
        ("completed", {"files": "3"}, "files must be a number, not '3'"),
        ("completed", {"files": [3]}, "files must be a number"),
        ("completed", {"files": 2**64}, "files"),
        ("completed", {"data_sources": 0}, "data_sources must be a whole number of 1 or more"),
        ("partil", {}, "Did you mean partial"),
        ("nothing like it at all", {}, "There are: completed"),
    ],
)
def test_what_makes_no_sense_is_named(name, overrides, told):
    with pytest.raises(ValueError, match=told):
        scenarios.get(name, **overrides)


def test_an_unknown_override_is_named():
    for wrong, near in (("file", "files"), ("failed", "failed_items"), ("durations", "duration")):
        with pytest.raises(
            TypeError, match=rf"'{wrong}' can't be overridden \(did you mean {near}\?\)"
        ):
            scenarios.get("completed", **{wrong: 3})
    mine = Scenario(name="mine", steps=[Step(at=0, status="PENDING", phase="PENDING")])
    with pytest.raises(TypeError, match="write files into the steps"):
        Simulator().start(mine, files=3)


def test_the_largest_counts_stay_exact():
    sources = scenarios.get("completed", files=2**64 - 1).steps[-1].data_sources
    assert sources[0].indexed_item_count == 2**64 - 1
    huge = scenarios.get("string-counts-at-uint64-max").steps[-1].data_sources[0]
    assert huge.to_wire()["total_bytes"] == "18446744073709551615"


def test_a_scenario_of_ones_own():
    source = IndexedDataSource(status="DATA_SOURCE_STATUS_UPDATED", total_file_count=2)
    mine = Scenario(
        name="mine",
        steps=[
            Step(at=0, status="in-progress", phase="BATCH_JOB_PHASE_RUNNING"),
            Step(at=9, status="INDEX_JOB_STATUS_NEW", phase="SUCCEEDED", data_sources=[source]),
        ],
    )
    assert mine.steps[1].data_sources[0].status is DataSourceStatus.UPDATED
    assert not mine.status.is_known
    simulator = Simulator()
    job = simulator.start(mine)
    simulator.clock.advance(9)
    assert simulator.job(job.uuid).status.value == "INDEX_JOB_STATUS_NEW"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "the first step of the scenario .* must have at=0"),
        ([(5, "PENDING", "PENDING")], "the first step of the scenario .* must have at=0"),
        ([(0, "PENDING", "PENDING"), (0, "IN_PROGRESS", "RUNNING")], "forwards in time"),
        (
            [
                (0, "PENDING", "PENDING"),
                (9, "IN_PROGRESS", "RUNNING"),
                (5, "COMPLETED", "SUCCEEDED"),
            ],
            "forwards",
        ),
        (
            [(0, "COMPLETED", "SUCCEEDED"), (9, "IN_PROGRESS", "RUNNING")],
            "a job that has ended stays so",
        ),
        ([(-1, "PENDING", "PENDING")], "0 or more seconds"),
        ([(float("nan"), "PENDING", "PENDING")], "0 or more seconds"),
        ([(0, "DONE", "PENDING")], "'DONE' is no IndexingJobStatus"),
    ],
)
def test_a_life_that_no_job_has_is_refused(steps, told):
    with pytest.raises(ValueError, match=told):
        Scenario(
            name="mine",
            steps=[Step(at=at, status=status, phase=phase) for at, status, phase in steps],
        )


def test_a_recording_makes_a_scenario():
    path = shipped_folder() / "completed.yaml"
    for cassette in (path, str(path), "completed", open_cassettes(["completed"], path.parent)):
        scenario = Scenario.from_cassette(cassette)
        assert (scenario.name, scenario.status.name, scenario.duration) == (
            "completed",
            "COMPLETED",
            60.0,
        )
        assert scenario.steps[-1].data_sources[0].skipped_item_count == 2
    with pytest.raises(ValueError, match="no poll of a job"):
        Scenario.from_cassette(shipped_folder() / "not-found.yaml")
    with pytest.raises(CassetteNotFoundError, match=r"no file has that path.* Shipped: cancel, "):
        Scenario.from_cassette("tests/cassettes/mine.yaml")


def test_a_test_runs_once_for_each_outcome(pytester):
    pytester.makepyfile("""
        def test_it(indexjob_outcome, indexjob_client, indexjob_simulator):
            job = indexjob_client.wait(indexjob_simulator.start(indexjob_outcome).uuid)
            assert (job.status, job.phase) == (indexjob_outcome.status, indexjob_outcome.phase)
    """)
    result = pytester.runpytest("-v", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=len(ENDS))
    result.stdout.fnmatch_lines(["*test_it[[]no-changes]*"])


@pytest.mark.parametrize("name", ["files", "total_files", "data_sources", "total_data_sources"])
def test_a_count_has_the_same_names_where_a_job_starts_and_where_it_is_asserted(name):
    simulator = Simulator()
    job = simulator.start("completed", **{name: 4})
    simulator.clock.advance(1000)
    assert_counts(simulator.job(job.uuid), **{name: 4})


def test_two_names_of_one_count_are_not_both_given():
    with pytest.raises(TypeError, match="total_files and files are the same"):
        scenarios.get("completed", files=1, total_files=1)


def test_what_a_test_says_of_the_job():
    life = scenarios.get(
        "partial", tokens=7, total_tokens=2**64 - 1, queued=30, error_msg="QUOTA", duration=100
    )
    first, *_, last = life.steps
    assert (first.at, first.status.name, first.phase.name) == (0, "PENDING", "PENDING")
    assert life.duration == 130
    assert last.extra == {"tokens": 7, "total_tokens": str(2**64 - 1)}
    assert {source.error_msg for source in last.data_sources} == {"QUOTA"}
    assert all(step.extra == {} for step in life.steps[:-1])


@pytest.mark.parametrize(
    ("name", "told", "message"),
    [
        ("completed", {"error_msg": "x"}, "no data source failed"),
        ("partial", {"error_msg": 3}, "error_msg must be a text"),
        ("completed", {"tokens": -1}, "tokens must be a whole number"),
        ("completed", {"queued": 0}, "queued must be a number of seconds above 0"),
    ],
)
def test_what_can_not_be_said_of_the_job(name, told, message):
    with pytest.raises(ValueError, match=message):
        scenarios.get(name, **told)


def test_a_job_may_be_taken_back_after_an_end():
    simulator = Simulator()
    uuid = simulator.start("taken-back").uuid
    polls = []
    for _ in range(100):
        polls.append(simulator.job(uuid))
        simulator.clock.advance(5)
    life = [status.name for status, _ in itertools.groupby(job.status for job in polls)]
    assert life == ["IN_PROGRESS", "FAILED", "IN_PROGRESS", "COMPLETED"]
    assert [bool(job.finished_at) for job in polls] == [job.is_terminal for job in polls]
    failed = next(job for job in polls if job.status.name == "FAILED")
    assert failed.failed_item_count == failed.total_file_count
    assert polls[-1].finished_at > failed.finished_at
    assert polls[-1].data_source_jobs[0].completed_at > failed.finished_at
    with pytest.raises(AssertionError, match="IN_PROGRESS after the end, FAILED"):
        assert_transitions(polls, [..., "COMPLETED"])


def test_a_scenario_of_ones_own_may_be_taken_back():
    steps = [
        Step(at=0, status="COMPLETED", phase="SUCCEEDED"),
        Step(at=9, status="IN_PROGRESS", phase="RUNNING"),
    ]
    with pytest.raises(ValueError, match="stays so, unless taken_back=True"):
        Scenario(name="mine", steps=steps)
    assert Scenario(name="mine", steps=steps, taken_back=True).duration is None


def test_each_data_source_has_its_own_end_and_counts():
    ends = (
        {"status": "UPDATED", "files": 40},
        {"status": "FAILED", "total_files": 3, "error_msg": "QUOTA", "error_details": "no space"},
        {"status": "PARTIALLY_UPDATED", "files": 9, "failed_items": 2, "skipped_items": 3},
        "NOT_UPDATED",
    )
    life = scenarios.get("partial", ends=ends)
    updated, failed, partly, unchanged = life.steps[-1].data_sources
    assert (updated.total_file_count, updated.indexed_item_count) == (40, 40)
    assert (failed.failed_item_count, failed.error_msg, failed.error_details) == (
        3,
        "QUOTA",
        "no space",
    )
    assert (partly.indexed_item_count, partly.failed_item_count, partly.skipped_item_count) == (
        4,
        2,
        3,
    )
    assert unchanged.skipped_item_count == unchanged.total_file_count
    for step in life.steps[1:]:
        assert [each.total_file_count for each in step.data_sources] == [40, 3, 9, 1]
        assert all(each.indexed_file_count <= each.total_file_count for each in step.data_sources)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"status": "UPDATED", "failed_items": 1}, "can't end UPDATED .* no file of it failed"),
        ({"status": "FAILED", "files": 3, "failed_items": 2}, "no file of it is indexed"),
        ({"status": "PARTIALLY_UPDATED", "files": 1, "failed_items": 2}, "than there are"),
        ({"status": "UPDATED", "files": -1}, "files must be a whole number"),
        ({"files": 1}, "needs a status"),
        ({"status": "FAILED", "error_msg": 1}, "error_msg must be a text"),
        ({"status": "UPDATED", "duration": 1}, "has no 'duration'. It has: status, files"),
    ],
)
def test_an_end_that_can_not_be_is_named(end, told):
    with pytest.raises((ValueError, TypeError), match=told):
        scenarios.get("partial", ends=("FAILED", "UPDATED", end))
    with pytest.raises(TypeError, match="ends must be a list"):
        scenarios.get("partial", ends="FAILED")
