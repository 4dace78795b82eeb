"""Values that must never be seen, and the places they come from."""

import base64
import hashlib
import json
import math
import os
import subprocess  # the `command` source runs what the operator configured, without a shell
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Protocol
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from job.clock import Clock, system_clock
from job.errors import SecretUnavailable

MASK = "***"
FINGERPRINT_LENGTH = 12
MAX_SECRET_BYTES = 65_536


class Secret:
    """A string whose repr, str, format and pickle never show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the value out of sight."""
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the one place that needs it."""
        return self._value

    def fingerprint(self) -> str:
        """Return the first 12 hex digits of the SHA-256: enough to match, no use to an attacker."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def __repr__(self) -> str:
        """Show the mask only."""
        return f"Secret({MASK})"

    def __str__(self) -> str:
        """Show the mask only."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Show the mask only, whatever the format specification."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied into another process."""
        msg = "a secret can't be pickled"
        raise TypeError(msg)


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with every secret replaced, in plain, URL, Base64 and JSON form.

    A text in which a secret is only seen once its %XX are decoded comes back decoded.
    """
    values = [secret.reveal() for secret in secrets if secret.reveal()]
    forms = {form for value in values for form in _forms(value)}
    # Longest first: a form that is a part of another would leave the rest of it in sight.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    for decode in (unquote, unquote_plus):
        decoded = decode(text)
        if any(value in decoded and value not in text for value in values):
            return mask(decoded, map(Secret, values))
    return text


def _forms(value: str) -> Iterable[str]:
    """Return the ways in which a value may stand in a text."""
    raw = value.encode(errors="surrogatepass")  # what a hostile server calls a token is a value too
    encoded = base64.b64encode(raw).decode().rstrip("=")
    for_urls = encoded.translate(str.maketrans("+/", "-_"))
    as_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return (value, quote_plus(raw), quote(raw, safe=""), encoded, for_urls, *as_json)


class SecretSource(Protocol):
    """Where a client secret comes from. It is asked again for every exchange."""

    def resolve(self) -> Secret:
        """Return the secret as it is now; raises SecretUnavailable with the place and the cure."""


class DearSource:
    """Base of sources whose asking costs money, time or a person's attention.

    `look_s` is how often such a one may be asked just to notice a change, by default never.
    """

    look_s: ClassVar[float] = math.inf


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """A secret in an environment variable."""

    name: str
    environ: Mapping[str, str]

    def resolve(self) -> Secret:
        """Return the variable's value."""
        value = self.environ.get(self.name, "")
        if not value:
            raise unavailable(f"the environment variable {self.name} is not set", "set it")
        return secret_of(os.fsencode(value), f"the environment variable {self.name}")


@dataclass(frozen=True, slots=True)
class FileSecret:
    """A secret in a file of its own, without the newline that editors put at its end."""

    path: str

    def resolve(self) -> Secret:
        """Return the file's content."""
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            what = f"the file {self.path} cannot be read ({os.strerror(error.errno or 0)})"
            raise unavailable(what, "check the path and its permissions") from None
        return secret_of(content, f"the file {self.path}")


@dataclass(frozen=True, slots=True)
class CredentialSecret:
    """A credential that systemd hands to a service (LoadCredential=, systemd.exec(5))."""

    name: str
    environ: Mapping[str, str]

    def resolve(self) -> Secret:
        """Return the content of the credential's file."""
        folder = self.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            what = f"there is no $CREDENTIALS_DIRECTORY to hold the credential {self.name}"
            cure = f"run as a systemd service with LoadCredential={self.name}:PATH"
            raise unavailable(what, cure)
        return FileSecret(os.path.join(folder, self.name)).resolve()


@dataclass(frozen=True, slots=True)
class CommandSecret(DearSource):
    """A secret that a command prints, such as a password manager's; it runs without a shell."""

    argv: tuple[str, ...]
    timeout_s: float = 10.0

    def resolve(self) -> Secret:
        """Run the command and return what it prints."""
        name = f"the command {self.argv[0]}"
        try:
            done = subprocess.run(  # noqa: S603  # the operator's own configuration names it
                self.argv, capture_output=True, timeout=self.timeout_s, check=False
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise unavailable(f"{name} cannot be run ({reason})", "check it") from None
        except subprocess.TimeoutExpired:
            raise unavailable(f"{name} took over {self.timeout_s:g} s", "make it faster") from None
        if done.returncode:
            raise unavailable(f"{name} ended with status {done.returncode}", "run it by hand")
        return secret_of(done.stdout, name)


def secret_of(content: bytes, place: str) -> Secret:
    """Return what a place holds, without the newline at its end; raises SecretUnavailable."""
    if len(content) > MAX_SECRET_BYTES:
        raise unavailable(f"{place} gives over {MAX_SECRET_BYTES} bytes", "give the secret alone")
    value = None
    with suppress(UnicodeDecodeError):  # it holds the whole secret: no error may hang on it
        value = content.decode().strip("\r\n")
    if value is None:
        raise unavailable(f"{place} does not give UTF-8 text", "give the secret alone")
    if not value:
        raise unavailable(f"{place} gives nothing", "put the secret there")
    return Secret(value)


def unavailable(
    what: str, cure: str, *, passing: bool = False, permission: bool = False
) -> SecretUnavailable:
    """Return the error of a source that gives no secret; see SecretUnavailable."""
    text = f"no secret: {what}; {cure}"
    return SecretUnavailable(
        "client_secret_unavailable", text, passing=passing, permission=permission
    )


class WatchedSecret:
    """Sources that are used in turn, with what each gave last, so that a change can be noticed.

    More than one is for a rotation without a gap: the server knows one of them at any time. One
    thread at a time may use it; others may look at `live`.
    """

    __slots__ = ("_clock", "_turn", "_watches")

    def __init__(self, *sources: SecretSource, clock: Clock = system_clock) -> None:
        """Watch what the sources give; the first one has its turn."""
        self._watches = [_Watch(source) for source in sources]
        self._clock = clock
        self._turn = 0

    @property
    def count(self) -> int:
        """Return how many sources there are."""
        return len(self._watches)

    @property
    def position(self) -> int:
        """Return whose turn it is, counted from 1."""
        return self._turn + 1

    @property
    def last(self) -> Secret | None:
        """Return what the source whose turn it is gave last."""
        return self._watches[self._turn].last

    @property
    def live(self) -> list[Secret]:
        """Return all that is in memory."""
        return [watch.last for watch in self._watches if watch.last is not None]

    def next(self) -> None:
        """Give the turn to the next source, and after the last one to the first."""
        self._turn = (self._turn + 1) % self.count

    def resolve(self) -> Secret:
        """Return the secret as it is now, of the source whose turn it is."""
        return self._watches[self._turn].resolve()

    def changed(self) -> bool:
        """Tell whether a source that was asked now gives another secret than it gave then.

        What costs money is looked at each `look_s` seconds only, and a command never: running it
        every few seconds could be dear, or ask a person.
        """
        now = self._clock().boot
        return any(watch.has_changed(now) for watch in self._watches)


class _Watch:
    """One source, what it gave when it was asked last, and when it was last looked at."""

    __slots__ = ("_is_asked", "_look_s", "_looked_at", "_source", "last")

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._look_s = source.look_s if isinstance(source, DearSource) else 0.0
        self._looked_at: float | None = None
        self._is_asked = False
        self.last: Secret | None = None

    def resolve(self) -> Secret:
        self.last = None  # so that a source that gives nothing has changed once it gives again
        self._is_asked, self._looked_at = True, None
        self.last = self._source.resolve()
        return self.last

    def has_changed(self, now: float) -> bool:
        if self._looked_at is None:
            self._looked_at = now
        if not self._is_asked or now - self._looked_at < self._look_s:
            return False
        self._looked_at = now
        try:
            return self._source.resolve() != self.last
        except SecretUnavailable:
            return False
