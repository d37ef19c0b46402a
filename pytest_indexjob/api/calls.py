"""The calls of indexing jobs and of the knowledge bases around them, and where the API is.

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
_KNOWLEDGE_BASE = f"{KNOWLEDGE_BASES_PATH}/{{knowledge_base_uuid}}"
_DATA_SOURCES = f"{_KNOWLEDGE_BASE}/data_sources"
_UPLOADS = f"{KNOWLEDGE_BASES_PATH}/data_sources/file_upload_presigned_urls"
_SCHEDULES = f"{API_ROOT}scheduled-indexing"
_AGENTS = f"{API_ROOT}agents"
_AGENT_KNOWLEDGE_BASES = f"{_AGENTS}/{{agent_uuid}}/knowledge_bases"


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

    @property
    def usual_name(self) -> str:
        """The short name for a call of jobs, the whole name for any other."""
        return self.short_name if self.resource == "jobs" else self.name

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
    Call("knowledge_bases", "get", "GET", _KNOWLEDGE_BASE),
    Call("knowledge_bases", "update", "PUT", _KNOWLEDGE_BASE),
    Call("knowledge_bases", "delete", "DELETE", _KNOWLEDGE_BASE),
    Call("data_sources", "create", "POST", _DATA_SOURCES),
    Call("data_sources", "list", "GET", _DATA_SOURCES),
    Call("data_sources", "update", "PUT", f"{_DATA_SOURCES}/{{data_source_uuid}}"),
    Call("data_sources", "delete", "DELETE", f"{_DATA_SOURCES}/{{data_source_uuid}}"),
    Call("uploads", "create", "POST", _UPLOADS),
    Call("schedules", "create", "POST", _SCHEDULES),
    Call("schedules", "get", "GET", f"{_SCHEDULES}/knowledge-base/{{knowledge_base_uuid}}"),
    Call("schedules", "delete", "DELETE", f"{_SCHEDULES}/{{uuid}}"),
    Call("agents", "create", "POST", _AGENTS),
    Call("agents", "list", "GET", _AGENTS),
    Call("agents", "get", "GET", f"{_AGENTS}/{{agent_uuid}}"),
    Call("agents", "update", "PUT", f"{_AGENTS}/{{agent_uuid}}"),
    Call("agents", "delete", "DELETE", f"{_AGENTS}/{{agent_uuid}}"),
    Call("agents", "attach_all", "POST", _AGENT_KNOWLEDGE_BASES),
    Call("agents", "attach", "POST", f"{_AGENT_KNOWLEDGE_BASES}/{{knowledge_base_uuid}}"),
    Call("agents", "detach", "DELETE", f"{_AGENT_KNOWLEDGE_BASES}/{{knowledge_base_uuid}}"),
)
_BY_NAME = {call.name: call for call in CALLS} | {
    call.short_name: call for call in CALLS if call.resource == "jobs"
}


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


def nearest_call(method: str, path: str) -> str:
    """The call that a request which is none most likely means, in words, or ``""``.

    Public programs invent calls that start a job, such as ``POST .../knowledge_bases/{}/index``.
    """
    segments = path.partition("?")[0].strip("/").split("/")
    shown = "/".join("{}" if _UUID.fullmatch(each) else each for each in segments)
    root = _ROOT.match(shown)
    if root is None:
        return ""
    asked = f"{method} {shown[root.end() :]}"
    words = asked.lower().replace("-", "_")
    for meaning, name in _MEANINGS:
        if re.match(meaning.replace("{}", "[^/]+"), words):
            return _in_words(named(name))
    known = {_PLACE.sub("{}", str(call)).replace(API_ROOT, ""): call for call in CALLS}
    found = difflib.get_close_matches(asked, known, n=1, cutoff=0.8)
    return _in_words(known[found[0]]) if found else ""


def _in_words(call: Call) -> str:
    return f"{call} with {{knowledge_base_uuid}}" if call.name == "jobs.create" else str(call)


_PLACE = re.compile(r"\{[^{}/]*\}")
_UUID = re.compile(r"(?=.*[0-9])[0-9a-zA-Z]+(?:-[0-9a-zA-Z]+)+|[0-9]+")
# The API's root, or what stands before a segment that can only be the API's.
_ROOT = re.compile(r"(?:.*/)?gen[-_]?ai/|.*?(?=[^/]*(?:index|knowledge))", re.IGNORECASE)
# What invented requests mean. The first pattern that fits the method and the path decides: the path
# is without the API's root, in small letters, with "_" for "-"; "{}" stands for a segment.
_MEANINGS = (
    (r"get .*schedul", "schedules.get"),
    (r"delete .*schedul", "schedules.delete"),
    (r"\w+ .*schedul", "schedules.create"),
    (r"\w+ .*(upload|presigned)|(post|put) knowledge.*/files?$", "uploads.create"),
    (r"\w+ .*jobs?/{}/(cancel|stop|abort|kill|terminate)|delete .*jobs?/{}$", "jobs.cancel"),
    (r"get .*jobs?/{}/(detail|report|log|signed|download)", "jobs.details_signed_url"),
    (r"get (.*/)?(index\w*_)?jobs?/(?!la|cur){}(/(status|progress|result))?/?$", "jobs.get"),
    (r"get knowledge_?bases?/{}/(\w*status|last_\w+|database\w*|details)$", "knowledge_bases.get"),
    (r"get knowledge_?bases?/{}/.*(index|job)", "jobs.list_for_knowledge_base"),
    (
        r"(post|put|patch) (knowledge|data_?source).*"
        r"(index|job|ingest|sync|refresh|rebuild|process|train)",
        "jobs.create",
    ),
    (r"(post|put) index(_jobs?|ing)?$", "jobs.create"),
    (r"(post|put) knowledge_?bases?/{}/agents?", "agents.attach"),
    (r"delete knowledge_?bases?/{}/agents?", "agents.detach"),
    (r"get agents?/{}/knowledge", "agents.get"),
    (r"put agents?/{}/knowledge", "agents.attach"),
    (r"get (knowledge_?bases?/{}/)?(data_?)?sources?(/{})?$", "data_sources.list"),
    (r"delete data_?sources?/{}$", "data_sources.delete"),
    (r"(put|patch) data_?sources?/{}$", "data_sources.update"),
    (r"post (knowledge_?bases?/{}/)?(data_?sources?|sources?|documents?)$", "data_sources.create"),
)


def named(name: str) -> Call:
    """The call of that name: ``jobs.get``, or short ``get``.

    Raises ``ValueError``, naming the calls, for none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        near = difflib.get_close_matches(str(name), _BY_NAME, n=1)
        did = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(call.usual_name for call in CALLS)
        raise ValueError(f"there is no call {name!r}.{did} There are: {known}") from None
