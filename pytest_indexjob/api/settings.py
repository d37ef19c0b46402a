"""How the plugin's own client reaches the service. Apart from the client, which loads requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from pytest_indexjob.api.calls import API_URL


@dataclasses.dataclass(frozen=True)
class IndexJobSettings:
    """How ``indexjob_client`` reaches the service.

    To change the settings, return other ones from your own ``indexjob_settings`` fixture.

    ``timeout`` (of connecting and of reading) is in seconds. Without a token, a made-up one serves
    for recorded and simulated answers, and ``DIGITALOCEAN_ACCESS_TOKEN`` for the live service.
    ``secrets`` are values that no recording may hold, besides the token and those of the
    environment.
    """

    base_url: str = API_URL
    token: str | None = dataclasses.field(default=None, repr=False)
    timeout: float = 30.0
    retries: int = 3
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)


def problem_of(settings: object) -> str:
    """What is wrong with the value of the fixture ``indexjob_settings``, or ``""``.

    The text names types only, since values may be secret.
    """
    if not isinstance(settings, IndexJobSettings):
        return (
            "the fixture indexjob_settings must return an IndexJobSettings, not a value of type"
            f" {_type_of(settings)}"
        )
    if not isinstance(settings.base_url, str):
        return f"base_url must be a string, not of type {_type_of(settings.base_url)}"
    if problem := problem_of_base_url(settings.base_url):
        return problem
    if settings.token is not None and not isinstance(settings.token, str):
        return f"token must be a string or None, not of type {_type_of(settings.token)}"
    # A string is a collection too: of letters, none of which is a secret.
    if isinstance(settings.secrets, str) or not _are_texts(settings.secrets):
        return (
            'secrets must be a tuple of strings, such as ("one", "two"), not of type'
            f" {_type_of(settings.secrets)}"
        )
    return ""


def problem_of_base_url(base_url: str) -> str:
    """What is wrong with a base URL, or ``""``; without the user and password that it may have."""
    if base_url.startswith(("http://", "https://")):
        return ""
    return f"base_url must begin with http:// or https://, not {base_url.split('@')[-1]!r}"


def _are_texts(values: object) -> bool:
    return isinstance(values, Collection) and all(isinstance(each, str) for each in values)


def _type_of(value: object) -> str:
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        inner = " and ".join(sorted({type(each).__name__ for each in value}))
        return f"{type(value).__name__} of {inner or 'nothing'}"
    return type(value).__name__
