"""`status`: whether every token is good, and for how long."""

import json
import os
import sys
import time

import click

from job.compose.job import Job, Options
from job.core.clock import system_clock
from job.verbs.common import command


@command("config")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, a row for each sink.")
@click.option("--watch", "watching", is_flag=True, help="Go on showing it, until Ctrl-C.")
def status(options: Options, *, as_json: bool, watching: bool) -> int:
    """Tell whether every token is good, and for how long.

    It reads the sinks and writes nothing.

    \b
    Examples:
      freshtoken status
      freshtoken status --watch
      freshtoken status --json | jq '.[] | select(.state != "current")'

    \b
    Exit status, as monitoring plugins have it:
      0   all current
      1   one is past its refresh time but valid
      2   one is expired or missing
      78  the configuration can't be used
    """  # noqa: D301
    from job.observe.status import severity  # noqa: PLC0415
    from job.verbs.status_read import looks, rows, statuses, table  # noqa: PLC0415

    pictured = not as_json and _takes_pictures()
    if watching and not (pictured and sys.stdout.isatty()):
        raise click.UsageError("--watch needs a terminal; elsewhere run `status` again and again")
    job = Job(options, os.environ)
    found = looks(job.load(), job.tools)
    if watching:
        from job.verbs.status_terminal import terminal, watch  # noqa: PLC0415  # rich is 60 ms of CPU

        return watch(found, terminal(), system_clock)
    now = time.time()
    for look in found:
        look.read(0.0)
    tokens = statuses(found, now)
    if as_json:
        click.echo(json.dumps(list(rows(tokens, now))))
    elif pictured:
        from job.verbs.status_terminal import drawn, terminal  # noqa: PLC0415  # as above

        click.echo(drawn(tokens, now, terminal()), nl=False, color=True)
    else:
        click.echo("\n".join(table(tokens, now)))
    return severity(tokens)


def _takes_pictures() -> bool:
    """Tell whether standard output can show colours and lines, or FORCE_COLOR says so."""
    capable = sys.stdout.isatty() and os.environ.get("TERM") not in {None, "dumb", "unknown"}
    wanted = capable or bool(os.environ.get("FORCE_COLOR"))
    return wanted and sys.stdout.encoding.lower().startswith("utf")
