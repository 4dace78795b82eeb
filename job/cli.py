"""The verbs: the only reader of the environment and the arguments, and the only exit.

Modules are imported where a verb needs them, for a cron job pays for each import every minute.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from job import __version__
from job.clock import system_clock
from job.errors import ConfigError
from job.events import ConfigRejected, Event, crashed

if TYPE_CHECKING:
    from job.config import Config
    from job.observe.log import LogFormat, LogLevel
    from job.refresh import Refresher
    from job.secret import Secret
    from job.tokens import FormatName

SINK_FAILED, NO_TOKEN, FINDINGS = 74, 75, 1


@dataclass(frozen=True)
class Options:
    """The options that every verb takes, before it or after it."""

    config: str | None = None
    log_format: "LogFormat | None" = None
    log_level: "LogLevel | None" = None


class Job:
    """What most verbs need: the configuration, the wiring, and a log that is made when needed."""

    def __init__(self, options: Options) -> None:
        """Read nothing yet."""
        from job.wire import Wiring  # noqa: PLC0415

        self._options = options
        self.wiring = Wiring(os.environ, os.uname().nodename, system_clock)
        self._observe: Callable[[Event], None] | None = None

    def load(self) -> "Config":
        """Return the configuration; raises ConfigError."""
        from job.config import load  # noqa: PLC0415

        return load(self._options.config, os.environ)

    def refreshers(self) -> "dict[str, Refresher]":
        """Return a refresher for each token; raises ConfigError, also for secrets not set."""
        from job.checks import of_environment  # noqa: PLC0415

        config = self.load()
        if unset := list(of_environment(config.tokens, os.environ)):
            raise ConfigError(unset)
        return self.wiring.refreshers(config)

    def report(self, event: Event) -> None:
        """Log an event on standard error."""
        if self._observe is None:
            self._observe = observer(self._options, self.wiring.live_secrets)
        self._observe(event)


def observer(
    options: Options, live_secrets: "Callable[[str | None], Iterable[Secret]]"
) -> Callable[[Event], None]:
    """Return the log on standard error; JSON lines unless that is a terminal."""
    from job.observe.log import log_observer  # noqa: PLC0415

    level = options.log_level or "info"
    return log_observer(sys.stderr, format_of(options), level, live_secrets)


def format_of(options: Options) -> "LogFormat":
    """Return the format of the log."""
    return options.log_format or ("console" if sys.stderr.isatty() else "json")


class Verbs(click.Group):
    """Lists the verbs in the order of a person's first day."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the order in which they are defined."""
        return list(self.commands)


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every verb takes."""
    levels = click.Choice(["debug", "info", "warning", "error", "critical"])
    for option in (
        click.option("--log-level", type=levels, help="Log lines from this level on."),
        click.option("--log-format", type=click.Choice(["json", "console"])),
        click.option("--config", metavar="FILE", help="The configuration file."),
    ):
        function = option(function)
    return function


def options_of(ctx: click.Context, given: dict[str, Any]) -> Options:
    """Take the common options out of what was given; after the verb they win over before it."""
    own = {key: given.pop(key) for key in ("config", "log_format", "log_level")}
    before = ctx.obj if isinstance(ctx.obj, Options) else Options()
    return replace(before, **{key: value for key, value in own.items() if value is not None})


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96}
)
@click.version_option(__version__, prog_name="freshtoken")
@common
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


def verb(function: Callable[..., int]) -> Callable[..., int]:
    """Make a verb of a function that takes the options and returns the exit status."""

    @common
    @click.pass_context
    @functools.wraps(function)
    def invoke(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401  # click's signature
        options = options_of(ctx, given)
        ctx.exit(function(options, **given))

    cli.command()(invoke)
    return function


@verb
def run(options: Options) -> int:
    """Keep all tokens current until SIGTERM or SIGINT.

    \b
    Examples:
      freshtoken run --config /etc/freshtoken/freshtoken.toml
      kill -HUP PID     read the configuration again; a bad one is refused, the old one kept
      kill -USR1 PID    refresh every token now
    """  # noqa: D301
    from job.daemon import Daemon  # noqa: PLC0415
    from job.process import harden  # noqa: PLC0415

    harden()
    job = Job(options)
    try:
        refreshers = job.refreshers()
    except ConfigError as error:
        return rejected(job, options, error)
    return Daemon(refreshers, job.report, lambda _: job.refreshers()).run()


@verb
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Refresh now, due or not.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def once(options: Options, names: tuple[str, ...], *, force: bool, as_json: bool) -> int:
    """Refresh what is due, then exit: for cron. Prints nothing when nothing was due.

    \b
    Examples:
      freshtoken once --config /etc/freshtoken/freshtoken.toml
      freshtoken once tiki --force

    \b
    Exit status, the worst of all tokens:
      0   every token is current in every sink
      75  a token endpoint is unreachable or failing for now
      74  a sink failed
      77  the server or a store rejected us: credentials, permissions
      78  configuration
      70  a bug of freshtoken
    """  # noqa: D301
    from job.once import run_once, worst  # noqa: PLC0415

    job = Job(options)
    try:
        refreshers = job.refreshers()
    except ConfigError as error:
        return rejected(job, options, error)
    chosen = [refreshers[name] for name in chosen_names(names, refreshers)]
    outcomes = run_once(chosen, job.report, force=force)
    status_code = worst(outcome.exit_status for outcome in outcomes)
    if as_json:
        tokens = {outcome.token: outcome.as_json() for outcome in outcomes}
        click.echo(json.dumps({"exit_status": status_code, "tokens": tokens}))
    return status_code


@verb
@click.option("--online", is_flag=True, help="Also try what can be tried without a token.")
def check(options: Options, *, online: bool) -> int:
    """Validate the configuration and print the plan for each token. Mints nothing.

    \b
    Examples:
      freshtoken check
      freshtoken check --online    also DNS, TLS, the clock, and reading the sinks

    \b
    Exit status: 0 all well, 1 something that --online tried is wrong, 78 configuration
    """  # noqa: D301
    from job.forecast import forecasts  # noqa: PLC0415

    job = Job(options)
    config, good = job.load(), True
    click.echo(f"{config.origin} is valid")
    for plan in forecasts(config, job.wiring, read_all=online):
        click.echo(f"\n{plan}")
        if online:
            from job.online import probe  # noqa: PLC0415

            for finding in probe(plan.token, config, job.wiring):
                good = good and finding.good
                click.echo(str(finding))
    return 0 if good else FINDINGS


@verb
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def status(options: Options, *, as_json: bool) -> int:
    """Read the sinks and show each token: state, time left, next refresh.

    \b
    Examples:
      freshtoken status
      freshtoken status --json | jq '.[] | select(.state != "current")'

    \b
    Exit status, as monitoring plugins have it:
      0   all current
      1   one is past its refresh time but valid
      2   one is expired or missing
      78  configuration
    """  # noqa: D301
    from job import status as states  # noqa: PLC0415

    job, now = Job(options), time.time()
    found = states.rows(job.load(), job.wiring, now)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found]))
    else:
        click.echo("\n".join(states.table(found, now)))
    return states.worst(found)


@verb
@click.argument("name")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["raw", "json", "header", "env"]),
    default="raw",
    show_default=True,
)
def get(options: Options, name: str, layout: "FormatName") -> int:
    """Print the current token from its sink, for scripts.

    \b
    Examples:
      TOKEN=$(freshtoken get tiki)
      freshtoken get tiki --format header | curl --header @- https://api.example.com/

    \b
    Exit status: 0 printed, 74 its sinks can't be read, 75 there is no valid token
    """  # noqa: D301
    from job.status import current_record  # noqa: PLC0415
    from job.tokens import OutputFormat, render  # noqa: PLC0415

    job = Job(options)
    config = job.load()
    chosen_names([name], config.tokens)
    sinks = job.wiring.sinks(name, config.tokens[name], config.folder)
    record, problem = current_record(sinks, time.time())
    if record is None:
        click.echo(f"{name}: {problem or 'no valid token in its sinks'}", err=True)
        return SINK_FAILED if problem else NO_TOKEN
    click.echo(render(record, OutputFormat(layout, name)).rstrip("\n"))
    return 0


@verb
@click.argument("provider", required=False)
def init(options: Options, provider: str | None) -> int:
    """Write a commented freshtoken.toml.

    \b
    Examples:
      freshtoken init           for a provider of your own
      freshtoken init tiki      for one of `freshtoken providers`
    """  # noqa: D301
    from job.config import presets  # noqa: PLC0415
    from job.starter import starter  # noqa: PLC0415

    path, known = options.config or "freshtoken.toml", presets()
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


@verb
def providers(options: Options) -> int:  # noqa: ARG001  # a verb takes the options
    """List the presets.

    \b
    Example:
      freshtoken init tiki      write a configuration for one of them
    """  # noqa: D301
    from job.config import presets  # noqa: PLC0415

    known = presets().values()
    width = max(len(preset.name) for preset in known)
    for preset in known:
        click.echo(f"{preset.name.ljust(width)}  {preset.title}")
    return 0


@verb
def schema(options: Options) -> int:  # noqa: ARG001
    """Print the JSON Schema of the configuration.

    \b
    Example:
      freshtoken schema > freshtoken.schema.json
    """  # noqa: D301
    import msgspec  # noqa: PLC0415

    from job.settings import ConfigFile  # noqa: PLC0415

    click.echo(json.dumps(msgspec.json.schema(ConfigFile), indent=2))
    return 0


@verb
@click.option("--for", "length", metavar="DURATION", help="End by itself.")
@click.option("--lifetime", default="20s", show_default=True, help="How long a token lives.")
@click.option("--tokens", default=3, show_default=True, type=click.IntRange(1, 20))
def demo(options: Options, length: str | None, lifetime: str, tokens: int) -> int:  # noqa: ARG001
    """See the whole job on this machine: an authorization server, short tokens, a live view.

    \b
    Examples:
      freshtoken demo
      freshtoken demo --for 30s --lifetime 10s
    """  # noqa: D301
    from job.demo.command import run_demo  # noqa: PLC0415
    from job.settings import seconds  # noqa: PLC0415

    try:
        length_s = None if length is None else seconds(length)
        lifetime_s = max(int(seconds(lifetime)), 2)
    except ValueError as error:
        raise click.BadParameter(f"{error} is not a duration; write 30s or 5m") from None
    program = sys.argv[0]
    if program.endswith("__main__.py"):
        program = "python -m job"
    return run_demo(length_s, lifetime_s, tokens, program)


def chosen_names(names: Sequence[str], known: Mapping[str, object]) -> list[str]:
    """Return what was named, or all; a name that is unknown is a usage error."""
    for name in names:
        if name not in known:
            raise click.BadParameter(f"there is no {name}; there are {', '.join(known)}")
    return list(dict.fromkeys(names)) or list(known)


def rejected(job: Job, options: Options, error: ConfigError) -> int:
    """Tell every problem: as an event where the log is JSON, else as lines for people."""
    if format_of(options) != "json":
        raise error
    job.report(ConfigRejected(error.problems))
    return error.exit_code


def main() -> None:
    """Run a verb; every way out of the program is here."""
    try:
        status_code = cli.main(standalone_mode=False)
    except ConfigError as error:
        click.echo("\n".join(error.problems), err=True)
        status_code = error.exit_code
    except click.exceptions.Abort:
        status_code = 130
    except click.ClickException as error:
        error.show()
        status_code = error.exit_code
    except Exception as error:  # noqa: BLE001  # no traceback for people; places without values
        observer(Options(), lambda _: ())(crashed(error, None))
        status_code = 70
    sys.exit(status_code)
