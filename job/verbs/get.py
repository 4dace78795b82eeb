"""`get`: the current token from its sink, for scripts."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from job.compose.job import Job, Options
from job.core.errors import SinkError
from job.verbs.common import NO_TOKEN, chosen_names, command

if TYPE_CHECKING:
    from job.core.ports import Sink
    from job.core.tokens import FormatName, Record


@command("config")
@click.argument("name")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["raw", "json", "header", "env"]),
    metavar="FORMAT",
    default="raw",
    help="raw (the default), header, env or json.",
)
def get(options: Options, name: str, layout: "FormatName") -> int:
    """Print the current token from its sink, for scripts.

    \b
    Examples:
      TOKEN=$(freshtoken get tiki)
      freshtoken get tiki --format header | curl -H @- https://api.example.com/

    \b
    Exit status:
      0   printed
      75  there is no valid token in its sinks
      74  its sinks can't be read
      77  a store rejected us: permissions
      78  the configuration can't be used
    """  # noqa: D301
    from job.compose.refreshers import sinks_of  # noqa: PLC0415
    from job.core.tokens import OutputFormat, render  # noqa: PLC0415
    from job.runners.once import worst  # noqa: PLC0415

    job = Job(options, os.environ)
    config = job.load()
    chosen_names([name], config.tokens)
    sinks = sinks_of(name, config.tokens[name], job.tools)
    record, errors = current_record(sinks, time.time())
    if record is None:
        reasons = [error.message for error in errors] or ["no valid token in its sinks"]
        with suppress(OSError):
            click.echo("\n".join(f"{name}: {reason}" for reason in reasons), err=True)
        return worst(error.exit_code for error in errors) or NO_TOKEN
    click.echo(render(record, OutputFormat(layout, name)).rstrip("\n"))
    return 0


def current_record(sinks: "Sequence[Sink]", now: float) -> "tuple[Record | None, list[SinkError]]":
    """Return the first valid record, or None and the errors of the sinks that can't be read."""
    errors = []
    for sink in sinks:
        try:
            record = sink.read()
        except SinkError as error:
            errors.append(error)
            continue
        if record is not None and now < record.token.expires_at:
            return record, []
    return None, errors
