"""One entry -> the settings of one token, or all its problems."""

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from job.config import checks
from job.config.client_checks import method_for, unused
from job.config.presets import layered, params_problems, presets
from job.config.settings import CommonSettings, TokenSettings, with_sinks
from job.config.shape import Cleaner, placeholders


class EntryReader:
    """Reads entries one by one; what they share is one object."""

    def __init__(self, defaults: object, cleaner: Cleaner) -> None:
        """Read [defaults]; its problems and those of entries go to the cleaner."""
        self._cleaner = cleaner
        self._presets = presets()
        self._kind = TokenSettings
        table = defaults if isinstance(defaults, dict) else {}
        self._defaults = cleaner.table(table, CommonSettings, "defaults")

    def settings(self, name: str, table: object) -> TokenSettings:
        """Return the settings of one entry.

        Defaults give way to the preset, and both to the entry's own table. With problems, the keys
        that are wrong are left out, so that the others are still checked.
        """
        place = checks.place_of(name)
        if not isinstance(table, dict):
            self._cleaner.tell(place, f"must be a table, such as [{place}]")
            table = placeholders(place)
        told: set[str] = set()
        try:
            settings = self._converted(table)
        except msgspec.ValidationError:
            cleaned = self._cleaner.table(table, TokenSettings, place)
            told = table.keys() - cleaned.keys()
            self._kind = with_sinks(self._cleaner.sinks.known.values())
            settings = self._converted({"sinks": placeholders(place)["sinks"]} | cleaned)
        self._check(name, settings, table, told)
        return settings

    def _check(
        self, name: str, settings: TokenSettings, table: Mapping[str, Any], told: set[str]
    ) -> None:
        """Report what types can't tell, except about the keys in `told`."""
        place = checks.place_of(name)
        preset = self._presets.get(settings.provider or "")
        params = params_problems(preset, settings.provider_params, table)
        idle = (problem for problem in unused(settings) if problem[0] in table)
        found = itertools.chain(checks.of_token(name, settings, self._presets), params, idle)
        for key, text in found:
            root = key.partition(".")[0]
            if root not in told:
                where = "defaults" if root in self._defaults and root not in table else place
                self._cleaner.tell(f"{where}.{key}" if key else where, text)

    def _converted(self, table: Mapping[str, Any]) -> TokenSettings:
        merged = self._merged(table)
        read = msgspec.convert(merged, self._kind, dec_hook=self._cleaner.values)
        if self._kind is TokenSettings:
            return read
        # A type of one load would make its settings differ from those of the next load.
        return TokenSettings(**msgspec.structs.asdict(read))

    def _merged(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Join the layers of an entry; the preset is filled in with the values of the others."""
        own = layered(self._defaults, table)
        preset = self._presets.get(str(own.get("provider")))
        if preset is not None:
            own = layered(self._defaults, preset.filled(own.get("provider_params")), table)
        if "issuer" in own and not own.keys() & {"token_url", "auth_method"}:
            return {"discover_auth_method": True} | own | {"auth_method": method_for(own)}
        return own
