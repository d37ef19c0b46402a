"""Remakes the shipped recordings: ``python cassettes/record.py [FOLDER]``.

Each is recorded over HTTP from a loopback server that follows the published contract and what was seen of the live
service; none was recorded from the live service. The same script gives the same bytes on every machine.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from pytest_indexjob.api.client import API_URL, JOBS_PATH, KNOWLEDGE_BASES_PATH, IndexingJobClient
from pytest_indexjob.api.errors import ApiError, DecodeError
from pytest_indexjob.api.models import utc
from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.recording.cassette import Interaction, dump
from pytest_indexjob.simulation.clock import START, VirtualClock

JOB = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
KNOWLEDGE_BASE = "61f7a3de-b5f1-11f0-9c3a-0a58a9feac02"
SOURCE = "70aa91f4-b5f1-11f0-9c3a-0a58a9feac02"
PATH = f"{JOBS_PATH}/{JOB}"
REPORT_URL = f"https://reports.example.com/indexing_jobs/{JOB}.csv?X-Amz-Expires=900&X-Amz-Signature=REDACTED"
METADATA = {
    "recorded_by": "cassettes/record.py",
    "recorded_from": "a loopback server that follows the published contract, not the live service",
}
# Headers that are kept: those that a client of the API can act on.
KEPT = (
    "accept",
    "content-type",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-request-id",
)

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]
Script = dict[tuple[str, str], list[Answer]]


def at(seconds: int) -> str:
    """The time that many seconds after the job was created, as the live service writes it."""
    return utc(START + seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def source(status: str, started: int = 22, **counts: object) -> dict[str, object]:
    """A data source's part, zeros omitted, counts as strings."""
    shown = {name: str(value) if isinstance(value, int) else value for name, value in counts.items() if value}
    return {"data_source_uuid": SOURCE, "started_at": at(started), **shown, "status": f"DATA_SOURCE_STATUS_{status}"}


def job(status: str, phase: str, updated: int, *sources: dict[str, object], **fields: object) -> dict[str, object]:
    """A job's answer."""
    known = {
        "uuid": JOB,
        "knowledge_base_uuid": KNOWLEDGE_BASE,
        "created_at": at(0),
        "updated_at": at(updated),
        "started_at": at(1),
        "phase": f"BATCH_JOB_PHASE_{phase}",
        "total_datasources": 1,
        "status": f"INDEX_JOB_STATUS_{status}",
    }
    listed = {"data_source_jobs": list(sources)} if sources else {}
    return {"job": {**known, **listed, **fields}}


def running(second: int, *sources: dict[str, object]) -> Answer:
    """A poll of a job that goes on."""
    return 200, job("IN_PROGRESS", "RUNNING", second, *sources)


def sparse() -> dict[str, object]:
    """The answer to the call that starts a job, as sparse as the live one."""
    fields = ("uuid", "knowledge_base_uuid", "created_at", "updated_at", "phase", "status")
    whole: Any = job("PENDING", "PENDING", 0)["job"]
    return {"job": {name: whole[name] for name in fields}}


def beginning(files: int, size: int) -> list[Answer]:
    """How every job was seen to begin: no totals at first, then nothing done of all."""
    waiting = {"total_file_count": files, "total_bytes": size}
    return [running(5), running(10), *(running(second, source("IN_PROGRESS", **waiting)) for second in (25, 30, 35))]


def whole_life(status: str, phase: str, source_status: str, files: int = 3, **counts: Any) -> list[Answer]:
    """A job polled every 5 s to its end: counts jump, and stand for three polls before the job turns."""
    size = 6454487
    error = {name: counts.pop(name) for name in ("error_msg", "error_details") if name in counts}
    total = {"total_file_count": files, "total_bytes": size}
    half = source("IN_PROGRESS", **total, indexed_file_count=counts.get("indexed_file_count", 0) // 2)
    final = source(source_status, **total, **counts, **error, completed_at=at(52))
    end: dict[str, object] = {"finished_at": at(65)}
    if phase == "SUCCEEDED":
        end |= {"completed_datasources": 1, "is_report_available": True}
    ended = job(status, phase, 65, final, **end)
    polls = [running(40, half), *(running(second, final) for second in (55, 60, 64)), (200, ended)]
    return [*beginning(files, size), *polls]


def error(status: int, id: str, message: str, **headers: str) -> Answer:
    """An error's answer."""
    return status, {"id": id, "message": message, "request_id": "0f8fad5b-d9cb-469f-a165-70867728950e"}, headers


def finished() -> Answer:
    """The last poll of the completed job."""
    return LIVES["completed"][-1]


LIVES: dict[str, list[Answer]] = {
    "completed": whole_life(
        "COMPLETED", "SUCCEEDED", "UPDATED",
        indexed_file_count=1, indexed_item_count=1, skipped_item_count=2, total_bytes_indexed=4672176,
    ),
    "no-changes": whole_life("NO_CHANGES", "SUCCEEDED", "NOT_UPDATED", skipped_item_count=3),
    "partial": whole_life(
        "PARTIAL", "SUCCEEDED", "PARTIALLY_UPDATED",
        indexed_file_count=2, indexed_item_count=2, failed_item_count=1, total_bytes_indexed=4672176,
        error_msg="FILE_PARSE", error_details="1 of 3 files could not be read",
    ),
    "failed": whole_life(
        "FAILED", "FAILED", "FAILED", failed_item_count=3,
        error_msg="DATA_SOURCE_UNREADABLE", error_details="none of 3 files could be read",
    ),
    "error": whole_life(
        "FAILED", "ERROR", "FAILED", error_msg="INTERNAL", error_details="the indexing batch job stopped",
    ),
    "cancelled": whole_life("CANCELLED", "CANCELLED", "CANCELLED", indexed_file_count=1, indexed_item_count=1),
}  # fmt: skip


def documented() -> dict[str, object]:
    """The example of the published reference."""
    uuid, moment, count = "123e4567-e89b-12d3-a456-426614174000", "2023-01-01T00:00:00Z", "12345"
    counts = ("failed_item", "indexed_file", "indexed_item", "removed_item", "skipped_item", "total_file")
    example: dict[str, object] = {
        "completed_at": moment,
        "data_source_uuid": uuid,
        "error_details": "example string",
        "error_msg": "example string",
        **{f"{name}_count": count for name in counts},
        "started_at": moment,
        "status": "DATA_SOURCE_STATUS_UNKNOWN",
        "total_bytes": count,
        "total_bytes_indexed": count,
    }
    return {
        "job": {
            "completed_datasources": 123,
            "created_at": moment,
            "data_source_jobs": [example],
            "data_source_uuids": ["example string"],
            "finished_at": moment,
            "is_report_available": True,
            "knowledge_base_uuid": uuid,
            "phase": "BATCH_JOB_PHASE_UNKNOWN",
            "started_at": moment,
            "status": "INDEX_JOB_STATUS_UNKNOWN",
            "tokens": 123,
            "total_datasources": 123,
            "total_tokens": count,
            "updated_at": moment,
            "uuid": uuid,
        }
    }


def without(answer: Answer, field: str) -> Answer:
    """An answer whose job lacks a field."""
    return answer[0], {"job": {name: value for name, value in answer[1]["job"].items() if name != field}}


def pages() -> Script:
    """Five jobs on three pages."""
    uuids = [f"5c0e1d5{number}{JOB[8:]}" for number in range(5)]
    jobs = [{**finished()[1]["job"], "uuid": uuid} for uuid in uuids]
    script: Script = {}
    for page in (1, 2, 3):
        query = "per_page=2" if page == 1 else f"page={page}&per_page=2"
        near = {"first": 1, "previous": page - 1, "next": page + 1, "last": 3}
        links = {
            name: f"{API_URL}{JOBS_PATH}?page={number}&per_page=2"
            for name, number in near.items()
            if 1 <= number <= 3 and not (name == "first" and page == 1) and not (name == "last" and page == 3)
        }
        body = {
            "jobs": jobs[2 * page - 2 : 2 * page],
            "links": {"pages": links},
            "meta": {"page": page, "pages": 3, "total": 5},
        }
        script["GET", f"{JOBS_PATH}?{query}"] = [(200, body)]
    return script


def conflict() -> Answer:
    """The refusal of a second job; only its message is known of the live service, status and id are guesses."""
    return error(409, "conflict", "the knowledge base already has an indexing job running")


def stories() -> Iterator[tuple[str, Script, Callable[[IndexingJobClient], object]]]:
    """Each recording's name, what the server says, and what the client asks."""
    get = ("GET", PATH)

    def wait(client: IndexingJobClient) -> object:
        return client.wait(JOB)

    def fetch(client: IndexingJobClient) -> object:
        return client.get(JOB)

    for name, life in LIVES.items():
        yield name, {get: list(life)}, wait
    future = whole_life("ARCHIVED", "ARCHIVED", "ARCHIVED", indexed_file_count=3, indexed_item_count=3)
    example = documented()
    uuid = example["job"]["uuid"]  # type: ignore[index]
    yield "documented-example", {("GET", f"{JOBS_PATH}/{uuid}"): [(200, example)]}, lambda client: client.get(uuid)
    yield "in-progress", {get: [LIVES["completed"][5]]}, fetch
    yield "pending", {get: [(200, sparse())]}, fetch
    yield "future-status", {get: [future[-1]]}, fetch
    yield "missing-job", {get: [(200, {})]}, fetch
    yield "missing-phase", {get: [without(finished(), "phase")]}, fetch
    yield "unauthorized", {get: [error(401, "unauthorized", "Unable to authenticate you")]}, fetch
    yield "not-found", {get: [error(404, "not_found", "The resource you requested could not be found.")]}, fetch
    limited = error(429, "too_many_requests", "API Rate limit exceeded.", **{"retry-after": "2"})
    yield "rate-limited", {get: [limited, finished()]}, fetch
    yield "server-error", {get: [error(500, "server_error", "Unexpected server-side error"), finished()]}, fetch
    yield "list-three-pages", pages(), lambda client: list(client.iterate(per_page=2))
    base = f"{KNOWLEDGE_BASES_PATH}/{KNOWLEDGE_BASE}/indexing_jobs"
    latest = {"jobs": [finished()[1]["job"]], "links": {"pages": {}}, "meta": {"page": 1, "pages": 1, "total": 1}}
    yield "knowledge-base-jobs", {("GET", base): [(200, latest)]}, lambda c: c.list_for_knowledge_base(KNOWLEDGE_BASE)
    sources = {"indexed_data_sources": finished()[1]["job"]["data_source_jobs"]}
    yield "data-sources", {("GET", f"{PATH}/data_sources"): [(200, sources)]}, lambda client: client.data_sources(JOB)
    report = {("GET", f"{PATH}/details_signed_url"): [(200, {"signed_url": REPORT_URL})]}
    yield "report-url", report, lambda client: client.details_signed_url(JOB)
    post = ("POST", JOBS_PATH)
    yield "create", {post: [(200, sparse())]}, lambda client: client.create(KNOWLEDGE_BASE)
    yield "create-conflict", {post: [(200, sparse()), conflict()]}, create_twice
    cancelled = LIVES["cancelled"]
    put = ("PUT", f"{PATH}/cancel")
    yield "cancel", {put: [cancelled[5]], get: [cancelled[5], cancelled[-1]]}, lambda c: (c.cancel(JOB), c.wait(JOB))


def create_twice(client: IndexingJobClient) -> None:
    """Start a job where one runs already."""
    client.create(KNOWLEDGE_BASE)
    client.create(KNOWLEDGE_BASE)


@contextmanager
def server(script: Script) -> Iterator[str]:
    """A loopback server that answers by the script; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        remaining = 5000

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body, *more = script[self.command, self.path].pop(0)
            content = json.dumps(body, separators=(",", ":")).encode()
            type(self).remaining -= 1
            self.send_response(status)
            limits = {
                "ratelimit-limit": 5000,
                "ratelimit-remaining": self.remaining,
                "ratelimit-reset": int(START) + 3600,
            }
            headers = {"Content-Type": "application/json", **limits, **(more[0] if more else {})}
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def record(script: Script, ask: Callable[[IndexingJobClient], object]) -> str:
    """The text of the cassette of one story."""
    interactions: list[Interaction] = []

    def keep(response: requests.Response, **_: object) -> None:
        body = response.request.body or b""
        url = str(response.request.url).replace(base, API_URL, 1)
        request = Request(
            str(response.request.method),
            url,
            kept(response.request.headers),
            body.encode() if isinstance(body, str) else bytes(body),
        )
        answer = Response(response.status_code, kept(response.headers), response.content, response.reason)
        interactions.append(Interaction(request, answer))

    def kept(headers: Any) -> tuple[tuple[str, str], ...]:
        return tuple((name, value) for name, value in headers.items() if name.lower() in KEPT)

    with server(script) as base, requests.Session() as session:
        session.trust_env = False
        session.hooks["response"].append(keep)
        client = IndexingJobClient("any", base_url=base, session=session, clock=VirtualClock(), retries=1)
        with suppress(ApiError, DecodeError):  # errors are stories too
            ask(client)
    assert not any(script.values()), "the story has answers that were not asked for"
    return dump(interactions, METADATA)


def main(folder: Path) -> None:
    """Write every recording to a folder."""
    for name, script, ask in stories():
        (folder / f"{name}.yaml").write_text(record(script, ask), encoding="utf-8", newline="\n")
        print(folder / f"{name}.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
