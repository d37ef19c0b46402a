"""How the plugin's own client reaches the service. Apart from the client, which loads requests."""

from __future__ import annotations

import dataclasses

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
