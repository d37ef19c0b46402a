"""A service's nightly step: index the knowledge base again, and tell how that ended."""

import time

import requests

API = "https://api.digitalocean.com/v2/gen-ai"
FAILED = {"INDEX_JOB_STATUS_FAILED", "INDEX_JOB_STATUS_CANCELLED"}
DONE = {"INDEX_JOB_STATUS_COMPLETED", "INDEX_JOB_STATUS_NO_CHANGES", "INDEX_JOB_STATUS_PARTIAL"}


class Catalogue:
    def __init__(self, token, *, attempts=5):
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.attempts = attempts

    def call(self, method, path, **options):
        for attempt in range(self.attempts):
            answer = self.session.request(method, f"{API}{path}", timeout=30, **options)
            if answer.status_code == 429 or answer.status_code >= 500:
                time.sleep(2**attempt)
                continue
            answer.raise_for_status()
            return answer.json()
        raise TimeoutError(f"no answer after {self.attempts} attempts")

    def index(self, knowledge_base, *, limit=3600):
        job = self.call("POST", "/indexing_jobs", json={"knowledge_base_uuid": knowledge_base})
        uuid, deadline = job["job"]["uuid"], time.monotonic() + limit
        while time.monotonic() < deadline:
            job = self.call("GET", f"/indexing_jobs/{uuid}")["job"]
            status = job.get("status", "")
            if status in FAILED:
                raise RuntimeError(status)
            if status in DONE:
                sources = job.get("data_source_jobs", [])
                return sum(int(source.get("failed_item_count", 0)) for source in sources)
            time.sleep(15)
        raise TimeoutError(f"the job {uuid} still runs after {limit} seconds")
