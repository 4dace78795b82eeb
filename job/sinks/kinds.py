"""The kinds of sinks there are: the one list, and how each becomes a store."""

import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING

from job.aws.clients import Account, AwsClients
from job.core.ports import Sink, Store
from job.http.deadline import Sequential
from job.sinks.file import FileSinkSettings, FileStore
from job.sinks.plugins import PluginSinkSettings, installed, loaded
from job.sinks.record_sink import RecordSink
from job.sinks.secrets_manager import SecretsManagerSinkSettings, SecretsManagerStore
from job.sinks.settings import SinkSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OwnSinkSettings = FileSinkSettings | SecretsManagerSinkSettings
AnySinkSettings = OwnSinkSettings | PluginSinkSettings


def sink_types() -> dict[str, type[SinkSettings]]:
    """Return the settings of each kind of ours by the `type` that names it."""
    return {str(kind.__struct_config__.tag): kind for kind in typing.get_args(OwnSinkSettings)}


class SinkTypes:
    """The types of sink that one load knows: ours, and the plug-ins that were asked for."""

    def __init__(self) -> None:
        """Know ours; plug-ins are looked for when a type is none of them."""
        self.known = sink_types()
        self._installed: Mapping[str, EntryPoint] | None = None

    @property
    def plugins(self) -> Mapping[str, "EntryPoint"]:
        """Return what is installed, looked up once."""
        if self._installed is None:
            self._installed = installed()
        return self._installed

    def named(self, name: str) -> type[SinkSettings]:
        """Return the settings of a type; raises ValueError, which tells people what is wrong."""
        if name not in self.known:
            if name not in self.plugins:
                types = dict.fromkeys([*sink_types(), *self.plugins])
                raise ValueError("must be " + " or ".join(f'"{each}"' for each in types))
            self.known[name] = loaded(self.plugins[name])
        return self.known[name]


def sink_of(settings: AnySinkSettings, token_name: str, aws: AwsClients) -> Sink:
    """Return the sink for a token of that name; it touches nothing yet."""
    layout = settings.layout(token_name)
    return RecordSink(store_of(settings, aws), layout, overwrite=settings.overwrite)


def store_of(settings: AnySinkSettings, aws: AwsClients) -> Store:
    """Return the store that settings describe."""
    match settings:
        case FileSinkSettings():
            return FileStore(settings)
        case SecretsManagerSinkSettings():
            account = Account(settings.region, settings.endpoint_url, settings.profile)
            client, calls = aws.secrets_manager(account), Sequential(aws.threads)
            return SecretsManagerStore(settings, client, calls=calls)
        case PluginSinkSettings():
            return settings.store()
        case _:
            typing.assert_never(settings)
