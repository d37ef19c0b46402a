"""The calls of the indexing-job API, and where the API is.

Source: the published OpenAPI. To add a call, add a row to ``CALLS``; its answers' shapes are in
``schema``.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

API_URL = "https://api.digitalocean.com"
TOKEN_VARIABLE = "DIGITALOCEAN_ACCESS_TOKEN"  # noqa: S105  # its name, not its value
# Where the known clients look for another base URL: the official Python client; doctl and
# Terraform.
URL_VARIABLES = ("GRADIENT_BASE_URL", "DIGITALOCEAN_API_URL")

API_ROOT = "/v2/gen-ai/"
JOBS_PATH = f"{API_ROOT}indexing_jobs"
KNOWLEDGE_BASES_PATH = f"{API_ROOT}knowledge_bases"
_DATA_SOURCES_PATH = f"{KNOWLEDGE_BASES_PATH}/{{knowledge_base_uuid}}/data_sources"
_SCHEDULES_PATH = f"{API_ROOT}scheduled-indexing"
_AGENTS_PATH = f"{API_ROOT}agents"


class Call(NamedTuple):
    """One call. ``path`` is a template: each ``{name}`` stands for one segment."""

    resource: str
    short_name: str
    method: str
    path: str

    @property
    def name(self) -> str:
        """The name with its resource: ``jobs.get``."""
        return f"{self.resource}.{self.short_name}"

    def path_with(self, *arguments: str) -> str:
        """The path with an argument in the place of each name.

        Raises ``ValueError`` for an argument that can't be a segment of a path.
        """
        segments = iter(arguments)
        return re.sub(r"\{[^{}/]*\}", lambda _: segment(next(segments)), self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def segment(uuid: str) -> str:
    """An identifier as one segment of a path, whatever is in it.

    Raises ``ValueError`` for what can't be one.
    """
    # "." and ".." can't be quoted: every HTTP library resolves them, quoted or not, to another
    # path.
    if not isinstance(uuid, str) or uuid.strip() in ("", ".", ".."):
        raise ValueError(f"a uuid is needed, not {uuid!r}")
    return quote(uuid, safe="")


CALLS = (
    Call("jobs", "get", "GET", f"{JOBS_PATH}/{{uuid}}"),
    Call("jobs", "list", "GET", JOBS_PATH),
    Call("jobs", "create", "POST", JOBS_PATH),
    Call("jobs", "cancel", "PUT", f"{JOBS_PATH}/{{uuid}}/cancel"),
    Call("jobs", "data_sources", "GET", f"{JOBS_PATH}/{{uuid}}/data_sources"),
    Call("jobs", "details_signed_url", "GET", f"{JOBS_PATH}/{{uuid}}/details_signed_url"),
    Call(
        "jobs", "list_for_knowledge_base", "GET", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}/indexing_jobs"
    ),
    Call("knowledge_bases", "create", "POST", KNOWLEDGE_BASES_PATH),
    Call("knowledge_bases", "list", "GET", KNOWLEDGE_BASES_PATH),
    Call("knowledge_bases", "get", "GET", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}"),
    Call("knowledge_bases", "update", "PUT", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}"),
    Call("knowledge_bases", "delete", "DELETE", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}"),
    Call("data_sources", "create", "POST", _DATA_SOURCES_PATH),
    Call("data_sources", "list", "GET", _DATA_SOURCES_PATH),
    Call("data_sources", "update", "PUT", f"{_DATA_SOURCES_PATH}/{{data_source_uuid}}"),
    Call("data_sources", "delete", "DELETE", f"{_DATA_SOURCES_PATH}/{{data_source_uuid}}"),
    Call(
        "uploads",
        "create",
        "POST",
        f"{KNOWLEDGE_BASES_PATH}/data_sources/file_upload_presigned_urls",
    ),
    Call("schedules", "create", "POST", _SCHEDULES_PATH),
    Call("schedules", "get", "GET", f"{_SCHEDULES_PATH}/knowledge-base/{{knowledge_base_uuid}}"),
    Call("schedules", "delete", "DELETE", f"{_SCHEDULES_PATH}/{{uuid}}"),
    Call("agents", "create", "POST", _AGENTS_PATH),
    Call("agents", "list", "GET", _AGENTS_PATH),
    Call("agents", "get", "GET", f"{_AGENTS_PATH}/{{uuid}}"),
    Call("agents", "update", "PUT", f"{_AGENTS_PATH}/{{uuid}}"),
    Call("agents", "delete", "DELETE", f"{_AGENTS_PATH}/{{uuid}}"),
    Call("agents", "attach_all", "POST", f"{_AGENTS_PATH}/{{uuid}}/knowledge_bases"),
    Call(
        "agents",
        "attach",
        "POST",
        f"{_AGENTS_PATH}/{{uuid}}/knowledge_bases/{{knowledge_base_uuid}}",
    ),
    Call(
        "agents",
        "detach",
        "DELETE",
        f"{_AGENTS_PATH}/{{uuid}}/knowledge_bases/{{knowledge_base_uuid}}",
    ),
)
JOB_CALLS = tuple(call for call in CALLS if call.resource == "jobs")
# Calls that public programs make, though the service does not have them, and the call that does
# what they want.
_INVENTED = (
    ("POST", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}/index", "jobs.create"),
    ("POST", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}/indexing_jobs", "jobs.create"),
    ("POST", f"{_DATA_SOURCES_PATH}/{{uuid}}/indexing_jobs", "jobs.create"),
    ("GET", f"{KNOWLEDGE_BASES_PATH}/{{uuid}}/indexing_jobs/{{uuid}}", "jobs.get"),
    ("DELETE", f"{JOBS_PATH}/{{uuid}}", "jobs.cancel"),
    ("GET", f"{JOBS_PATH}/{{uuid}}/details:signed_url", "jobs.details_signed_url"),
    ("GET", f"{_DATA_SOURCES_PATH}/{{uuid}}", "data_sources.list"),
)
_BY_NAME = {call.name: call for call in CALLS} | {call.short_name: call for call in JOB_CALLS}


class CallMatch(NamedTuple):
    """A request is this call.

    ``arguments`` are the path's segments in the places of the template's names, unquoted.
    """

    call: Call
    arguments: tuple[str, ...]


class WrongMethod(NamedTuple):
    """The path is the API's, but takes other methods: these."""

    methods: tuple[str, ...]


def path_pattern(template: str) -> re.Pattern[str]:
    """The pattern of the paths that a template stands for, with a group for each ``{name}``."""
    parts = re.split(r"\{[^{}/]*\}", template)
    return re.compile("([^/]+)".join(re.escape(part) for part in parts))


_PATTERNS = {path: path_pattern(path) for path in dict.fromkeys(call.path for call in CALLS)}


def api_path(url: str) -> str:
    """The API's path in a URL, whatever base URL stands before it; ``""`` for what is no URL."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return path[max(path.find(API_ROOT), 0) :]


@lru_cache(maxsize=1024)
def match(method: str, path: str) -> CallMatch | WrongMethod | None:
    """Which call a method and a path make; a query may follow the path.

    ``WrongMethod`` where the path takes other methods, ``None`` for a path that is not the API's.
    """
    path = path.partition("?")[0]
    for template, pattern in _PATTERNS.items():
        found = pattern.fullmatch(path)
        if found is None:
            continue
        calls = {call.method: call for call in CALLS if call.path == template}
        if method not in calls:
            return WrongMethod(tuple(calls))
        return CallMatch(calls[method], tuple(unquote(part) for part in found.groups()))
    return None


def nearest(method: str, path: str) -> Call | None:
    """The call that is most like a request which is no call, or ``None`` where no call is like it."""
    path = path.partition("?")[0]
    for invented, template, name in _INVENTED:
        if invented == method and path_pattern(template).fullmatch(path):
            return _BY_NAME[name]
    if not path.startswith("/v2/"):
        return None
    asked = f"{method} {path}"
    likeness = {
        call: difflib.SequenceMatcher(
            None, asked, f"{call.method} {_like(call.path, path)}"
        ).ratio()
        for call in CALLS
    }
    best = max(CALLS, key=lambda call: likeness[call])
    return best if likeness[best] >= _ALIKE else None


_ALIKE = 0.87


def _like(template: str, path: str) -> str:
    """A template with the path's own segments in the places of its names."""
    segments = path.split("/")
    return "/".join(
        segments[at] if part.startswith("{") and at < len(segments) else part
        for at, part in enumerate(template.split("/"))
    )


def named(name: str) -> Call:
    """The call of that name: ``jobs.get``, or short ``get``.

    Raises ``ValueError``, naming the calls, for none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(
            call.short_name if call.resource == "jobs" else call.name for call in CALLS
        )
        raise ValueError(f"there is no call {name!r}. There are: {known}") from None
