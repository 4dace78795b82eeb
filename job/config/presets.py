"""The providers that are known: presets.toml, read."""

import os.path
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """A provider that is known: its settings, and what a person wants to know of it."""

    name: str
    title: str
    docs: str
    settings: Mapping[str, Any]
    notes: str = ""
    lifetime_hint: str | None = None


def presets() -> dict[str, Preset]:
    """Return the providers that are known, by name."""
    # importlib.resources would cost a twentieth of a whole `once`.
    with open(os.path.join(os.path.dirname(__file__), "presets.toml"), "rb") as file:
        return {name: Preset(name, **table) for name, table in tomllib.load(file).items()}
