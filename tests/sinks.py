"""Sinks as the program builds them, with the settings of their stores as keywords."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from job.core.tokens import OutputFormat
from job.sinks.file import FileSinkSettings, FileStore
from job.sinks.record_sink import RecordSink
from job.sinks.secrets_manager import SecretsManagerSinkSettings, SecretsManagerStore

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def file_store(path: object, mode: int = 0o600, **settings: Any) -> FileStore:  # noqa: ANN401  # any
    """Make a store on a file; `lock_timeout_s` and `sleep` are the store's own."""
    own = {name: settings.pop(name) for name in ("lock_timeout_s", "sleep") if name in settings}
    return FileStore(FileSinkSettings(path=str(path), mode=f"{mode:o}", **settings), **own)


def file_sink(
    path: object,
    layout: OutputFormat,
    *,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401  # those of a file
) -> RecordSink:
    """Make a sink on a file."""
    return RecordSink(file_store(path, **settings), layout, overwrite=overwrite)


def secret_store(
    secret_id: str,
    client: "Callable[[], SecretsManagerClient]",
    **settings: Any,  # noqa: ANN401  # those of a secret
) -> SecretsManagerStore:
    """Make a store on a secret; `calls`, `deadline_s` and `monotonic` are the store's own."""
    names = ("calls", "deadline_s", "monotonic")
    own = {name: settings.pop(name) for name in names if name in settings}
    chosen = SecretsManagerSinkSettings(secret_id=secret_id, **settings)
    return SecretsManagerStore(chosen, client, **own)


def secret_sink(
    secret_id: str,
    layout: OutputFormat,
    client: "Callable[[], SecretsManagerClient]",
    *,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401  # those of a secret
) -> RecordSink:
    """Make a sink on a secret."""
    return RecordSink(secret_store(secret_id, client, **settings), layout, overwrite=overwrite)
