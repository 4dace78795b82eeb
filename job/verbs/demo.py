"""`demo`: the whole job on this machine, with nothing prepared."""

import sys

import click

from job.compose.job import Options
from job.verbs.common import command, duration_option


@command()
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
    from job.verbs.demo_view import run_demo  # noqa: PLC0415

    length_s = None if length is None else duration_option(length)
    lifetime_s = max(int(duration_option(lifetime)), 2)
    program = "python -m job" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    return run_demo(length_s, lifetime_s, tokens, program)
