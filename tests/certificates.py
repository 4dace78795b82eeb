"""Certificates of clients, made at run time: self-signed, or signed by a CA of the test's own."""

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str = "client") -> tuple[str, str]:
        """Write the two files and return their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        for path, content in zip(paths, self, strict=True):
            path.write_bytes(content)
        return str(paths[0]), str(paths[1])

    def locked(self) -> bytes:
        """Return the key under a password."""
        key = load_pem_private_key(self.key, None)
        lock = BestAvailableEncryption(b"password")
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def client_certificate(
    name: str, until: dt.datetime | None = None, issuer: Pair | None = None
) -> Pair:
    """Make a certificate for a client, valid for a year before `until` (else: until tomorrow)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = until or dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_name_of(issuer) if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=365))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    signer = load_pem_private_key(issuer.key, None) if issuer else key
    certificate = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]  # it is of our making
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), private)


def _name_of(issuer: Pair) -> x509.Name:
    return x509.load_pem_x509_certificate(issuer.certificate).subject
