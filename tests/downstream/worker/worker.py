"""An asynchronous worker that watches several jobs at once."""

import anyio
import httpx

JOBS = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
RUNNING = {"INDEX_JOB_STATUS_PENDING", "INDEX_JOB_STATUS_IN_PROGRESS"}


async def watch(client, uuid, ends):
    while True:
        try:
            answer = await client.get(f"{JOBS}/{uuid}")
            answer.raise_for_status()
            status = answer.json()["job"]["status"]
        except httpx.HTTPError:
            pass  # the next poll may be answered
        else:
            if status not in RUNNING:
                ends[uuid] = status.removeprefix("INDEX_JOB_STATUS_")
                return
        await anyio.sleep(30)


async def watch_all(token, uuids, *, limit):
    """The ends of the jobs that ended within so many seconds, by their uuids."""
    ends = {}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        with anyio.move_on_after(limit):
            async with anyio.create_task_group() as group:
                for uuid in uuids:
                    group.start_soon(watch, client, uuid, ends)
    return ends
