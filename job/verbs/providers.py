"""`providers`: lists the known providers, or explains one."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import click

from job.compose.job import Options
from job.core.text import WIDTH, entry
from job.verbs.common import command

if TYPE_CHECKING:
    from job.config.presets import Preset

NARROW = 40
"""Below this a terminal is too narrow for two columns."""

REISSUE: Mapping[str, str] = {
    "independent": "leaves the one before as it is, so that readers never see a gap",
    "revokes_previous": "kills the one before: one program alone may ask, it renews late, and "
    "readers have to read again when they get a 401",
    "same_until_expiry": "is only given once the one before has expired: a short gap at each "
    "expiry, which freshtoken reports",
}
FRESH = (
    "comes only in the last {} of the one before, which stays valid; earlier the same token "
    "comes again"
)
PROOFS: Mapping[str, str] = {
    "private_key_jwt": "private_key (PEM or JWK)",
    "client_assertion": "client_assertion, a token that your platform makes",
    "tls_client_auth": "certificate_file and key_file",
    "self_signed_tls_client_auth": "certificate_file and key_file",
    "none": "no secret",
}
TOLD = ("token_url", "auth_method", "reissue", "fresh_window", "max_exchanges")
"""Settings that have a line of their own."""


@command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as JSON.")
def providers(options: Options, name: str | None, *, as_json: bool) -> int:  # noqa: ARG001  # a verb takes the options
    """List the providers that are known, or explain one.

    Such a token needs only a client id, a client secret and a sink, and what is the user's own.

    \b
    Examples:
      freshtoken providers zoom    what it needs, gives, limits
      freshtoken init zoom         write a configuration for it
    """  # noqa: D301
    from job.config.presets import catalogue, presets  # noqa: PLC0415

    chosen = presets() if name is None else {name: preset_of(name, catalogue())}
    if as_json:
        click.echo(json.dumps({one: asdict(preset) for one, preset in chosen.items()}))
    elif name is not None:
        click.echo("\n".join(explained(chosen[name])))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo("\n".join(listing(chosen, width)))
    return 0


def preset_of(name: str, presets: Mapping[str, "Preset"]) -> "Preset":
    """Return a provider by its name; another name is a usage error."""
    from job.config.checks import nearest  # noqa: PLC0415

    if name not in presets:
        near = nearest(name, presets)
        cure = f"did you mean {near}?" if near else "`freshtoken providers` lists those that are"
        raise click.UsageError(f"{name} is unknown; {cure}")
    return presets[name]


def listing(presets: Mapping[str, "Preset"], width: int | None) -> Iterator[str]:
    """Yield a line for each provider, wrapped to a terminal's width; None wraps nothing."""
    column = max(map(len, presets)) + 2
    for preset in presets.values():
        line = f"{preset.name:<{column}}{preset.title}"
        if width is None or len(line) <= width:
            yield line
        elif width < NARROW:
            yield from (preset.name, *textwrap.wrap(f"  {preset.title}", width))
        else:
            yield textwrap.fill(line, width, subsequent_indent=" " * column)


def explained(preset: "Preset") -> Iterator[str]:
    """Yield the lines that explain one provider."""
    yield from textwrap.wrap(f"{preset.name}: {preset.title}", WIDTH)
    for head, text in _entries(preset):
        yield entry(head, text)


def _entries(preset: "Preset") -> Iterator[tuple[str, str]]:
    yield from [("not possible", preset.why_not)] if preset.why_not else _settings(preset)
    more = {"note": preset.notes, "documentation": preset.docs, "shown by": preset.source}
    yield from ((head, text) for head, text in more.items() if text)
    if not preset.why_not:
        yield "next", f"freshtoken init {preset.name}"


def _settings(preset: "Preset") -> Iterator[tuple[str, str]]:
    settings = preset.settings
    yield "token endpoint", settings["token_url"]
    also = f" (or {', '.join(preset.also)})" if preset.also else ""
    yield "auth method", settings["auth_method"] + also
    yield from _needs(preset)
    others = (f"{k} = {_shown(v)}" for k, v in settings.items() if k not in TOLD)
    yield from zip(chain(["also set"], repeat("")), others, strict=False)
    life = f"about {preset.lifetime_hint}; " if preset.lifetime_hint else ""
    yield "token life", f"{life}what the answer says counts"
    fresh, reissue = settings.get("fresh_window"), settings.get("reissue", "independent")
    yield "a new token", FRESH.format(fresh) if fresh else REISSUE[reissue]
    if "max_exchanges" in settings:
        yield "limit", f"{settings['max_exchanges']} exchanges for each client"


def _needs(preset: "Preset") -> Iterator[tuple[str, str]]:
    proof = PROOFS.get(preset.settings["auth_method"], "client_secret")
    parts = {f"provider_params.{name}": need for name, need in preset.params.items()}
    needs = {**parts, **preset.needs}
    wants = (f"{key}: {need}" for key, need in needs.items() if key != "client_id")
    yield from zip(chain(["you need"], repeat("")), ("client_id", proof, *wants), strict=False)


def _shown(value: Any) -> str:  # noqa: ANN401  # a TOML value
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_shown(item)}" for name, item in value.items()) + " }"
    return json.dumps(value)
