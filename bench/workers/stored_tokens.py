"""Many tokens that are stored already, of evenly spread ages, and the configuration of them."""

import os
import sys
import time

from job.compose.token_source import key_of
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Token, record_of, render
from job.inventory.kinds import load

LIFE_S = 3600
DUE_AFTER_S = 2412
"""0.67 of the life: without jitter, so that the log gives the exact moment in whole seconds."""
HEAD = '[defaults]\ntoken_url = "{url}"\njitter = 0.0\nmax_rate = "1000/s"\nmax_concurrency = 32\n'
TABLE = """
[tokens.{name}]
client_id = "client-{number}"
client_secret = {{ file = "client-secret" }}

[[tokens.{name}.sinks]]
type = "file"
path = "{name}.json"
"""


def main(folder: str, url: str, count: int, first_due_s: int) -> None:
    """Write the configuration, the client secret and the tokens; none is due for `first_due_s`."""
    names = [f"token-{number}" for number in range(count)]
    config = os.path.join(folder, "many.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(HEAD.format(url=url))
        file.writelines(TABLE.format(name=name, number=n) for n, name in enumerate(names))
    _write(os.path.join(folder, "client-secret"), os.environ["BENCH_SECRET"])
    settings = load(config, os.environ).tokens
    oldest = int(time.time()) + first_due_s - DUE_AFTER_S
    for number, name in enumerate(names):
        requested_at = oldest + number * (DUE_AFTER_S - first_due_s) // count
        token = Token(
            Secret(f"{name}-{os.urandom(32).hex()}"),
            "Bearer",
            "",
            requested_at,
            requested_at + LIFE_S,
            "expires_in",
        )
        text = render(record_of(token, key_of(settings[name])), OutputFormat("json", name))
        _write(os.path.join(folder, f"{name}.json"), text)


def _write(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
