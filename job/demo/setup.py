"""What a newcomer would prepare: clients with secrets, and a configuration."""

import os
import secrets
from collections.abc import Mapping
from functools import partial
from itertools import cycle

from job.core.secret import Secret

NAMES = ("tiki", "partner", "warehouse", "billing", "shipping")
METHODS = ("client_secret_basic", "client_secret_post")

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


def new_clients(count: int) -> dict[str, Secret]:
    """Return client ids with secrets made now."""
    names = [*NAMES, *(f"partner-{number}" for number in range(len(NAMES) + 1, count + 1))][:count]
    return {name: Secret(secrets.token_urlsafe(24)) for name in names}


def write_configuration(
    folder: str, token_url: str, clients: Mapping[str, Secret], lifetime_s: int
) -> str:
    """Write what a user would write, with both authentication methods in turn; return its path."""
    path = os.path.join(folder, "freshtoken.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(DEFAULTS.format(min_validity=max(lifetime_s // 6, 1)))
        for (name, secret), method in zip(clients.items(), cycle(METHODS), strict=False):
            file.write(TABLE.format(name=name, token_url=token_url, method=method))
            secret_path = os.path.join(folder, f"{name}.secret")
            with open(secret_path, "x", opener=partial(os.open, mode=0o600)) as secret_file:
                secret_file.write(secret.reveal())
    return path
