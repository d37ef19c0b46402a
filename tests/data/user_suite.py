"""A user's suite: run in an empty folder with only the built wheel installed."""

import asyncio

import aiohttp
import gradient
import httpx
import pytest
import requests

from pytest_indexjob import assert_counts, assert_finished, assert_status

pytestmark = pytest.mark.indexjob_cassette("completed")
API = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"


def ended(answer):
    return answer["job"].get("status") == "INDEX_JOB_STATUS_COMPLETED"


def check(job):
    assert_status(job, "COMPLETED")
    assert_finished(job)
    assert_counts(job, indexed_items=1, skipped_items=2, failed_items=0)


def test_requests(indexjob_cassette):
    with requests.Session() as session:
        while not ended(answer := session.get(f"{API}/{indexjob_cassette.job_uuid}").json()):
            pass
    check(answer)


def test_httpx(indexjob_cassette):
    with httpx.Client() as client:
        while not ended((answer := client.get(f"{API}/{indexjob_cassette.job_uuid}")).json()):
            pass
    check(answer)


def test_aiohttp(indexjob_cassette):
    async def poll():
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{API}/{indexjob_cassette.job_uuid}") as response:
                    answer = await response.json()
                if ended(answer):
                    return answer

    check(asyncio.run(poll()))


def test_gradient(indexjob_cassette):
    client = gradient.Gradient(access_token="any")
    check(
        client.knowledge_bases.indexing_jobs.wait_for_completion(
            indexjob_cassette.job_uuid, poll_interval=0
        )
    )


def test_gradient_async(indexjob_cassette):
    async def wait():
        async with gradient.AsyncGradient(access_token="any") as client:
            jobs = client.knowledge_bases.indexing_jobs
            return await jobs.wait_for_completion(indexjob_cassette.job_uuid, poll_interval=0)

    check(asyncio.run(wait()))


def test_own_client(indexjob_client, indexjob_cassette):
    check(indexjob_client.wait(indexjob_cassette.job_uuid))
