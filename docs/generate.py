"""Write docs/configuration.md from the types of job/config/: `python docs/generate.py`."""

import json
import typing
from pathlib import Path

import msgspec

from job.config.environment import ENVIRONMENT_KEYS
from job.config.presets import presets
from job.config.settings import CommonSettings, SecretSettings, TokenSettings
from job.config.sink_settings import FileSinkSettings, SecretsManagerSinkSettings

PAGE = Path(__file__).parent / "configuration.md"
ONE_OF = "Exactly one of these; it is read again for every exchange."
IDENTITY = ("client_id", "client_secret", "sinks")

HEAD = """\
# Configuration

This page is made from the code by `make docs`; `freshtoken schema` prints the same as JSON Schema.

The file is `--config FILE`, or `$FRESHTOKEN_CONFIG`, or `./freshtoken.toml`, or
`/etc/freshtoken/freshtoken.toml`. It is TOML. Unknown keys are errors. Relative paths start at the
file's folder. `[defaults]` may hold every key of a token except its identity (`client_id`,
`client_secret`, `sinks`); a preset (`provider`) wins over defaults, and a token's own table wins
over both. Durations are `30s`, `5m`, `1h30m`, `2d`, or a number of seconds.

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
| `FRESHTOKEN_SCOPE` | `scope`, separated by spaces |
| `FRESHTOKEN_SINK` | `file:PATH` or `aws-secrets-manager:SECRET_ID`, separated by commas |
| `FRESHTOKEN_FORMAT` | `format` of every sink |

Also read: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` (unless `proxy` is set),
`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` (unless `ca_file` is set), and whatever
boto3 reads for AWS credentials and region.
"""


def page() -> str:
    """Return the whole page."""
    common = _table(CommonSettings)
    identity = _table(TokenSettings, IDENTITY)
    rows = "\n".join(f"| `{name}` | `{key}` |" for key, name in ENVIRONMENT_KEYS.items())
    return "\n".join(
        [
            HEAD,
            f"## A token: `[tokens.NAME]`\n\n{identity}\n\nand, as in `[defaults]`:\n\n{common}\n",
            f"## `client_secret`\n\n{ONE_OF}\n\n{_table(SecretSettings)}\n",
            f'## A sink of type `"file"`\n\n{_table(FileSinkSettings)}\n',
            f'## A sink of type `"aws_secrets_manager"`\n\n{_table(SecretsManagerSinkSettings)}\n',
            f"## Presets\n\n{_presets()}\n",
            ENVIRONMENT.format(rows=rows),
        ]
    )


def _table(kind: type, only: tuple[str, ...] = ()) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    lines = ["| key | default | what it is |", "|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        if not only or field.name in only:
            default = "required" if field.required else _default(field)
            lines.append(f"| `{field.name}` | {default} | {_about(hints[field.name])} |")
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "" if value is None or value in ((), {}) else f"`{json.dumps(value)}`"


def _about(hint: object) -> str:
    schema = msgspec.json.schema(hint)
    options = [schema, *schema.get("anyOf", [])]
    text = next((o["description"] for o in options if "description" in o), "")
    choices = next((o["enum"] for o in options if "enum" in o), [])
    listed = ", ".join(f"`{choice}`" for choice in choices)
    return f"{text} One of {listed}." if choices else text


def _presets() -> str:
    lines = ["| provider | what it is | sets | notes |", "|---|---|---|---|"]
    for preset in presets().values():
        keys = ", ".join(f"`{key}`" for key in preset.settings)
        title = f"[{preset.title}]({preset.docs})"
        lines.append(f"| `{preset.name}` | {title} | {keys} | {preset.notes} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
