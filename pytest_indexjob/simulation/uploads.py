"""Uploads: the calls that give a URL for each file, and the PUT of the bytes to the URL.

Source of facts: the published OpenAPI for the call. Guesses: the host, how long a URL is good, the
answers to a PUT that is too late or of another size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pytest_indexjob.api.knowledge_bases import FileUpload
from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.simulation.reports import is_signed, signature
from pytest_indexjob.simulation.resource import (
    Handler,
    Resource,
    bad_argument,
    json_object,
    made_uuid,
    written,
)

if TYPE_CHECKING:
    from pytest_indexjob.simulation.simulator import Simulator

_MOST_FILES = 1000
_MOST_KEPT = 1024 * 1024  # bytes of all files together
_INT64_MAX = 2**63 - 1
_PLAIN = (("Content-Type", "text/plain"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that was announced. ``size`` is in bytes.

    ``is_complete`` says whether the bytes came. ``body`` holds them; it is ``None`` before they
    came, and for bytes beyond the 1 MiB that the simulator keeps of all files together.
    """

    object_key: str
    file_name: str
    size: int
    is_complete: bool = False
    body: bytes | None = None


class Uploads(Resource):
    """The files that were announced, by their object keys."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.by_key: dict[str, Upload] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {"uploads.create": self._create}

    @property
    def _prefix(self) -> str:
        return f"{self._simulator.upload_url}/"

    def holds(self, url: str) -> bool:
        """Whether a URL is that of an upload."""
        return url.startswith(self._prefix)

    def _create(self, request: Request) -> bytes:
        files = json_object(request).get("files")
        if not isinstance(files, list) or not 1 <= len(files) <= _MOST_FILES:
            raise bad_argument(f"files must be a list of 1 to {_MOST_FILES} files")
        announced = [_read_file(each) for each in files]
        uploads = [self._announce(name, size).to_wire() for name, size in announced]
        return written({"request_id": self._simulator.request_id(), "uploads": uploads})

    def _announce(self, name: str, size: int) -> FileUpload:
        folder = made_uuid(0x4D3E2F10, len(self.by_key))
        key = f"{folder}/{name}"
        self.by_key[key] = Upload(object_key=key, file_name=name, size=size)
        expires_at = self._now() + self._simulator.upload_lifetime
        expires = int(self._simulator.epoch + expires_at)
        return FileUpload(
            presigned_url=(
                # Clients resolve "..", and some repair "//": so slashes of a name are quoted.
                f"{self._prefix}{folder}/{quote(name, safe='')}"
                f"?X-Amz-Expires={expires}&X-Amz-Signature={signature(key, expires)}"
            ),
            object_key=key,
            original_file_name=name,
            expires_at=self._time(expires_at),
        )

    def handle(self, request: Request) -> Response:
        """Take the bytes, or refuse a URL that was not signed, or a file of another size."""
        key = unquote(urlsplit(request.url[len(self._prefix) :]).path)
        upload = self.by_key.get(key)
        if upload is None or not is_signed(request.url, key, self._wall_time()):
            return Response(403, _PLAIN, b"the signature does not match, or it has expired")
        if request.method != "PUT":
            return Response(405, (*_PLAIN, ("Allow", "PUT")), b"")
        if len(request.body) != upload.size:
            problem = f"{len(request.body)} bytes came, {upload.size} were announced"
            return Response(400, _PLAIN, problem.encode())
        others = (each for each in self.by_key.values() if each is not upload)
        kept = sum(len(each.body or b"") for each in others)
        body = request.body if kept + len(request.body) <= _MOST_KEPT else None
        self.by_key[key] = dataclasses.replace(upload, is_complete=True, body=body)
        return Response(200, (("ETag", f'"{signature(key, upload.size)[:32]}"'),), b"")


def _read_file(file: Any) -> tuple[str, int]:
    if not isinstance(file, dict):
        raise bad_argument("a file must be an object with file_name and file_size")
    name, size = file.get("file_name"), file.get("file_size")
    # "." and ".." can't be quoted, so no client could send such a file.
    if not isinstance(name, str) or name in ("", ".", ".."):
        raise bad_argument("file_name must be the name of a file")
    # The OpenAPI has a string, public code sends a number.
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) <= 19:
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _INT64_MAX:
        raise bad_argument("file_size must be a whole number of bytes")
    return name, size
