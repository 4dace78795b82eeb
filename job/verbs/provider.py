"""The verbs about providers: which are known, a configuration for one, what a server does."""

import json
import os
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from job.compose.job import Job, Options
from job.core.errors import ConfigError, ExchangeError
from job.verbs.common import chosen_names, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job.config.presets import Preset


@command("config")
@click.argument("provider", required=False)
def init(options: Options, provider: str | None) -> int:
    """Write a commented freshtoken.toml.

    \b
    Examples:
      freshtoken init           for a provider of your own
      freshtoken init tiki      for one of `freshtoken providers`
    """  # noqa: D301  # \b keeps click from wrapping the lines
    from job.config.presets import presets  # noqa: PLC0415
    from job.verbs.config_template import config_template  # noqa: PLC0415

    preset = None if provider is None else _known(provider, presets())
    path = options.config or os.environ.get("FRESHTOKEN_CONFIG") or "freshtoken.toml"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(config_template(preset))
    except FileExistsError:
        raise ConfigError([f"{path}: is there already; move it away, or use --config"]) from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError([f"{path}: cannot be written ({reason})"]) from None
    click.echo(f"wrote {path}: fill in the blanks, then run `freshtoken check`")
    return 0


@command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as JSON.")
def providers(options: Options, name: str | None, *, as_json: bool) -> int:  # noqa: ARG001  # a verb takes the options
    """List the providers that are known, or explain one.

    Such a token needs only a client id, a client secret and a sink, and what is the user's own.

    \b
    Examples:
      freshtoken providers zoom    what it needs, gives, limits
      freshtoken init zoom         write a configuration for it
    """  # noqa: D301
    from job.config.presets import catalogue, presets  # noqa: PLC0415
    from job.verbs.providers import explained, listing  # noqa: PLC0415

    chosen = presets() if name is None else {name: _known(name, catalogue())}
    if as_json:
        click.echo(json.dumps({one: asdict(preset) for one, preset in chosen.items()}))
    elif name is not None:
        click.echo("\n".join(explained(chosen[name])))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo("\n".join(listing(chosen, width)))
    return 0


@command("config")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask before a token is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def probe(options: Options, name: str, *, yes: bool, as_json: bool) -> int:
    """Get two tokens, to tell what the server does.

    It prints which settings the server needs, and writes nothing. It asks before it does, because
    a new token may kill the one that readers have.

    \b
    Examples:
      freshtoken probe tiki
      freshtoken probe tiki --yes --json

    \b
    Exit status:
      0   the server gave two tokens
      75  the token endpoint is unreachable, or failing for now
      77  the server rejected us: credentials, permissions
      78  the configuration can't be used
    """  # noqa: D301
    from job.verbs.probe_report import report, warning  # noqa: PLC0415

    job = Job(options, os.environ)
    config = job.load(with_secrets=True)
    chosen_names([name], config.tokens)
    settings = config.tokens[name]
    if not yes:
        _ask(warning(name, settings))
    from job.verbs.probe_exchange import exchange_twice, verdict  # noqa: PLC0415  # requests, after the question

    try:
        settled, exchange = job.wiring.sources.exchange(settings, config.folder)
        first, second = exchange_twice(exchange, job.wiring.limit(name, config))
    except ExchangeError as error:
        click.echo(f"{name}: {error}", err=True)
        return error.exit_code
    judged = verdict(exchange, first.token, second.token, settings.probe_url)
    seen = report(first, second, judged, settled, exchange.rules)
    click.echo(json.dumps(asdict(seen)) if as_json else "\n".join([name, *seen.lines(name)]))
    return 0


def _ask(warning: str) -> None:
    """Have a person at the terminal agree; raises click's Abort, and UsageError without one."""
    if not sys.stdin.isatty():
        raise click.UsageError("probe asks before it does, and there is no terminal: add --yes")
    click.confirm(f"{warning}\nGo on?", abort=True, err=True)


def _known(name: str, presets: "Mapping[str, Preset]") -> "Preset":
    """Return a provider by its name; another name is a usage error."""
    from job.config.checks import nearest  # noqa: PLC0415

    if name not in presets:
        near = nearest(name, presets)
        cure = f"did you mean {near}?" if near else "`freshtoken providers` lists those that are"
        raise click.UsageError(f"{name} is unknown; {cure}")
    return presets[name]
