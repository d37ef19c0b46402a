"""The report of a job: its signed URL and the CSV behind it.

Where it lies and what is in it are guesses.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pytest_indexjob.api.models import IndexedDataSource
from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.simulation.resource import Handler, Refusal, Resource, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_indexjob.simulation.jobs import Job, Jobs
    from pytest_indexjob.simulation.simulator import Simulator

REPORT_LIFETIME = 900  # seconds


class Reports(Resource):
    """The files that the signed URLs of a simulator's jobs lead to."""

    def __init__(self, simulator: Simulator, jobs: Jobs) -> None:
        super().__init__(simulator)
        self._jobs = jobs

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {"jobs.details_signed_url": self._details_signed_url}

    def _details_signed_url(self, _request: Request, uuid: str) -> bytes:
        if not self._jobs.step(self._jobs.found(uuid)).is_terminal:
            raise Refusal(404, "not_found", "the report is not available yet")
        expires = int(self._wall_time()) + REPORT_LIFETIME
        url = (
            f"{self._prefix}{uuid}.csv"
            f"?X-Amz-Expires={expires}&X-Amz-Signature={signature(uuid, expires)}"
        )
        return written({"signed_url": url})

    @property
    def _prefix(self) -> str:
        return f"{self._simulator.report_url}/indexing_jobs/"

    def holds(self, url: str) -> bool:
        """Whether a URL is that of a report."""
        return url.startswith(self._prefix)

    def handle(self, request: Request) -> Response:
        """The file, or the refusal of a URL that was not signed or has expired."""
        uuid = request.url[len(self._prefix) :].partition("?")[0].removesuffix(".csv")
        plain = (("Content-Type", "text/plain"),)
        job = self._jobs.by_uuid.get(uuid)
        if job is None or not is_signed(request.url, uuid, self._wall_time()):
            return Response(403, plain, b"the signature does not match, or it has expired")
        if request.method not in ("GET", "HEAD"):
            return Response(405, plain, b"")
        return Response(200, (("Content-Type", "text/csv"),), self._csv(job).encode())

    def _csv(self, job: Job) -> str:
        counts = IndexedDataSource.counts()
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["data_source_uuid", "status", *counts])
        for at, source in enumerate(self._jobs.step(job).data_sources):
            values = [getattr(source, name) for name in counts]
            rows.writerow([job.data_source_uuid(at, source), source.status.value, *values])
        return text.getvalue()


def signature(name: str, expires: int) -> str:
    """What makes a URL for a name good until a moment."""
    return hashlib.sha256(f"{name} {expires}".encode()).hexdigest()


def is_signed(url: str, name: str, now: float) -> bool:
    """Whether a URL bears the signature for a name and has not expired."""
    query = parse_qs(urlsplit(url).query)
    expires = next(iter(query.get("X-Amz-Expires", [])), "")
    if not re.fullmatch(r"[0-9]{1,12}", expires) or int(expires) < now:
        return False
    return next(iter(query.get("X-Amz-Signature", [])), "") == signature(name, int(expires))
