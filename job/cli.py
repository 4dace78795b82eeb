"""The verbs: the only reader of the environment and the arguments, and the only exit.

Modules are imported where a verb needs them, for a cron job pays for each import every minute.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from job import __version__
from job.compose.job import Job, Options, observer
from job.core.clock import system_clock
from job.core.errors import ConfigError
from job.core.events import crashed
from job.core.text import WIDTH, entry, mistakes
from job.verbs.common import (
    COMMON,
    NO_TOKEN,
    UNWRITABLE,
    Verbs,
    chosen_names,
    command,
    common,
    duration,
    options_of,
)
from job.verbs.provider import init, probe, providers
from job.verbs.work import once, run

if TYPE_CHECKING:
    from job.core.tokens import FormatName

FINDINGS, OWN_BUG, INTERRUPTED = 1, 70, 130


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}
)
@click.version_option(__version__, prog_name="freshtoken")
@common(COMMON)
@click.pass_context
def cli(ctx: click.Context, /, **given: str | None) -> None:
    """Keep OAuth 2.0 client-credentials tokens current, in files and in AWS Secrets Manager.

    \b
    First steps:
      freshtoken demo          see it work, with nothing prepared
      freshtoken init tiki     write freshtoken.toml, then fill in the blanks
      freshtoken check         every mistake at once, and the plan
      freshtoken run           keep the tokens current

    The configuration is --config FILE, or $FRESHTOKEN_CONFIG, or ./freshtoken.toml, or
    /etc/freshtoken/freshtoken.toml, or FRESHTOKEN_ variables for one token.
    """  # noqa: D301  # \b keeps click from wrapping the lines
    ctx.obj = options_of(ctx, given)


def verb(*shown: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add a verb; see `command`."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        cli.add_command(command(*shown)(function))
        return function

    return decorate


cli.add_command(run)
cli.add_command(once)


@verb("config")
@click.option("--online", is_flag=True, help="Also try all that can be tried without a token.")
def check(options: Options, *, online: bool) -> int:
    """Tell every mistake at once, and the plan for each token.

    It mints nothing and writes nothing.

    \b
    Examples:
      freshtoken check
      freshtoken check --online    also DNS, TLS, the clock, the sinks

    \b
    Exit status:
      0   all well
      1   something that --online tried is wrong
      78  the configuration can't be used
    """  # noqa: D301
    from job.verbs.plan import token_plans  # noqa: PLC0415

    job, wrong = Job(options, os.environ), 0
    config = job.load(with_secrets=True)
    click.echo(f"{config.origin} is valid")
    for plan in token_plans(config, job.tools, online=online):
        click.echo(f"\n{plan}")
        if online:
            from job.verbs.preflight import probe  # noqa: PLC0415

            for finding in probe(plan.token, config.tokens[plan.token], job.tools):
                wrong += not finding.good
                outcome = "ok" if finding.good else "PROBLEM"
                click.echo(entry(finding.what, f"{outcome}: {finding.text}"))
    return FINDINGS if wrong else 0


@verb("config")
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
    from job.verbs import status as states  # noqa: PLC0415

    pictured = not as_json and _takes_pictures()
    if watching and not (pictured and sys.stdout.isatty()):
        raise click.UsageError("--watch needs a terminal; elsewhere run `status` again and again")
    job = Job(options, os.environ)
    looks = states.looks(job.load(), job.tools)
    if watching:
        from job.verbs.status_view import terminal, watch  # noqa: PLC0415  # rich is 60 ms of CPU

        return watch(looks, terminal(), system_clock)
    now = time.time()
    found = states.rows(looks, now)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found]))
    elif pictured:
        from job.verbs.status_view import drawn, terminal  # noqa: PLC0415  # as above

        click.echo(drawn(found, now, terminal()), nl=False, color=True)
    else:
        click.echo("\n".join(states.table(found, now)))
    return states.worst(found)


def _takes_pictures() -> bool:
    """Tell whether standard output shows colours and lines, or is told to."""
    capable = sys.stdout.isatty() and os.environ.get("TERM") not in {None, "dumb", "unknown"}
    wanted = capable or bool(os.environ.get("FORCE_COLOR"))
    return wanted and sys.stdout.encoding.lower().startswith("utf")


@verb("config")
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
    from job.verbs.status import current_record  # noqa: PLC0415

    job = Job(options, os.environ)
    config = job.load()
    chosen_names([name], config.tokens)
    sinks = sinks_of(name, config.tokens[name], job.tools)
    record, errors = current_record(sinks, time.time())
    if record is None:
        told = [error.message for error in errors] or ["no valid token in its sinks"]
        with suppress(OSError):
            click.echo("\n".join(f"{name}: {line}" for line in told), err=True)
        return worst(error.exit_code for error in errors) or NO_TOKEN
    click.echo(render(record, OutputFormat(layout, name)).rstrip("\n"))
    return 0


for one in (init, providers, probe):
    cli.add_command(one)


@verb()
def schema(options: Options) -> int:  # noqa: ARG001
    """Print the JSON Schema of the configuration.

    \b
    Example:
      freshtoken schema > freshtoken.schema.json
    """  # noqa: D301
    from job.config.json_schema import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(), indent=2))
    return 0


@verb()
@click.option("--for", "length", metavar="DURATION", help="End by itself.")
@click.option(
    "--lifetime", metavar="DURATION", default="20s", show_default=True, help="Of a token."
)
@click.option(
    "--tokens",
    type=click.IntRange(1, 20),
    metavar="N",
    default=3,
    show_default=True,
    help="How many.",
)
def demo(options: Options, length: str | None, lifetime: str, tokens: int) -> int:  # noqa: ARG001
    """See the whole job work on this machine, with nothing prepared.

    It starts an authorization server of its own, whose tokens are short, and shows a live view.

    \b
    Examples:
      freshtoken demo
      freshtoken demo --for 30s --lifetime 10s
    """  # noqa: D301
    from job.demo.command import run_demo  # noqa: PLC0415

    length_s = None if length is None else duration(length)
    lifetime_s = max(int(duration(lifetime)), 2)
    program = "python -m job" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    return run_demo(length_s, lifetime_s, tokens, program)


def exit_status(args: Sequence[str] | None = None) -> int:
    """Run a verb, by default the one of the command line, and return the exit status."""
    try:
        return int(cli.main(args, prog_name="freshtoken", standalone_mode=False))
    except click.exceptions.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # no traceback for people; places without values
        with suppress(OSError):  # what can't be written is still told by the status
            _tell(error)
        return _status_of(error)


def _tell(error: Exception) -> None:
    """Say on standard error why a verb has ended."""
    match error:
        case ConfigError():
            lines = mistakes(error.problems, error.origin, wrap=sys.stderr.isatty())
            click.echo("\n".join(lines), err=True)
        case click.ClickException():
            error.show()
        case OSError() if _in_echo(error):
            reason = os.strerror(error.errno or 0)
            click.echo(f"standard output cannot be written ({reason})", err=True)
        case _:
            observer(Options(), lambda _: ())(crashed(error, None))


def _status_of(error: Exception) -> int:
    if isinstance(error, ConfigError | click.ClickException):
        return error.exit_code
    return UNWRITABLE if isinstance(error, OSError) and _in_echo(error) else OWN_BUG


def _in_echo(error: OSError) -> bool:
    """Tell whether an error is that of printing: nothing else of ours lets one through."""
    return any(f.f_code is click.echo.__code__ for f, _ in traceback.walk_tb(error.__traceback__))


def main() -> None:
    """Run the program; every way out of it is in this file."""
    from job.runners.process import fill_streams, harden  # noqa: PLC0415

    fill_streams()
    harden()
    sys.exit(exit_status())
