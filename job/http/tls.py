"""Which authorities to trust in TLS, and the certificate to show to servers that ask for one."""

import os
import ssl

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from job.core.errors import SecretUnavailable


class Trust:
    """The trusted certificates and the client's own, read again when a file of them changes."""

    def __init__(self, ca_file: str, certificate: tuple[str, str] | None) -> None:
        """Trust the CAs of the file or folder, or without one those that requests comes with."""
        self._path = ca_file or DEFAULT_CA_BUNDLE_PATH
        self._certificate = certificate
        self._loaded: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context to verify servers with; raises OSError (also ssl.SSLError)."""
        stamp = (*_stamp(self._path), *self._own_stamp())
        if self._loaded is None or self._loaded[0] != stamp:
            context = create_urllib3_context()
            is_folder = os.path.isdir(self._path)
            context.load_verify_locations(**{"capath" if is_folder else "cafile": self._path})
            if self._certificate is not None:
                _show(context, *self._certificate)
            self._loaded = (stamp, context)
        return self._loaded[1]

    def _own_stamp(self) -> tuple[int, ...]:
        try:
            return tuple(number for path in self._certificate or () for number in _stamp(path))
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); check the path"
            raise _unusable_certificate(f"the file {error.filename} {reason}") from None


def _stamp(path: str) -> tuple[int, ...]:
    """Return what differs once a file is another one, or has been written to."""
    status = os.stat(path)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _show(context: ssl.SSLContext, certificate_file: str, key_file: str) -> None:
    """Have a context show a certificate; OpenSSL must not ask a terminal for a password."""
    try:
        context.load_cert_chain(certificate_file, key_file, password=lambda: "")
    except OSError:  # ssl.SSLError too
        what = "certificate_file and key_file cannot be used together; check both"
        raise _unusable_certificate(what) from None


def _unusable_certificate(what: str) -> SecretUnavailable:
    return SecretUnavailable("certificate_unusable", f"no client certificate: {what}")
