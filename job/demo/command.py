"""`freshtoken demo`: the real job against an authorization server of our own, and a live view."""

import os.path
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import system_clock
from job.core.events import Event
from job.core.secret import Secret
from job.demo.server import AuthMethod, AuthorizationServer, Client
from job.demo.view import DemoView, exit_code, summary
from job.inventory.kinds import load
from job.runners.daemon import Daemon
from job.runners.process import TO_RUN, Signals

NAMES = ("tiki", "partner", "warehouse", "billing", "shipping")
METHODS: tuple[AuthMethod, ...] = ("client_secret_basic", "client_secret_post")

TABLE = """\
[tokens.{name}]
token_url     = "{token_url}"
auth_method   = "{method}"
client_id     = "{name}"
client_secret = {{ file = "{name}.secret" }}
[[tokens.{name}.sinks]]
type = "file"
path = "{name}.json"

"""
DEFAULTS = """\
[defaults]
min_validity = "{min_validity}s"
retry_budget = "1s"

"""


def run_demo(length_s: float | None, lifetime_s: int, tokens: int, program: str) -> int:
    """Run the job in a temporary folder for `length_s` seconds, or until Ctrl-C or SIGTERM.

    `program` is how a person starts this program, for what the view suggests to try.
    Returns 0 if every token was refreshed and none was ever expired in its file, else 1.
    """
    clients = _clients(tokens)
    with (
        tempfile.TemporaryDirectory(prefix="freshtoken-demo-") as folder,
        AuthorizationServer(clients, lifetime_s) as server,
    ):
        path = _write_configuration(folder, server.token_url, clients, lifetime_s)
        files = {c.client_id: os.path.join(folder, f"{c.client_id}.json") for c in clients}
        commands = (
            f"cat {next(iter(files.values()))}",
            f"{program} status --watch --config {path}",
        )
        view = DemoView(server.token_url, files, commands)
        _work(path, view, length_s)
    print(summary(view.tracks()))  # noqa: T201  # what was asked for
    return exit_code(view.tracks())


def _clients(count: int) -> list[Client]:
    """Return clients with secrets made now, of both authentication methods in turn."""
    names = [*NAMES, *(f"partner-{number}" for number in range(len(NAMES) + 1, count + 1))][:count]
    return [
        Client(name, Secret(secrets.token_urlsafe(24)), METHODS[number % len(METHODS)])
        for number, name in enumerate(names)
    ]


def _write_configuration(
    folder: str, token_url: str, clients: list[Client], lifetime_s: int
) -> str:
    """Write what a user would write, and return the configuration's path."""
    path = os.path.join(folder, "freshtoken.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(DEFAULTS.format(min_validity=max(lifetime_s // 6, 1)))
        for client in clients:
            name, method = client.client_id, client.auth_method
            file.write(TABLE.format(name=name, token_url=token_url, method=method))
            _write_private(os.path.join(folder, f"{name}.secret"), client.secret)
    return path


def _write_private(path: str, secret: Secret) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(secret.reveal())


def _work(path: str, view: DemoView, length_s: float | None) -> None:
    """Do what `run` does, with the view as the observer instead of the log."""
    composed = RefresherSet(Tools({}, os.uname().nodename, system_clock))
    console = Console()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(TO_RUN, leaving=SystemExit(0)))
        live = view.live(console)
        if live:
            stack.enter_context(live)

        def report(event: Event) -> None:
            view.observe(event)
            line = None if live else view.line(event)
            if line:
                console.out(line, highlight=False)

        refreshers = composed.update(load(path, {}).tokens)
        daemon = Daemon(refreshers, report, lambda _: composed.update(load(path, {}).tokens))
        if length_s is not None:
            stack.enter_context(_ending(daemon, length_s))
        signals.hand_to(daemon.obey)
        daemon.run()


@contextmanager
def _ending(daemon: Daemon, length_s: float) -> Iterator[None]:
    """Stop the daemon after a while."""
    timer = threading.Timer(length_s, daemon.stop, ["the time is over"])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
