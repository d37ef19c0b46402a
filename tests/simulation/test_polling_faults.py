"""What goes wrong in code that polls, each seen in public code: a scenario catches it, and the
message tells why."""

from __future__ import annotations

import textwrap

import pytest

HEAD = """
import time
from datetime import datetime
import pytest, requests
from pytest_indexjob import assert_counts, assert_finished, assert_status
BASE = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"

def get(uuid):
    return requests.get(BASE + uuid, headers={"Authorization": "Bearer any"}, timeout=9).json()

"""

FAULTS = {
    "waits for COMPLETED alone": (
        """
        def wait(uuid):
            while get(uuid)["job"]["status"] != "INDEX_JOB_STATUS_COMPLETED":
                time.sleep(5)

        def test_it(indexjob_simulator, indexjob_clock):
            wait(indexjob_simulator.start("no-changes").uuid)
        """,
        (
            "the job ended as NO_CHANGES and was polled * more times: the code under test does not"
            " treat NO_CHANGES as an end"
        ),
    ),
    "checks its time-out only where there is a phase (the official client)": (
        """
        import gradient

        def test_it(indexjob_simulator, indexjob_clock):
            client = gradient.Gradient(access_token="any")
            job = indexjob_simulator.start("missing-phase")
            client.knowledge_bases.indexing_jobs.wait_for_completion(job.uuid, timeout=60)
        """,
        (
            "the answers hold no phase: code that checks its time-out only where there is a phase"
            " never stops"
        ),
    ),
    "takes phase SUCCEEDED for success (the official client)": (
        """
        import gradient

        def test_it(indexjob_simulator, indexjob_clock):
            client = gradient.Gradient(access_token="any")
            job = indexjob_simulator.start("partial")
            ended = client.knowledge_bases.indexing_jobs.wait_for_completion(job.uuid)
            assert_status(ended, "COMPLETED")
        """,
        "expected status COMPLETED, not PARTIAL",
    ),
    "compares counts as strings": (
        """
        def is_too_many(source):
            return source["failed_item_count"] > "9"

        def test_it(indexjob_simulator, indexjob_clock):
            job = indexjob_simulator.start("partial", failed_items=10)
            indexjob_clock.advance(400)
            read = get(job.uuid)["job"]
            assert_counts(read, failed_items=10)
            assert is_too_many(read["data_source_jobs"][0]), "10 failed files were not too many"
        """,
        "10 failed files were not too many",
    ),
    "expects a string where a count is": (
        """
        def test_it(indexjob_simulator, indexjob_clock):
            job = indexjob_simulator.start("partial", failed_items=10)
            indexjob_clock.advance(400)
            assert_counts(get(job.uuid), failed_items="10")
        """,
        "a count is an int here, so expect a number, not the string '10'",
    ),
    "reads another wrapper": (
        """
        def wait(uuid):
            while get(uuid).get("indexing_job", {}).get("status") != "INDEX_JOB_STATUS_COMPLETED":
                time.sleep(5)

        def test_it(indexjob_simulator, indexjob_clock):
            wait(indexjob_simulator.start("completed").uuid)
        """,
        "the job ended as COMPLETED * does not read `job.status` and `job.phase`",
    ),
    "is tested with a value that is never sent": (
        """
        def test_it(indexjob_client, indexjob_simulator):
            job = indexjob_client.wait(indexjob_simulator.start().uuid)
            assert job.phase == "BATCH_JOB_PHASE_COMPLETED"
        """,
        "the service never sends 'BATCH_JOB_PHASE_COMPLETED'; did you mean *SUCCEEDED",
    ),
    "takes the end for indexed == total": (
        """
        def wait(uuid):
            while True:
                sources = get(uuid)["job"].get("data_source_jobs", [])
                if sources and all(
                    s.get("indexed_file_count") == s["total_file_count"] for s in sources
                ):
                    return
                time.sleep(5)

        def test_it(indexjob_simulator, indexjob_clock):
            wait(indexjob_simulator.start("completed-with-skips").uuid)
        """,
        "the job ended as COMPLETED and was polled * more times",
    ),
    "takes indexed == total for the end": (
        """
        def wait(uuid):
            while True:
                job = get(uuid)["job"]
                sources = job.get("data_source_jobs", [])
                if sources and all(
                    s.get("indexed_file_count") == s["total_file_count"] for s in sources
                ):
                    return job
                time.sleep(5)

        def test_it(indexjob_simulator, indexjob_clock):
            assert_finished(wait(indexjob_simulator.start("early-final-counts").uuid))
        """,
        "expected a job that has ended (*), not status IN_PROGRESS, phase RUNNING",
    ),
    "falls through at its own time-out": (
        """
        def wait(uuid, timeout=60):
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                job = get(uuid)["job"]
                if job["status"] == "INDEX_JOB_STATUS_COMPLETED":
                    break
                time.sleep(5)
            return job

        def test_it(indexjob_simulator, indexjob_clock):
            assert_finished(wait(indexjob_simulator.start("completed").uuid))
        """,
        "expected a job that has ended (*), not status IN_PROGRESS",
    ),
    "ignores CANCELLED": (
        """
        def wait(uuid):
            ends = ("INDEX_JOB_STATUS_COMPLETED", "INDEX_JOB_STATUS_FAILED")
            while get(uuid)["job"]["status"] not in ends:
                time.sleep(5)

        def test_it(indexjob_simulator, indexjob_clock):
            wait(indexjob_simulator.start("cancelled").uuid)
        """,
        "does not treat CANCELLED as an end",
    ),
    "parses times by a fixed format": (
        """
        def test_it(indexjob_simulator):
            job = get(indexjob_simulator.start("fractional-timestamps").uuid)["job"]
            datetime.strptime(job["created_at"], "%Y-%m-%dT%H:%M:%SZ")
        """,
        "ValueError: time data '2025-10-31T01:08:33.123456789Z' does not match format",
    ),
}


@pytest.mark.parametrize(("poller", "told"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_caught_and_told(pytester, poller, told):
    pytester.makeini("[pytest]\nindexjob_max_polls = 150\n")
    pytester.makepyfile(HEAD + textwrap.dedent(poller))
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{told.replace('[', '[[]')}*"])
