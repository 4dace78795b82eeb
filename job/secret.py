"""Values that must never be seen, and the places they come from."""

import base64
import hashlib
import json
import os
import subprocess  # the `command` source runs what the operator configured, without a shell
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol
from urllib.parse import quote, quote_plus, unquote, unquote_plus

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
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    for_urls = encoded.translate(str.maketrans("+/", "-_"))
    as_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return (value, quote_plus(value), quote(value, safe=""), encoded, for_urls, *as_json)


class SecretSource(Protocol):
    """Where a client secret comes from. It is asked again for every exchange."""

    def resolve(self) -> Secret:
        """Return the secret as it is now; raises SecretUnavailable with the place and the cure."""


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """A secret in an environment variable."""

    name: str
    environ: Mapping[str, str]

    def resolve(self) -> Secret:
        """Return the variable's value."""
        value = self.environ.get(self.name, "")
        if not value:
            raise _unavailable(f"the environment variable {self.name} is not set", "set it")
        return _text(os.fsencode(value), f"the environment variable {self.name}")


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
            raise _unavailable(what, "check the path and its permissions") from None
        return _text(content, f"the file {self.path}")


@dataclass(frozen=True, slots=True)
class CommandSecret:
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
            raise _unavailable(f"{name} cannot be run ({reason})", "check it") from None
        except subprocess.TimeoutExpired:
            raise _unavailable(f"{name} took over {self.timeout_s:g} s", "make it faster") from None
        if done.returncode:
            raise _unavailable(f"{name} ended with status {done.returncode}", "run it by hand")
        return _text(done.stdout, name)


def _text(content: bytes, place: str) -> Secret:
    if len(content) > MAX_SECRET_BYTES:
        raise _unavailable(f"{place} gives over {MAX_SECRET_BYTES} bytes", "give the secret alone")
    try:
        value = content.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise _unavailable(f"{place} does not give UTF-8 text", "give the secret alone") from None
    if not value:
        raise _unavailable(f"{place} gives nothing", "put the client secret there")
    return Secret(value)


def _unavailable(what: str, cure: str) -> SecretUnavailable:
    return SecretUnavailable("client_secret_unavailable", f"no client secret: {what}; {cure}")


class WatchedSecret:
    """A source that remembers what it gave last, so that a change of it can be noticed."""

    __slots__ = ("_source", "last")

    def __init__(self, source: SecretSource) -> None:
        """Watch what `source` gives."""
        self._source = source
        self.last: Secret | None = None

    def resolve(self) -> Secret:
        """Return the secret as it is now."""
        self.last = None  # so that a source that gives nothing has changed once it gives again
        self.last = self._source.resolve()
        return self.last

    def changed(self) -> bool:
        """Tell whether the source now gives another secret than it gave last.

        A command is not asked: running it every few seconds could be dear, or ask a person.
        """
        if isinstance(self._source, CommandSecret):
            return False
        try:
            return self._source.resolve() != self.last
        except SecretUnavailable:
            return False
