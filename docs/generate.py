"""Write docs/configuration.md and docs/providers.md from job/config/: `python docs/generate.py`."""

import json
from pathlib import Path
from typing import Any

import msgspec

from job.config.json_schema import json_schema
from job.config.presets import Preset, catalogue, presets
from job.config.settings import CommonSettings, TokenSettings
from job.config.watch_settings import HookSettings, HttpSettings, SignalSettings
from job.credentials.settings import AssertionSettings, SecretSettings
from job.inventory.environment import ENVIRONMENT_KEYS
from job.sinks.kinds import sink_types
from job.values import written

FOLDER = Path(__file__).parent
ONE_OF = "Exactly one of these; it is read again for every exchange."
OF_HOOKS = "One of these, or a list of several; see [hooks](hooks.md)."
OF_HTTP = "The status page, probes and metrics of `run`; see [monitoring](monitoring.md)."
IDENTITY = ("client_id", "client_secret", "private_key", "client_assertion", "sinks")
OF_AWS = ("aws_web_identity", "duration")

HEAD = """\
# Configuration

This page is made from the code by `docs/generate.py`; `freshtoken schema` prints the same as JSON
Schema.

The file is `--config FILE`, or `$FRESHTOKEN_CONFIG`, or `./freshtoken.toml`, or
`/etc/freshtoken/freshtoken.toml`. It is TOML. Unknown keys are errors. Relative paths start at the
file's folder. `[defaults]` may hold every key of a token except its identity (`client_id`,
`client_secret`, `private_key`, `client_assertion`, `sinks`); a preset (`provider`, see
[providers](providers.md)) wins over defaults, and a token's own table wins over both. Tables
(`headers`, `extra_params`, `provider_params`, `assertion_claims`) are joined key by key. Durations
are `30s`, `5m`, `1h30m`, `2d`, or a number of seconds.

```toml
[defaults]
min_validity = "5m"

[tokens.tiki]
provider      = "tiki"
client_id     = "7590139168389961"
client_secret = { env = "TIKI_CLIENT_SECRET" }

[[tokens.tiki.sinks]]
type   = "file"
path   = "/run/freshtoken/tiki.json"

[[tokens.tiki.sinks]]
type      = "aws_secrets_manager"
secret_id = "prod/tiki/access-token"
region    = "ap-southeast-1"
```

Check it with `freshtoken check`: it tells every mistake at once.
"""

ENVIRONMENT = """\
## Without a file

Where no file is found, one token comes from the environment. It is named `default`, or as
`FRESHTOKEN_NAME` says.

| variable | stands for |
|---|---|
{rows}
| `FRESHTOKEN_CLIENT_SECRET` | the client secret itself |
| `FRESHTOKEN_CLIENT_SECRET_FILE` | a file that holds it; wins over the variable |
| `FRESHTOKEN_PROVIDER_PARAMS` | `provider_params`, `name=value` pairs separated by spaces |
| `FRESHTOKEN_SCOPE` | `scope`, separated by spaces |
| `FRESHTOKEN_SINK` | {sinks}, separated by commas |
| `FRESHTOKEN_FORMAT` | `format` of every sink |
| `FRESHTOKEN_HTTP_LISTEN` | `listen` of `[http]` |

Also read: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` (unless `proxy` is set),
`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` (unless `ca_file` is set), and whatever
boto3 reads for AWS credentials and region.
"""


def page() -> str:
    """Return the whole page."""
    common = _table(CommonSettings)
    identity = _table(TokenSettings, IDENTITY)
    rows = "\n".join(f"| `{name}` | `{key}` |" for key, name in ENVIRONMENT_KEYS.items())
    sinks = " or ".join(f"`{settings.variable}`" for settings in sink_types().values())
    return "\n".join(
        [
            HEAD,
            f"## A token: `[tokens.NAME]`\n\n{identity}\n\nand, as in `[defaults]`:\n\n{common}\n",
            f"## `client_secret` and `private_key`\n\n{ONE_OF}\n\n{_table(SecretSettings)}\n",
            f"## `client_assertion`\n\nAs above, or\n\n{_table(AssertionSettings, OF_AWS)}\n",
            *(f'## A sink of type `"{k}"`\n\n{_table(s)}\n' for k, s in sink_types().items()),
            f"## A hook: `on_refresh` and `on_trouble`\n\n{OF_HOOKS}\n\n{_table(HookSettings)}\n",
            f"`signal` has\n\n{_table(SignalSettings)}\n",
            f"## `[http]`\n\n{OF_HTTP}\n\n{_table(HttpSettings)}\n",
            ENVIRONMENT.format(rows=rows, sinks=sinks),
        ]
    )


def _table(kind: type, only: tuple[str, ...] = ()) -> str:
    keys = json_schema()["$defs"][kind.__name__]["properties"]
    lines = ["| key | default | what it is |", "|---|---|---|"]
    for field in sorted(msgspec.structs.fields(kind), key=lambda field: not field.required):
        if not only or field.name in only:
            default = "required" if field.required else _default(field)
            lines.append(f"| `{field.name}` | {default} | {_about(keys[field.name])} |")
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    value = msgspec.to_builtins(value, enc_hook=written)
    return "" if value in (None, [], (), {}) else f"`{json.dumps(value)}`"


def _about(key: dict[str, Any]) -> str:
    options = [key, *key.get("anyOf", [])]
    text = next((o["description"] for o in options if "description" in o), "")
    choices = next((o["enum"] for o in options if "enum" in o), [])
    listed = ", ".join(f"`{choice}`" for choice in choices)
    return f"{text} One of {listed}." if choices else text


PROVIDERS = """\
# Providers

This page is made from `job/config/presets.toml` by `docs/generate.py`. `freshtoken providers`
prints the list, `freshtoken providers NAME` explains one of them, and `freshtoken init NAME` writes
a configuration for it in which only the blanks have to be filled in.

A token that names a provider gets its settings, and adds only its own:

```toml
[tokens.graph]
provider        = "entra"
provider_params = {{ tenant = "contoso.onmicrosoft.com" }}
client_id       = "11111111-2222-3333-4444-555555555555"
client_secret   = {{ env = "GRAPH_CLIENT_SECRET" }}
scope           = ["https://graph.microsoft.com/.default"]
```

Names in braces stand for values of your own: a tenant, a host, an account. Set them in
`provider_params`, in the token or in `[defaults]`; a value can only fill its own place in a URL, so
a host name may contain letters, digits, `-` and `.` only. Whatever a token sets wins over the
preset; `headers` and `extra_params` are merged with the preset's, key by key.

The answer always takes precedence over the preset: the lifetime of a token comes from the answer
each time, and the lifetimes below only serve the arithmetic of `freshtoken check`.

## Known providers

{known}

## Known, and not possible

{impossible}

## My provider isn't listed

1. `freshtoken init` writes a configuration with a `token_url` and an `auth_method` to fill in; both
   are on the provider's page about the OAuth 2.0 client credentials grant, or "machine to machine".
2. `freshtoken check --online` reports what is wrong before any token is requested.
3. `freshtoken probe NAME` requests two tokens and compares them: how long they live, which field
   of the answer says so, whether the second is the same as the first, and whether the first still
   works if that can be tried (`probe_url`, a URL of the API that any token may GET, or
   `introspection_url`). It prints the settings to add. It asks for confirmation first, because with
   some providers a new token revokes the one that readers have.
4. If the grant has another name, the parameters go into JSON or the URL, or the token is elsewhere
   in the answer, [requests and answers](requests-and-answers.md) has the keys for it; for other
   credentials than a client secret see [client authentication](client-authentication.md).

Some settings deserve care, because a wrong one is noticed only later:

| the provider | setting | what freshtoken does |
|---|---|---|
| leaves old tokens as they are | none | renews after two thirds of the life |
| revokes the old token when it issues a new one | `reissue = "revokes_previous"` | renews late |
| returns the same one until it has expired | `reissue = "same_until_expiry"` | renews right then |
| issues a new one only in the last minutes | `fresh_window = "30m"` | asks again within them |
| limits how many it issues | `max_exchanges = "50/12h"` | spreads what is left over the time |
"""


def providers_page() -> str:
    """Return the whole page about providers."""
    everything = catalogue().values()
    return PROVIDERS.format(
        known="\n".join([*_known_head(), *map(_known_row, presets().values())]),
        impossible="\n".join(
            [
                "| provider | why not |",
                "|---|---|",
                *(f"| {_titled(one)} | {one.why_not} |" for one in everything if one.why_not),
            ]
        ),
    )


def _known_head() -> list[str]:
    heads = ("provider", "what it is", "auth method", "yours to set", "life", "note")
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def _known_row(preset: Preset) -> str:
    methods = ", ".join(f"`{one}`" for one in (preset.settings["auth_method"], *preset.also))
    own = [f"`provider_params.{name}`" for name in preset.params]
    own += [f"`{key}`" for key in preset.needs]
    notes = " ".join(filter(None, [_behaviour(preset), preset.notes, _shown_by(preset)]))
    cells = (
        f"`{preset.name}`",
        _titled(preset),
        methods,
        ", ".join(own),
        preset.lifetime_hint or "",
        notes,
    )
    return f"| {' | '.join(cells)} |"


def _titled(preset: Preset) -> str:
    return f"[{preset.title}]({preset.docs})" if preset.docs else preset.title


def _behaviour(preset: Preset) -> str:
    keys = ("reissue", "fresh_window", "max_exchanges")
    told = {key: preset.settings[key] for key in keys if key in preset.settings}
    return " ".join(f"`{key} = {json.dumps(value)}`." for key, value in told.items())


def _shown_by(preset: Preset) -> str:
    return f"Shown by {preset.source}." if preset.source else ""


if __name__ == "__main__":
    (FOLDER / "configuration.md").write_text(page(), encoding="utf-8")
    (FOLDER / "providers.md").write_text(providers_page(), encoding="utf-8")
