"""`check`: every mistake at once, and the plan for each token."""

import os

import click

from job.compose.job import Job, Options
from job.core.text import entry
from job.verbs.common import command

PROBLEM_FOUND = 1
"""The exit status of a valid configuration with which something that was tried is wrong."""


@command("config")
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
            from job.verbs.preflight import preflight  # noqa: PLC0415

            for result in preflight(plan.token, config.tokens[plan.token], job.tools):
                wrong += not result.good
                outcome = "ok" if result.good else "PROBLEM"
                click.echo(entry(result.what, f"{outcome}: {result.text}"))
    return PROBLEM_FOUND if wrong else 0
