"""What a newcomer would prepare: clients with secrets, and a configuration."""

import os
import secrets

from job.core.secret import Secret
from job.demo.server import AuthMethod, Client

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


def clients_of(count: int) -> list[Client]:
    """Return clients with secrets made now, of both authentication methods in turn."""
    names = [*NAMES, *(f"partner-{number}" for number in range(len(NAMES) + 1, count + 1))][:count]
    return [
        Client(name, Secret(secrets.token_urlsafe(24)), METHODS[number % len(METHODS)])
        for number, name in enumerate(names)
    ]


def write_configuration(folder: str, token_url: str, clients: list[Client], lifetime_s: int) -> str:
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
