"""The keys of what observes tokens: people over HTTP, programs by hooks."""

from typing import ClassVar

from job.credentials.settings import SecretSettings
from job.values import Duration, FilePath, OsText, Table, default


class HttpSettings(Table, frozen=True, kw_only=True):
    """Where `run` answers HTTP: the status page, probes and metrics."""

    otherwise: ClassVar[str] = 'must be a table: [http] with listen = "127.0.0.1:9464"'

    listen: str
    """HOST:PORT, such as 127.0.0.1:9464; nothing is served unless set."""


class SignalSettings(Table, frozen=True, kw_only=True):
    """A process to signal."""

    otherwise: ClassVar[str] = 'must be { pidfile = "/path", name = "HUP" }'

    pidfile: FilePath
    """The path of a file that holds its number."""
    name: str = "HUP"
    """The signal, such as HUP."""


class HookTimeout(Duration):
    """How long a hook may take."""

    @classmethod
    def problem(cls, length_s: float | None) -> str:
        """Refuse one that leaves no time, too."""
        return "must be over 0" if length_s == 0 else super().problem(length_s)


class HookSettings(Table, frozen=True, kw_only=True):
    """What to do when something happens: exactly one of command, webhook and signal."""

    otherwise: ClassVar[str] = (
        'must be { command = ["..."] }, { webhook = "https://..." } or { signal = { ... } }'
    )

    command: tuple[OsText, ...] | None = None
    """A command and its arguments, run without a shell."""
    webhook: str | None = None
    """A URL to which the facts are posted."""
    hmac_secret: SecretSettings | None = None
    """With webhook: where the secret that signs the request comes from."""
    signal: SignalSettings | None = None
    """A process to signal: { pidfile, name }."""
    timeout: HookTimeout = default(HookTimeout("30s"))
    """How long it may take before it is killed."""


Hooks = HookSettings | tuple[HookSettings, ...] | None
