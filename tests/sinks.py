"""Sinks as the program builds them, with the settings of their stores as keywords."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from job.core.tokens import OutputFormat
from job.sinks.file import FileStore
from job.sinks.record_sink import RecordSink
from job.sinks.secrets_manager import SecretsManagerStore

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def file_sink(
    path: object,
    layout: OutputFormat,
    *,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401  # those of FileStore
) -> RecordSink:
    """Make a sink on a file."""
    return RecordSink(FileStore(str(path), **settings), layout, overwrite=overwrite)


def secret_sink(
    secret_id: str,
    layout: OutputFormat,
    client: "Callable[[], SecretsManagerClient]",
    *,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401  # those of SecretsManagerStore
) -> RecordSink:
    """Make a sink on a secret."""
    return RecordSink(
        SecretsManagerStore(secret_id, client, **settings), layout, overwrite=overwrite
    )
