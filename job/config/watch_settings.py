"""The keys of what observes tokens: people over HTTP, programs by hooks."""

from typing import Annotated, ClassVar

from msgspec import Meta

from job.credentials.settings import SecretSettings
from job.values import Duration, FilePath, OsText, Table, default


class HttpSettings(Table, frozen=True, kw_only=True):
    """Where `run` answers HTTP: the status page, probes and metrics."""

    otherwise: ClassVar[str] = 'must be a table: [http] with listen = "127.0.0.1:9464"'

    listen: Annotated[
        str, Meta(description="HOST:PORT, such as 127.0.0.1:9464; nothing is served unless set.")
    ]


class SignalSettings(Table, frozen=True, kw_only=True):
    """A process to signal."""

    otherwise: ClassVar[str] = 'must be { pidfile = "/path", name = "HUP" }'

    pidfile: Annotated[FilePath, Meta(description="The path of a file that holds its number.")]
    name: Annotated[str, Meta(description="The signal, such as HUP.")] = "HUP"


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

    command: (
        Annotated[
            tuple[OsText, ...],
            Meta(description="A command and its arguments, run without a shell."),
        ]
        | None
    ) = None
    webhook: Annotated[str, Meta(description="A URL to which the facts are posted.")] | None = None
    hmac_secret: Annotated[
        SecretSettings | None,
        Meta(description="With webhook: where the secret that signs the request comes from."),
    ] = None
    signal: Annotated[
        SignalSettings | None, Meta(description="A process to signal: { pidfile, name }.")
    ] = None
    timeout: Annotated[
        HookTimeout, Meta(description="How long it may take before it is killed.")
    ] = default(HookTimeout("30s"))


Hooks = HookSettings | tuple[HookSettings, ...] | None
