"""The commented configuration that `init` writes."""

import textwrap

from job.config import Preset

HEAD = """\
# freshtoken: keeps OAuth 2.0 client-credentials tokens current.
# Check it:    freshtoken check
# Try it once: freshtoken once
# Keep it up:  freshtoken run
# Every key:   freshtoken schema, or docs/configuration.md

[defaults]
min_validity = "5m"          # the promise: whoever reads a token can use it this much longer

"""

OWN_PROVIDER = """\
[tokens.partner]
token_url     = ""                             # the provider's token endpoint
auth_method   = "client_secret_basic"          # or "client_secret_post"
# scope       = ["orders.read"]
"""

PRESET = """\
[tokens.{name}]
provider      = "{name}"   # {title}
"""

CLIENT = """\
client_id     = ""                             # in quotes, even if it is a number
client_secret = {{ env = "{variable}" }} # or {{ file = "/run/secrets/{name}" }}

[[tokens.{name}.sinks]]
type   = "file"
path   = "{name}.json"       # beside this file; better on a tmpfs: /run/freshtoken/{name}.json
format = "json"              # json | raw | header | env | template
mode   = "0600"

# [[tokens.{name}.sinks]]
# type      = "aws_secrets_manager"
# secret_id = "prod/{name}/access-token"
# region    = "ap-southeast-1"
"""


def starter(preset: Preset | None) -> str:
    """Return a configuration for a provider that is known, or for one's own."""
    if preset is None:
        return HEAD + OWN_PROVIDER + _client("partner")
    notes = [f"# {preset.docs}", *(f"# {line}" for line in textwrap.wrap(preset.notes, 96))]
    return HEAD + "\n".join(notes) + "\n" + PRESET.format(**_of(preset)) + _client(preset.name)


def _of(preset: Preset) -> dict[str, str]:
    return {"name": preset.name, "title": preset.title}


def _client(name: str) -> str:
    variable = name.upper().replace("-", "_") + "_CLIENT_SECRET"
    return CLIENT.format(name=name, variable=variable)
