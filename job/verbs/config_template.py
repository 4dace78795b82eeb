"""The commented configuration that `init` writes. Pure."""

import json
import textwrap
from collections.abc import Iterator, Mapping

from job.config.presets import Need, Preset

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

CLIENT_ID = 'client_id     = ""     # in quotes, even if it is a number\n'

ONE_WRITER = """\
# A new token kills the one before: in AWS it needs one host that keeps it.
# single_writer = true
"""

WITH_SECRET = """\
client_secret = {{ env = "{variable}" }}
# client_secret = {{ file = "/run/secrets/{name}" }}
"""  # noqa: S105  # where one is, not what

WITH_KEY = """\
private_key   = {{ file = "{name}.key" }}    # PEM or JWK
# key_id      = "..."    # if the provider has given the key a name
"""

WITH_ASSERTION = """\
# A token of your own platform; it is read again for every exchange.
client_assertion = {{ file = "{name}.jwt" }}
"""

WITH_CERTIFICATE = """\
certificate_file = "{name}.pem"
key_file         = "{name}.key"
"""

SINKS = """\

[[tokens.{name}.sinks]]
type   = "file"
path   = "{name}.json"    # better: in /run/freshtoken
format = "json"    # or raw, header, env, template
mode   = "0600"

# [[tokens.{name}.sinks]]
# type      = "aws_secrets_manager"
# secret_id = "prod/{name}/access-token"
# region    = "ap-southeast-1"
"""

PROOFS: Mapping[str, str] = {
    "private_key_jwt": WITH_KEY,
    "client_assertion": WITH_ASSERTION,
    "tls_client_auth": WITH_CERTIFICATE,
    "self_signed_tls_client_auth": WITH_CERTIFICATE,
}
"""How each method proves the client; the others use a client secret."""

WIDTH = 76


def config_template(preset: Preset | None) -> str:
    """Return a configuration for a known provider, or for any other."""
    if preset is None:
        return HEAD + OWN_PROVIDER + _client("partner", "client_secret_basic")
    method = preset.settings["auth_method"]
    about = f"{_comment(preset.title)}# {preset.docs}\n{_comment(preset.notes)}"
    return "".join([HEAD, about, *_chosen(preset), _client(preset.name, method)])


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _chosen(preset: Preset) -> Iterator[str]:
    """Yield the token's table, with a blank for each setting that the provider needs."""
    yield f'[tokens.{preset.name}]\nprovider      = "{preset.name}"\n'
    for method in preset.also:
        yield f'# auth_method = "{method}"    # instead of {preset.settings["auth_method"]}\n'
    for name, need in preset.params.items():
        yield _blank(f"provider_params.{name}", "", need)
    for key, need in preset.needs.items():
        if key != "client_id":  # it has its blank anyway
            yield _blank(key, [] if isinstance(need.example, list) else "", need)
    if preset.settings.get("reissue") == "revokes_previous":
        yield ONE_WRITER


def _blank(key: str, empty: object, need: Need) -> str:
    return f"{_comment(str(need))}{key:<13} = {json.dumps(empty)}\n"


def _client(name: str, method: str) -> str:
    variable = name.upper().replace("-", "_") + "_CLIENT_SECRET"
    proof = PROOFS.get(method, WITH_SECRET)
    return CLIENT_ID + (proof + SINKS).format(name=name, variable=variable)
