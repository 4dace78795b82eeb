"""What can be wrong with hooks, and with the address of the HTTP server."""

import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

from job.config.request_checks import of_endpoint
from job.config.settings import TokenSettings
from job.config.watch_settings import HookSettings
from job.credentials.kinds import problems_of
from job.values import numbered

EVENTS = ("on_refresh", "on_trouble")


def of_hooks(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a token's hooks: the key, and what to do."""
    for event in EVENTS:
        for place, hook in hooks_of(token, event):
            for key, text in _of_hook(hook, token):
                yield f"{place}{key}", text


def hooks_of(token: TokenSettings, event: str) -> Iterator[tuple[str, HookSettings]]:
    """Yield the hooks of an event, each with its place; a list has its numbers."""
    return numbered(event, getattr(token, event))


def _of_hook(hook: HookSettings, token: TokenSettings) -> Iterator[tuple[str, str]]:
    if sum(bool(way) for way in (hook.command, hook.webhook, hook.signal)) != 1:
        yield "", "needs exactly one of command, webhook and signal"
    if hook.webhook is not None:
        yield from ((f".{key}", text) for key, text in of_endpoint("webhook", hook.webhook, token))
    if hook.hmac_secret is not None:
        if hook.webhook is None:
            yield ".hmac_secret", "goes with webhook"
        found = problems_of("hmac_secret", hook.hmac_secret)
        yield from ((f".{key}", text) for key, text in found)
    if hook.signal is not None and signal_named(hook.signal.name) is None:
        yield ".signal.name", "is not a signal; write HUP, USR1, TERM or the like"


def signal_named(name: str) -> signal.Signals | None:
    """Return the signal of a name, with or without SIG; None for an unknown one."""
    return signal.Signals.__members__.get(f"SIG{name.removeprefix('SIG')}")


def address_of(listen: str) -> tuple[str, int] | None:
    """Return the host and the port of `HOST:PORT`, or None for another text."""
    try:
        parts = urlsplit(f"//{listen}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or port is None or parts.netloc != listen or "@" in listen:
        return None
    return host, port
