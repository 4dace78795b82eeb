"""The kinds of sinks there are: the one list, and how each becomes a store."""

import typing

from job.aws.clients import Account, AwsClients
from job.core.ports import Sink, Store
from job.http.deadline import Sequential
from job.sinks.file import FileSinkSettings, FileStore
from job.sinks.record_sink import RecordSink
from job.sinks.secrets_manager import SecretsManagerSinkSettings, SecretsManagerStore
from job.sinks.settings import SinkSettings

AnySinkSettings = FileSinkSettings | SecretsManagerSinkSettings


def sink_types() -> dict[str, type[SinkSettings]]:
    """Return the settings of each kind by the `type` that names it."""
    return {str(kind.__struct_config__.tag): kind for kind in typing.get_args(AnySinkSettings)}


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
        case _:
            typing.assert_never(settings)
