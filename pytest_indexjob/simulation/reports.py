"""Reports of jobs: a signed URL, and the CSV that it leads to. Its host and columns are guesses."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from urllib.parse import parse_qs, urlsplit

from pytest_indexjob.api.models import IndexedDataSource
from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.simulation.jobs import Job, Jobs
from pytest_indexjob.simulation.resource import Desk, Handler, Refusal

LIFETIME = 900  # seconds
_FOLDER = "/indexing_jobs/"


class Reports:
    """The reports under ``url``."""

    def __init__(self, desk: Desk, jobs: Jobs, url: str) -> None:
        self.url = url.rstrip("/")
        self._desk = desk
        self._jobs = jobs
        self.handlers: dict[str, Handler] = {"jobs.details_signed_url": self._signed_url}

    def owns(self, url: str) -> bool:
        """Whether a URL leads to a report."""
        return url.startswith(self.url + _FOLDER)

    def _signed_url(self, _request: Request, uuid: str) -> dict[str, str]:
        job = self._jobs.found(uuid)
        if not self._jobs.has_ended(job):
            raise Refusal(404, "not_found", "the report is not available yet")
        return {"signed_url": signed(self._desk, f"{self.url}{_FOLDER}{job.uuid}.csv", LIFETIME)}

    def answer(self, request: Request) -> Response:
        """The report that a signed URL leads to."""
        name = request.url[len(self.url + _FOLDER) :].partition("?")[0]
        plain = (("Content-Type", "text/plain"),)
        uuid = name.removesuffix(".csv")
        if uuid not in self._jobs.uuids or not is_signed(self._desk, request.url):
            return Response(403, plain, b"the signature does not match, or it has expired")
        if request.method not in ("GET", "HEAD"):
            return Response(405, plain, b"")
        return Response(200, (("Content-Type", "text/csv"),), self._csv(self._jobs.found(uuid)))

    def _csv(self, job: Job) -> bytes:
        counts = IndexedDataSource.counts()
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["data_source_uuid", "status", *counts])
        for source in self._jobs.sources(job):
            shown = [getattr(source, name) for name in counts]
            rows.writerow([source.data_source_uuid, source.status.value, *shown])
        return text.getvalue().encode()


def signed(desk: Desk, url: str, lifetime: float) -> str:
    """A URL that is good for so many seconds."""
    expires = int(desk.epoch + desk.now + lifetime)
    return f"{url}?X-Amz-Expires={expires}&X-Amz-Signature={_signature(url, expires)}"


def is_signed(desk: Desk, url: str) -> bool:
    """Whether a URL was signed, and is good now."""
    query = parse_qs(urlsplit(url).query)
    expires = next(iter(query.get("X-Amz-Expires", [])), "")
    signature = next(iter(query.get("X-Amz-Signature", [])), "")
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        return False
    good = signature == _signature(url.partition("?")[0], int(expires))
    return good and int(expires) >= desk.epoch + desk.now


def _signature(url: str, expires: int) -> str:
    # Of the path alone: a server may be asked by another name of this machine.
    return hashlib.sha256(f"{urlsplit(url).path} {expires}".encode()).hexdigest()
