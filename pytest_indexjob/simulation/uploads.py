"""Uploads of the simulator: URLs to PUT files to. Their host, lifetime and limits are guesses."""

from __future__ import annotations

import dataclasses
import re

from pytest_indexjob.api.knowledge_bases import UploadUrl
from pytest_indexjob.exchange import Request, Response
from pytest_indexjob.simulation.reports import is_signed, signed
from pytest_indexjob.simulation.resource import Desk, Handler, invalid, json_object, list_in

_LIFETIME = 900  # seconds
_LARGEST_FILE = 5 * 1024**3
_KEPT_BYTES = 64 * 1024


@dataclasses.dataclass
class Upload:
    """A file that a client may PUT.

    ``received`` is how many bytes came, or ``None``; ``content`` the first 65,536 of them.
    """

    file_name: str
    size: int
    object_key: str
    received: int | None = None
    content: bytes = dataclasses.field(default=b"", repr=False)


class Uploads:
    """All uploads, under ``url``."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.url = url.rstrip("/")
        self._desk = desk
        self._by_key: dict[str, Upload] = {}
        self.handlers: dict[str, Handler] = {"uploads.create": self._create}

    @property
    def all(self) -> tuple[Upload, ...]:
        """All uploads, in the order in which URLs for them were asked for."""
        return tuple(self._by_key.values())

    def owns(self, url: str) -> bool:
        """Whether a URL leads to an upload."""
        return url.startswith(f"{self.url}/")

    def _create(self, request: Request) -> dict[str, object]:
        files = list_in(json_object(request), "files", dict)
        if not files:
            raise invalid("files is required and must be a list of files")
        wanted = [(_name(file.get("file_name")), _size(file.get("file_size"))) for file in files]
        made = []
        for name, size in wanted:
            key = f"uploads/{len(self._by_key) + 1:08d}/{name}"
            self._by_key[key] = Upload(name, size, key)
            url = UploadUrl(
                presigned_url=signed(self._desk, f"{self.url}/{key}", _LIFETIME),
                object_key=key,
                original_file_name=name,
                expires_at=self._desk.time(self._desk.now + _LIFETIME),
            )
            made.append(url.to_wire())
        return {"request_id": f"upload-{len(self._by_key):08d}", "uploads": made}

    def answer(self, request: Request) -> Response:
        """What the place of the files answers to a PUT."""
        upload = self._by_key.get(request.url[len(self.url) + 1 :].partition("?")[0])
        if upload is None or not is_signed(self._desk, request.url):
            return _refused(403, "AccessDenied")
        if request.method != "PUT":
            return _refused(405, "MethodNotAllowed")
        if len(request.body) > upload.size:
            return _refused(400, "EntityTooLarge")
        if len(request.body) < upload.size:
            return _refused(400, "IncompleteBody")
        upload.received = len(request.body)
        upload.content = request.body[:_KEPT_BYTES]
        return Response(200, (("ETag", f'"{upload.received:x}"'),))


def _refused(status: int, code: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Response(status, (("Content-Type", "application/xml"),), body.encode())


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^/\\\x00-\x1f?#%]{1,255}", value):
        raise invalid("file_name must be the name of a file, without a path")
    return value.replace(" ", "_")


def _size(value: object) -> int:
    # The service's int64 is a string here; code sends numbers as well.
    text = str(value) if not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _LARGEST_FILE:
        raise invalid(f"file_size must be a whole number of bytes, at most {_LARGEST_FILE}")
    return int(text)
