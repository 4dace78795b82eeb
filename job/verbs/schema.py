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
    from job.config.json_schema import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(), indent=2))
    return 0
