"""The known providers: presets.toml, filled in with the user's own values."""

import json
import os.path
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from job.config import checks

PART = re.compile(r"^\[([a-z0-9-]+)\]\n", re.MULTILINE)
NAME = re.compile(r"\{([a-z_]+)\}")
HOST_PART = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
HOST = re.compile(HOST_PART.pattern + r"(?::[0-9]{1,5})?")
PATH_PART = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]+")
TEXT = re.compile(r"[ -~]+")
MERGED = ("extra_params", "headers", "provider_params", "assertion_claims")
"""Tables of the configuration that are merged key by key, so that none hides a preset's."""


@dataclass(frozen=True, slots=True)
class Need:
    """A value that a provider needs from the user: what it is, and an example."""

    about: str
    example: Any

    def __str__(self) -> str:
        """Return it in words, with the example as TOML writes it."""
        return f"{self.about}, such as {json.dumps(self.example, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Preset:
    """A known provider: its settings, and what people want to know about it.

    `params` are the names in braces in `settings`, `needs` are keys of a token that this provider
    requires, `also` are other auth methods that it accepts. `source` names the evidence for all
    this where `docs` isn't. One with `why_not` can't be kept fresh, and has no settings.
    """

    name: str
    title: str
    docs: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    also: tuple[str, ...] = ()
    why_not: str = ""
    source: str = ""
    lifetime_hint: str | None = None
    params: Mapping[str, Need] = field(default_factory=dict)
    needs: Mapping[str, Need] = field(default_factory=dict)

    def filled(self, values: object) -> dict[str, Any]:
        """Return the settings with the texts in `values` in place of their names."""
        given = values.items() if isinstance(values, dict) else ()
        fitting = {name: text for name, text in given if self.fits(name, text)}
        return {key: _replaced(setting, fitting) for key, setting in self.settings.items()}

    def fits(self, name: str, value: object) -> bool:
        """Tell whether a value may replace a name without leading the URL elsewhere."""
        known = name in self.params and isinstance(value, str)
        return known and bool(self._form(name).fullmatch(str(value)))

    def missing(self, given: Mapping[str, str], own: Mapping[str, Any]) -> Iterator[str]:
        """Yield the names without a value; the keys of `own` are set by the user."""
        used = {key: setting for key, setting in self.settings.items() if key not in own}
        held = dict.fromkeys(found for text in _texts(used) for found in NAME.findall(text))
        yield from (name for name in held if name in self.params and not given.get(name))

    def _form(self, name: str) -> re.Pattern[str]:
        """Return the pattern of a value, by its place in a URL."""
        place = "{" + name + "}"
        for url in (text for text in _texts(self.settings) if text.startswith("https://")):
            host, _, path = url.removeprefix("https://").partition("/")
            if place in host:
                return HOST if host == place else HOST_PART
            if place in path:
                return PATH_PART
        return TEXT


class Presets(Mapping[str, Preset]):
    """Providers by name, each read from its part of the file, once, when needed: all cost 6 ms."""

    def __init__(self, parts: Mapping[str, str]) -> None:
        """Keep the parts, one for each provider."""
        self._parts = parts
        self._read: dict[str, Preset] = {}

    def __getitem__(self, name: str) -> Preset:
        """Read one provider; raises KeyError for one that is unknown."""
        if name not in self._read:
            table = tomllib.loads(f"[{name}]\n{self._parts[name]}")[name]
            for key in ("params", "needs"):
                table[key] = {which: Need(**need) for which, need in table.get(key, {}).items()}
            self._read[name] = Preset(name, **table)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names in their order."""
        return iter(self._parts)

    def __len__(self) -> int:
        """Count them."""
        return len(self._parts)


def presets() -> Presets:
    """Return the providers that a token can name."""
    return Presets({name: text for name, text in _parts().items() if "\nwhy_not" not in text})


def catalogue() -> Presets:
    """Return all known providers, including those that can't be kept fresh."""
    return Presets(_parts())


def _parts() -> dict[str, str]:
    # importlib.resources would cost a twentieth of a whole `once`.
    with open(os.path.join(os.path.dirname(__file__), "presets.toml"), encoding="utf-8") as file:
        _, *parts = PART.split(file.read())
    return dict(zip(parts[::2], parts[1::2], strict=True))


def params_problems(
    preset: Preset | None, given: Mapping[str, str], own: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the values that a provider needs: the key, and what to do.

    `given` are the values of its names. `own` is the token's own table: what it sets needs no
    value from the preset, and its names must be known.
    """
    names = own.get("provider_params", {})
    if preset is None:
        if names and "provider" not in own:
            yield "provider_params", "goes with a provider (`freshtoken providers`)"
        return
    for name in preset.missing(given, own):
        yield f"provider_params.{name}", f"is missing: {preset.params[name]}"
    for key in preset.needs:
        if own.get(key) in ("", []):
            yield key, f"is empty: {preset.needs[key]}"
    for name, value in given.items():
        if name in preset.params and value and not preset.fits(name, value):
            yield f"provider_params.{name}", f"is not what it must be: {preset.params[name]}"
    yield from _unknown(preset, names)


def _unknown(preset: Preset, names: object) -> Iterator[tuple[str, str]]:
    """Yield the names that the preset lacks; [defaults] may hold those of other presets."""
    for name in names if isinstance(names, dict) else ():
        if name not in preset.params:
            near = checks.nearest(name, preset.params)
            cure = f"did you mean {near}?" if near else f"{preset.name} has no such part"
            yield f"provider_params.{name}", f"unknown; {cure}"


def layered(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return each key as the last table sets it; the tables in MERGED are merged."""
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            before = result.get(key)
            both = key in MERGED and isinstance(before, dict) and isinstance(value, dict)
            result[key] = before | value if both else value
    return result


def _replaced(setting: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401  # a TOML value
    if isinstance(setting, str):
        return NAME.sub(lambda found: values.get(found[1], found[0]), setting)
    if isinstance(setting, list):
        return [_replaced(item, values) for item in setting]
    if isinstance(setting, dict):
        return {key: _replaced(item, values) for key, item in setting.items()}
    return setting


def _texts(setting: object) -> Iterator[str]:
    if isinstance(setting, str):
        yield setting
    elif isinstance(setting, list | dict):
        for item in setting.values() if isinstance(setting, dict) else setting:
            yield from _texts(item)
