"""A command that waits for a job, and whose exit status says how the job ended."""

import time

import click
from azure.core.exceptions import HttpResponseError
from pydo import Client

RUNNING = ("INDEX_JOB_STATUS_PENDING", "INDEX_JOB_STATUS_IN_PROGRESS")
STATUSES = {"COMPLETED": 0, "NO_CHANGES": 0, "PARTIAL": 3}


@click.command()
@click.argument("uuid")
@click.option("--token", envvar="DIGITALOCEAN_ACCESS_TOKEN", required=True)
@click.option("--every", default=60, help="Seconds between two polls.")
@click.pass_context
def wait(context, uuid, token, every):
    """Wait for the indexing job UUID."""
    client = Client(token=token)
    while True:
        try:
            job = client.genai.get_indexing_job(uuid)["job"]
        except (HttpResponseError, KeyError) as error:
            raise click.ClickException(f"the job can't be read: {type(error).__name__}") from error
        status = job.get("status", "").removeprefix("INDEX_JOB_STATUS_")
        if job.get("status") not in RUNNING:
            break
        time.sleep(every)
    click.echo(f"{status} {job.get('total_items_failed', '0')}")
    context.exit(STATUSES.get(status, 4))
