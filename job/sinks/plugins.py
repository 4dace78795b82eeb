"""Sinks that other distributions bring, found by their entry points (docs/extending.md)."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from job.core.ports import Store
from job.sinks.settings import SinkSettings
from job.values import schema_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "freshtoken.sinks"


class PluginSinkSettings(SinkSettings, frozen=True, kw_only=True):
    """Base of the settings of a sink from another distribution; they make its store."""

    title = "this kind of sink"
    variable = ""
    """A plug-in that leaves this empty is for files only."""

    @abstractmethod
    def store(self) -> Store:
        """Return the store that these settings describe; it touches nothing yet."""


def installed() -> Mapping[str, "EntryPoint"]:
    """Return the entry points of all plug-ins, each by the `type` that names its sinks."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # 20 ms of CPU, for plug-ins only

    return {point.name: point for point in entry_points(group=GROUP)}


def loaded(point: "EntryPoint") -> type[PluginSinkSettings]:
    """Return the settings of a plug-in; raises ValueError, which tells people what is wrong."""
    try:
        kind = point.load()
        fault = _fault(kind, point.name)
    except Exception as error:  # noqa: BLE001  # whatever another's module raises
        fault = f"cannot be loaded ({type(error).__name__})"
    if not fault:
        found: type[PluginSinkSettings] = kind
        return found
    owner = point.dist.name if point.dist else "its distribution"
    raise ValueError(
        f"the plug-in {point.name} ({point.value}) of {owner} {fault}; "
        f"upgrade or reinstall {owner}, or use another type"
    )


def _fault(kind: object, name: str) -> str:
    """Say why an object can't be the settings of the type of that name; empty if it can."""
    if not (isinstance(kind, type) and issubclass(kind, PluginSinkSettings)):
        return "is not a subclass of job.sinks.plugins.PluginSinkSettings"
    if (tag := kind.__struct_config__.tag) != name:
        return f'has the tag "{tag}"'
    if kind.store is PluginSinkSettings.store:
        return "does not define store()"
    msgspec.json.schema(kind, schema_hook=schema_of)  # raises for types that can't be keys
    return ""
