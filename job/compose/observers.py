"""From settings to the observers beside the log: status board, metrics, HTTP, hooks.

Heavy modules are loaded only where they are configured.
"""

import os.path
from collections.abc import Callable, Mapping
from signal import SIGHUP
from typing import TYPE_CHECKING

import msgspec

from job.compose.refreshers import RefresherSet
from job.config import Config
from job.config.client_checks import proofs_of
from job.config.settings import TokenSettings
from job.config.watch_checks import EVENTS, address_of, hooks_of, signal_named
from job.config.watch_settings import HookSettings, HttpSettings
from job.core.errors import ConfigError
from job.core.events import Event
from job.core.state import Alarm, alarm_of
from job.credentials.kinds import variable_of

if TYPE_CHECKING:
    from job.observe.hooks import Hook, Hooks, TokenHooks
    from job.observe.http import Server
    from job.observe.metrics import Metrics
    from job.observe.status_board import StatusBoard

Report = Callable[[Event], None]


class Observers:
    """Passes the events of a job to its hooks and counters, and serves them over HTTP."""

    def __init__(self, refreshers: RefresherSet, report: Report) -> None:
        """Observe nothing yet; `report` gets the events of hooks, and what goes through `tell`."""
        self._refreshers = refreshers
        self._report = report
        self._clock = refreshers.tools.clock
        self._config: Config | None = None
        self._hooks: Hooks | None = None
        self._numbers: tuple[StatusBoard, Metrics] | None = None
        self._http: tuple[HttpSettings, Server] | None = None

    def follow(self, config: Config, alive: Callable[[], bool]) -> None:
        """Follow a configuration from now on; `alive` tells whether the sweep runs.

        Raises ConfigError, and changes nothing, when its HTTP address can't be bound.
        """
        if config.http != (self._http and self._http[0]):
            self._serve(config.http, alive)
        self._take(config)

    def follow_once(self, config: Config, metrics_file: str | None) -> None:
        """Follow a configuration for one pass, which serves nothing.

        Counters go on from those in `metrics_file`, if that is given.
        """
        if metrics_file is not None:
            self.count().restore(metrics_file)
        self._take(config)

    def count(self) -> "Metrics":
        """Keep counters from now on, and return them."""
        return self._counted()[1]

    def tell(self, event: Event) -> None:
        """Have an event reported first, and then observed."""
        self._report(event)
        self.observe(event)

    def observe(self, event: Event) -> None:
        """Pass an event to the counters and the hooks."""
        for observer in self._numbers or ():
            observer.observe(event)
        if self._hooks is not None:
            self._hooks.observe(event)

    def settle(self, seconds_left: float) -> None:
        """Wait for the running hooks and their further tries, but no longer than this."""
        if self._hooks is not None:
            self._hooks.settle(seconds_left)

    def stop(self, seconds_left: float) -> None:
        """Stop serving, and let running hooks end if they do so in time."""
        if self._http is not None:
            self._http[1].stop()
        if self._hooks is not None:
            self._hooks.finish(seconds_left)

    def _take(self, config: Config) -> None:
        self._config = config
        if self._hooks is None and any(map(_has_hooks, config.tokens.values())):
            self._hooks = self._start_hooks()

    def _counted(self) -> "tuple[StatusBoard, Metrics]":
        from job.observe.metrics import Metrics  # noqa: PLC0415  # 60 ms of CPU
        from job.observe.status_board import StatusBoard  # noqa: PLC0415  # only where numbers are wanted

        if self._numbers is None:
            board = StatusBoard(self._refreshers.in_force, self._provider_of, self._clock)
            self._numbers = (board, Metrics(board.statuses))
        return self._numbers

    def _serve(self, http: HttpSettings | None, alive: Callable[[], bool]) -> None:
        """Answer at another address: the new one is bound before the old one is released."""
        server = None if http is None else self._server(http, alive)
        if self._http is not None:
            self._http[1].stop()
        self._http = None
        if http is not None and server is not None:
            self._http = (http, server)
            server.start()

    def _server(self, http: HttpSettings, alive: Callable[[], bool]) -> "Server":
        from job.observe.http import Server, Site  # noqa: PLC0415  # 20 ms of CPU
        from job.observe.page import StatusPage  # noqa: PLC0415  # the same

        board, metrics = self._counted()
        site = Site(board.statuses, metrics.exposition, alive, StatusPage(), self._clock)
        host, port = address_of(http.listen) or ("", 0)
        try:
            return Server(site, host, port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "no such host"
            cure = "choose another address, or end the process that has it"
            problem = f"http.listen: {http.listen} can't be bound ({reason}); {cure}"
            raise ConfigError([problem]) from None

    def _start_hooks(self) -> "Hooks":
        from job.observe.hooks import Hooks  # noqa: PLC0415  # only where there are hooks

        return Hooks(self._hooks_of, self._is_well, self._report, self._clock)

    def _hooks_of(self, name: str) -> "TokenHooks":
        from job.observe.hooks import TokenHooks  # noqa: PLC0415  # as above

        config = self._config
        if config is None or name not in config.tokens:
            return TokenHooks()
        events = (hooks_of(config.tokens[name], event) for event in EVENTS)
        built = (
            tuple(self._hook(hook, config.tokens[name], config) for _, hook in hooks)
            for hooks in events
        )
        return TokenHooks(*built)

    def _hook(self, hook: HookSettings, token: TokenSettings, config: Config) -> "Hook":
        from job.observe import hook_actions  # noqa: PLC0415  # requests is 0.1 s of CPU

        if hook.command:
            environ = _without_secrets(config, self._refreshers.tools.environ)
            return hook_actions.CommandHook(hook.command, hook.timeout, environ)
        if hook.signal is not None:
            number = signal_named(hook.signal.name) or SIGHUP
            return hook_actions.SignalHook(hook.signal.pidfile, number)
        tools, url = self._refreshers.tools, hook.webhook or ""
        # The proxy and the authorities of the token, but never the certificate of its client.
        way = msgspec.structs.replace(
            token, timeout=hook.timeout, certificate_file=None, key_file=None
        )
        secret = None if hook.hmac_secret is None else tools.secret(hook.hmac_secret)
        return hook_actions.WebhookHook(url, tools.transport(way, url), secret)

    def _is_well(self, name: str) -> bool:
        refresher = self._refreshers.in_force().get(name)
        return refresher is None or alarm_of(refresher.known, self._clock()) is Alarm.NONE

    def _provider_of(self, name: str) -> str:
        token = self._config.tokens.get(name) if self._config else None
        return (token.provider if token else None) or ""


def _has_hooks(token: TokenSettings) -> bool:
    return any(getattr(token, event) for event in EVENTS)


def _without_secrets(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    tokens = config.tokens.values()
    hidden = {variable_of(source) for token in tokens for _, source in proofs_of(token)}
    hooks = (hook for token in tokens for event in EVENTS for _, hook in hooks_of(token, event))
    hidden |= {variable_of(hook.hmac_secret) for hook in hooks if hook.hmac_secret is not None}
    return {name: value for name, value in environ.items() if name not in hidden}
