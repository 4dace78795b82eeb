"""What the verbs have in common: their options, and how they become commands."""

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import click

from job.compose.job import Options
from job.observe.background import BackgroundReporter
from job.runners.process import release_signals

UNWRITABLE, NO_TOKEN = 74, 75
"""Exit statuses: the output can't be written, and no token can be printed."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

COMMON: "Mapping[str, tuple[str, click.ParamType[str], str]]" = {
    "log_level": (
        "LEVEL",
        click.Choice(["debug", "info", "warning", "error", "critical"]),
        "debug, info (the default), warning, error or critical.",
    ),
    "log_format": (
        "FORMAT",
        click.Choice(["json", "console"]),
        "json or console; by default console on a terminal only.",
    ),
    "config": ("FILE", click.STRING, "The configuration file."),
}
"""The options that every verb takes: their metavar, type and help."""


class Verbs(click.Group):
    """Lists the verbs in the order of a person's first day."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names in the order of definition."""
        return list(self.commands)


def common(shown: Collection[str]) -> Callable[[Decorated], Decorated]:
    """Add the options that every verb takes; the help shows only those of `shown`."""

    def decorate(function: Decorated) -> Decorated:
        for name, (metavar, kind, text) in COMMON.items():
            flag, hidden = "--" + name.replace("_", "-"), name not in shown
            option = click.option(flag, type=kind, metavar=metavar, help=text, hidden=hidden)
            function = option(function)
        return function

    return decorate


def command(
    *shown: str, hears_signals: bool = False
) -> Callable[[Callable[..., int]], click.Command]:
    """Make a verb of a function that takes the options and returns the exit status.

    Every verb takes the common options; its help shows only those of `shown`. Signals do what they
    do by default unless the verb `hears_signals`.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @common(shown)
        @click.pass_context
        @functools.wraps(function)
        def invoke(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401  # click's signature
            options = options_of(ctx, given)
            if not hears_signals:
                release_signals()
            ctx.exit(function(options, **given))

        made = click.command()(invoke)
        made.params.sort(key=lambda param: param.name in COMMON)
        return made

    return decorate


def options_of(ctx: click.Context, given: dict[str, Any]) -> Options:
    """Take the common options out of `given`; one after the verb overrides one before it."""
    own = {key: given.pop(key) for key in COMMON}
    before = ctx.obj if isinstance(ctx.obj, Options) else Options()
    return replace(before, **{key: value for key, value in own.items() if value is not None})


def chosen_names(names: Sequence[str], known: Mapping[str, object]) -> list[str]:
    """Return the names that were given, or all; an unknown name is a usage error."""
    for name in names:
        if name not in known:
            raise click.UsageError(f"{name} is unknown; there are {', '.join(known)}")
    return list(dict.fromkeys(names)) or list(known)


def duration_option(text: str) -> float:
    """Return a duration in seconds; one that can't be read is a usage error."""
    from job.values import Duration  # noqa: PLC0415

    try:
        return Duration(text)
    except ValueError:
        raise click.UsageError("a duration is written as 30s or 5m") from None


def leave(
    status_code: int, log: BackgroundReporter, at_once: Callable[[int], object] = os._exit
) -> int:
    """Return the status, or exit at once if the log hangs: a normal exit waits for its lock."""
    if log.hangs:
        at_once(status_code)
    return status_code
