"""The verbs: the only reader of the environment and the arguments, and the only exit.

Modules are imported where a verb needs them, for a cron job pays for each import every minute.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from job import __version__
from job.clock import system_clock
from job.errors import ConfigError
from job.events import crashed
from job.text import WIDTH, entry, mistakes
from job.verb import COMMON, Job, Options, Verbs, chosen_names, common, observer, options_of

if TYPE_CHECKING:
    from job.tokens import FormatName

FINDINGS, OWN_BUG, NO_TOKEN, INTERRUPTED = 1, 70, 75, 130


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
    """Make a verb of a function that takes the options and returns the exit status.

    Every verb takes the common options; its help shows those that matter to it.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @common(shown)
        @click.pass_context
        @functools.wraps(function)
        def invoke(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401  # click's signature
            options = options_of(ctx, given)
            ctx.exit(function(options, **given))

        command = cli.command()(invoke)
        command.params.sort(key=lambda param: param.name in COMMON)
        return function

    return decorate


@verb(*COMMON)
def run(options: Options) -> int:
    """Keep all tokens current until SIGTERM or SIGINT.

    \b
    Examples:
      freshtoken run --config /etc/freshtoken/freshtoken.toml
      kill -HUP PID     read the configuration again; a bad one is refused
      kill -USR1 PID    refresh every token now
    """  # noqa: D301
    from job.daemon import Daemon  # noqa: PLC0415

    job = Job(options, os.environ)
    try:
        refreshers = job.refreshers()
    except ConfigError as error:
        return job.rejected(error)
    return Daemon(refreshers, job.report, lambda _: job.refreshers()).run()


@verb(*COMMON)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Refresh now, due or not.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome of each token as JSON.")
def once(options: Options, names: tuple[str, ...], *, force: bool, as_json: bool) -> int:
    """Refresh what is due, then exit: for cron. Prints nothing when nothing was due.

    \b
    Examples:
      freshtoken once --config /etc/freshtoken/freshtoken.toml
      freshtoken once tiki --force

    \b
    Exit status, the worst of all tokens:
      0   every token is current in every sink
      75  a token endpoint is unreachable, or failing for now
      74  a sink failed
      77  the server or a store rejected us: credentials, permissions
      78  the configuration can't be used
      70  a bug of freshtoken
    """  # noqa: D301
    from job.once import run_once, worst  # noqa: PLC0415

    job = Job(options, os.environ)
    try:
        refreshers = job.refreshers()
    except ConfigError as error:
        return job.rejected(error)
    chosen = [refreshers[name] for name in chosen_names(names, refreshers)]
    outcomes = run_once(chosen, job.report, force=force)
    status_code = worst(outcome.exit_status for outcome in outcomes)
    if as_json:
        tokens = {outcome.token: outcome.as_json() for outcome in outcomes}
        click.echo(json.dumps({"exit_status": status_code, "tokens": tokens}))
    return status_code


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
    from job.forecast import forecasts  # noqa: PLC0415

    job, wrong = Job(options, os.environ), 0
    config = job.load(with_secrets=True)
    click.echo(f"{config.origin} is valid")
    for plan in forecasts(config, job.wiring, online=online):
        click.echo(f"\n{plan}")
        if online:
            from job.online import probe  # noqa: PLC0415

            for finding in probe(plan.token, config, job.wiring, system_clock):
                wrong += not finding.good
                outcome = "ok" if finding.good else "PROBLEM"
                click.echo(entry(finding.what, f"{outcome}: {finding.text}"))
    return FINDINGS if wrong else 0


@verb("config")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, a row for each sink.")
def status(options: Options, *, as_json: bool) -> int:
    """Tell whether every token is good, and for how long.

    It reads the sinks and writes nothing.

    \b
    Examples:
      freshtoken status
      freshtoken status --json | jq '.[] | select(.state != "current")'

    \b
    Exit status, as monitoring plugins have it:
      0   all current
      1   one is past its refresh time but valid
      2   one is expired or missing
      78  the configuration can't be used
    """  # noqa: D301
    from job import status as states  # noqa: PLC0415

    job, now = Job(options, os.environ), time.time()
    found = states.rows(job.load(), job.wiring, now)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found]))
    else:
        click.echo("\n".join(states.table(found, now)))
    return states.worst(found)


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
    from job.once import worst  # noqa: PLC0415
    from job.status import current_record  # noqa: PLC0415
    from job.tokens import OutputFormat, render  # noqa: PLC0415

    job = Job(options, os.environ)
    config = job.load()
    chosen_names([name], config.tokens)
    sinks = job.wiring.sinks(name, config.tokens[name], config.folder)
    record, errors = current_record(sinks, time.time())
    if record is None:
        told = [error.message for error in errors] or ["no valid token in its sinks"]
        click.echo("\n".join(f"{name}: {line}" for line in told), err=True)
        return worst(error.exit_code for error in errors) or NO_TOKEN
    click.echo(render(record, OutputFormat(layout, name)).rstrip("\n"))
    return 0


@verb("config")
@click.argument("provider", required=False)
def init(options: Options, provider: str | None) -> int:
    """Write a commented freshtoken.toml.

    \b
    Examples:
      freshtoken init           for a provider of your own
      freshtoken init tiki      for one of `freshtoken providers`
    """  # noqa: D301
    from job.config.presets import presets  # noqa: PLC0415
    from job.starter import starter  # noqa: PLC0415

    known = presets()
    path = options.config or os.environ.get("FRESHTOKEN_CONFIG") or "freshtoken.toml"
    if provider is not None:
        chosen_names([provider], known)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(starter(known.get(provider or "")))
    except FileExistsError:
        raise ConfigError([f"{path}: is there already; move it away, or use --config"]) from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError([f"{path}: cannot be written ({reason})"]) from None
    click.echo(f"wrote {path}: fill in the blanks, then run `freshtoken check`")
    return 0


@verb()
def providers(options: Options) -> int:  # noqa: ARG001  # a verb takes the options
    """List the providers that are known.

    Such a token needs only a client id, a client secret and a sink.

    \b
    Example:
      freshtoken init tiki      write a configuration for one of them
    """  # noqa: D301
    from job.config.presets import presets  # noqa: PLC0415

    known = presets().values()
    width = max(len(preset.name) for preset in known)
    for preset in known:
        click.echo(f"{preset.name.ljust(width)}  {preset.title}")
    return 0


@verb()
def schema(options: Options) -> int:  # noqa: ARG001
    """Print the JSON Schema of the configuration.

    \b
    Example:
      freshtoken schema > freshtoken.schema.json
    """  # noqa: D301
    import msgspec  # noqa: PLC0415

    from job.config.settings import ConfigFile  # noqa: PLC0415

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    click.echo(json.dumps(dialect | msgspec.json.schema(ConfigFile), indent=2))
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
    from job.config.values import seconds  # noqa: PLC0415
    from job.demo.command import run_demo  # noqa: PLC0415

    try:
        length_s = None if length is None else seconds(length)
        lifetime_s = max(int(seconds(lifetime)), 2)
    except ValueError:
        raise click.UsageError("a duration is written as 30s or 5m") from None
    program = "python -m job" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    return run_demo(length_s, lifetime_s, tokens, program)


def exit_status(args: Sequence[str] | None = None) -> int:
    """Run a verb, by default the one of the command line, and return the exit status."""
    try:
        return int(cli.main(args, prog_name="freshtoken", standalone_mode=False))
    except ConfigError as error:
        lines = mistakes(error.problems, error.origin, wrap=sys.stderr.isatty())
        click.echo("\n".join(lines), err=True)
        return error.exit_code
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # no traceback for people; places without values
        observer(Options(), lambda _: ())(crashed(error, None))
        return OWN_BUG


def main() -> None:
    """Run the program; every way out of it is here."""
    from job.process import harden  # noqa: PLC0415

    harden()
    if sys.stderr is None:  # it was closed before we were started
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as we live
    sys.exit(exit_status())
