"""`schema`: the JSON Schema of the configuration."""

import json

import click

from job.compose.job import Options
from job.verbs.common import command


@command()
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
