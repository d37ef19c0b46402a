"""The code under test: it waits for an indexing job and says in a sentence how it ended."""

import time

import requests

API = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
ENDS = {"COMPLETED", "NO_CHANGES", "PARTIAL", "FAILED", "CANCELLED"}


def wait_for_job(uuid, token, poll_interval=5.0, timeout=3600.0):
    """The job's JSON once it has ended, whatever its outcome."""
    deadline = time.monotonic() + timeout
    while True:
        response = requests.get(
            f"{API}/{uuid}", headers={"Authorization": f"Bearer {token}"}, timeout=10
        )
        response.raise_for_status()
        job = response.json()["job"]
        if status(job) in ENDS:
            return job
        if time.monotonic() > deadline:
            raise TimeoutError(f"job {uuid} is still {status(job)}")
        time.sleep(poll_interval)


def status(job):
    """The status without its prefix."""
    return job.get("status", "INDEX_JOB_STATUS_UNKNOWN").removeprefix("INDEX_JOB_STATUS_")


def summary(job):
    """How the job ended, in a sentence."""
    failed = sum(
        int(source.get("failed_item_count", "0")) for source in job.get("data_source_jobs", [])
    )
    return f"{status(job)}: {failed} failed"
