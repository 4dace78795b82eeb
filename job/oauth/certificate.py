"""The certificate that a client shows in TLS (RFC 8705 section 2)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from job.core.clock import Clock
from job.core.errors import SecretUnavailable
from job.core.secret import Secret
from job.credentials.base import MAX_SECRET_BYTES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and its private key, each a PEM file, as a source of secrets.

    With `must_be_current` an expired certificate is refused here, because no server that checks
    its issuer takes it; a self-signed one is known by its key, so the server judges its dates.
    """

    certificate_file: str
    key_file: str
    clock: Clock
    must_be_current: bool

    def resolve(self) -> Secret:
        """Return both texts; raises SecretUnavailable unless TLS can use them together."""
        from job.oauth import keys  # noqa: PLC0415  # 60 ms of CPU, when a token is exchanged

        certificate, key = content(self.certificate_file), content(self.key_file)
        found = _parsed(self.certificate_file, keys.load_certificate, certificate)
        if not keys.is_of(found, _parsed(self.key_file, keys.load_private_key, key)):
            raise _unusable(
                f"{self.key_file} is not the key of the certificate in {self.certificate_file}; "
                "give the two that were made together"
            )
        end = found.not_valid_after_utc
        if self.must_be_current and end.timestamp() <= self.clock().wall:
            raise _unusable(
                f"the certificate in {self.certificate_file} expired on {end:%Y-%m-%d}; renew it, "
                "or correct this machine's clock"
            )
        return Secret((certificate + key).decode("latin-1"))


def certificate_expiry(path: str) -> datetime:
    """Return when a certificate expires, in UTC; raises SecretUnavailable."""
    from job.oauth import keys  # noqa: PLC0415  # as above

    return _parsed(path, keys.load_certificate, content(path)).not_valid_after_utc


def content(path: str) -> bytes:
    """Return the bytes of a PEM file; raises SecretUnavailable."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_SECRET_BYTES)
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check the path and its permissions"
        raise _unusable(f"the file {path} {reason}") from None


def _parsed(path: str, parse: Callable[[bytes], T], pem: bytes) -> T:
    try:
        return parse(pem)
    except ValueError as error:
        raise _unusable(f"the file {path} {error}") from None


def _unusable(what: str) -> SecretUnavailable:
    return SecretUnavailable("certificate_unusable", f"no client certificate: {what}")
