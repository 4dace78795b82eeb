"""The commented configuration that `init` writes."""

import textwrap

from job.config.presets import Preset

HEAD = """\
# freshtoken keeps OAuth 2.0 client-credentials tokens current.
#   freshtoken check    every mistake at once, and the plan
#   freshtoken once     get a token now, or when one is due: for cron
#   freshtoken run      keep them current
# Every key: docs/configuration.md, or `freshtoken schema`.

[defaults]
min_validity = "5m"    # the promise: a token that is read works this long

"""

OWN_PROVIDER = """\
[tokens.partner]
token_url     = ""     # the provider's token endpoint: https://...
auth_method   = "client_secret_basic"    # or "client_secret_post"
# scope       = ["orders.read"]
"""

PRESET = """\
# {title}
# {docs}
{notes}[tokens.{name}]
provider      = "{name}"
# auth_method = "{other}"    # instead of {method}
"""

CLIENT = """\
client_id     = ""     # in quotes, even if it is a number
client_secret = {{ env = "{variable}" }}
# client_secret = {{ file = "/run/secrets/{name}" }}

[[tokens.{name}.sinks]]
type   = "file"
path   = "{name}.json"    # better: /run/freshtoken/{name}.json
format = "json"    # or raw, header, env, template
mode   = "0600"

# [[tokens.{name}.sinks]]
# type      = "aws_secrets_manager"
# secret_id = "prod/{name}/access-token"
# region    = "ap-southeast-1"
"""

METHODS = ("client_secret_basic", "client_secret_post")
WIDTH = 76


def starter(preset: Preset | None) -> str:
    """Return a configuration for a provider that is known, or for one's own."""
    if preset is None:
        return HEAD + OWN_PROVIDER + _client("partner")
    method = preset.settings["auth_method"]
    head = PRESET.format(
        name=preset.name,
        title=preset.title,
        docs=preset.docs,
        notes="".join(f"# {line}\n" for line in textwrap.wrap(preset.notes, WIDTH)),
        method=method,
        other=next(other for other in METHODS if other != method),
    )
    return HEAD + head + _client(preset.name)


def _client(name: str) -> str:
    variable = name.upper().replace("-", "_") + "_CLIENT_SECRET"
    return CLIENT.format(name=name, variable=variable)
