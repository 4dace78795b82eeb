"""The verbs: the only reader of the environment and the arguments, and the only exit.

Modules are imported where a verb needs them, because a cron job pays for each import every minute.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import click

from job import __version__
from job.compose.job import Options, observer
from job.core.errors import ConfigError
from job.core.events import crashed
from job.core.text import WIDTH, mistakes
from job.verbs.check import check
from job.verbs.common import COMMON, UNWRITABLE, Verbs, common, options_of
from job.verbs.demo import demo
from job.verbs.get import get
from job.verbs.init import init
from job.verbs.once import once
from job.verbs.probe import probe
from job.verbs.providers import providers
from job.verbs.run import run
from job.verbs.schema import schema
from job.verbs.status import status

OWN_BUG, INTERRUPTED = 70, 130


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


for verb in (run, once, check, status, get, init, providers, probe, schema, demo):
    cli.add_command(verb)


def exit_status(args: Sequence[str] | None = None) -> int:
    """Run a verb, by default the one of the command line, and return the exit status."""
    try:
        return int(cli.main(args, prog_name="freshtoken", standalone_mode=False))
    except click.exceptions.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # no traceback for people; places without values
        status_code, say = _ending(error)
        with suppress(OSError):  # the status still says what can't be printed
            say()
        return status_code


def _ending(error: Exception) -> tuple[int, Callable[[], object]]:
    """Return the exit status of a verb that failed, and what prints the reason."""
    match error:
        case ConfigError():
            lines = mistakes(error.problems, error.origin, wrap=sys.stderr.isatty())
            return error.exit_code, partial(click.echo, "\n".join(lines), err=True)
        case click.ClickException():
            return error.exit_code, error.show
        case OSError() if _in_echo(error):
            text = f"standard output cannot be written ({os.strerror(error.errno or 0)})"
            return UNWRITABLE, partial(click.echo, text, err=True)
        case _:
            log = observer(Options(), lambda _: ())
            return OWN_BUG, partial(log, crashed(error, None))


def _in_echo(error: OSError) -> bool:
    """Tell whether an error comes from printing: the only one that our code lets through."""
    return any(f.f_code is click.echo.__code__ for f, _ in traceback.walk_tb(error.__traceback__))


def main() -> None:
    """Run the program; every way out of it is in this file."""
    from job.runners.process import fill_streams, harden  # noqa: PLC0415

    fill_streams()
    harden()
    sys.exit(exit_status())
