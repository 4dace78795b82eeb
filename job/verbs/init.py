"""`init`: a commented configuration to begin with."""

import os

import click

from job.compose.job import Options
from job.core.errors import ConfigError
from job.verbs.common import command
from job.verbs.providers import preset_of


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

    preset = None if provider is None else preset_of(provider, presets())
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
