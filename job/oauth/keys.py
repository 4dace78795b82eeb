"""The keys that sign assertions, in the forms in which operators have them.

One of the importers of PyJWT and cryptography (60 ms of CPU): it is loaded only when a token whose
client has such a key is exchanged. Their exceptions end here; what they say may quote the key.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from job.core.errors import SecretUnavailable
from job.core.json_object import json_object
from job.core.secret import Secret

# RFC 7518 sections 3.2 and 3.3.
LEAST_SECRET_BYTES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
LEAST_RSA_BITS = 2048

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# RFC 7518 section 3.4: each algorithm has its curve.
CURVES: Mapping[str, tuple[str, ...]] = {
    "secp256r1": ("ES256",),
    "secp384r1": ("ES384",),
    "secp521r1": ("ES512",),
}

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, the algorithm that it signs with, and the header members that name it."""

    key: PrivateKey | bytes = field(repr=False)
    algorithm: str
    names: Mapping[str, str] = field(default_factory=dict)


def mac_key(secret: Secret, algorithm: str | None) -> SigningKey:
    """Return a client secret as a key, for HS256 by default.

    Raises SecretUnavailable for a secret that is shorter than the hash (RFC 7518 section 3.2).
    """
    algorithm = algorithm or "HS256"
    value, least = secret.reveal().encode(), LEAST_SECRET_BYTES[algorithm]
    if len(value) < least:
        raise SecretUnavailable(
            "client_secret_too_short",
            f"the client secret is too short to sign with {algorithm}, which takes {least} bytes "
            "or more (RFC 7518 section 3.2); have the provider make a longer one, or use another "
            "auth_method",
        )
    return SigningKey(value, algorithm)


def private_key(
    text: Secret, algorithm: str | None, key_id: str | None, certificate: bytes | None = None
) -> SigningKey:
    """Return a private key out of PEM, a JWK (RFC 7517) or the JSON file of a Google account.

    Without an algorithm the JWK's counts, else what the key can do. `key_id` wins over the one in
    the JSON. A `certificate` (PEM) is named by its thumbprint (RFC 7515 section 4.1.8). Raises
    SecretUnavailable if it is not a private key, is encrypted, or can't sign that way.
    """
    is_json = text.reveal().lstrip().startswith("{")
    members = json_object(text.reveal()) if is_json else {}
    if members is None:
        raise _unusable("looks like JSON but cannot be parsed; give one JWK, or PEM")
    if "kty" in members:
        key, named = _from_jwk(members), members.get("kid")
        algorithm = algorithm or members.get("alg")
    else:
        key = _from_pem(str(members.get("private_key", text.reveal())))
        named = members.get("private_key_id")
    key_id = key_id or (named if isinstance(named, str) else None)
    names = {} if key_id is None else {"kid": key_id}
    if certificate is not None:
        names["x5t#S256"] = _thumbprint(certificate, key)
    return SigningKey(key, _fitting(key, algorithm), names)


def load_private_key(pem: bytes) -> Any:  # noqa: ANN401  # cryptography's own union of key types
    """Return a private key of any kind; raises ValueError with what is wrong, and the cure."""
    try:
        return load_pem_private_key(pem, None)
    except TypeError:
        what = "is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and guard the file"
    except (ValueError, UnsupportedAlgorithm):
        what = "is not a readable private key in PEM, which begins with -----BEGIN PRIVATE KEY"
        what += " (a certificate or public key is not enough)"
    raise ValueError(what)


def load_certificate(pem: bytes) -> x509.Certificate:
    """Return the first certificate of a PEM text; raises ValueError with what is wrong."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        what = "is not a readable certificate in PEM, which begins with -----BEGIN CERTIFICATE"
    raise ValueError(what)


def is_of(certificate: x509.Certificate, key: Any) -> bool:  # noqa: ANN401  # as load_private_key
    """Tell whether a certificate is about the public half of this private key."""
    ours, theirs = key.public_key(), certificate.public_key()
    der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    same: bool = ours.public_bytes(*der) == theirs.public_bytes(*der)
    return same


def _from_pem(text: str) -> PrivateKey:
    # Where a variable can hold one line only, line ends are often written as \n.
    try:
        key: PrivateKey = load_private_key(text.replace("\\n", "\n").encode())
    except ValueError as error:
        raise _unusable(str(error)) from None
    return key


def _from_jwk(members: Mapping[str, Any]) -> PrivateKey:
    if members["kty"] == "oct" or "d" not in members:
        raise _unusable('is a JWK without a private part; give the one that has a member "d"')
    try:
        key: PrivateKey = jwt.PyJWK({**members, "alg": None}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise _unusable("is a JWK that can't be read; create it again") from None
    return key


def _fitting(key: PrivateKey, algorithm: object) -> str:
    """Return the algorithm to sign with: the wanted one, if this key can."""
    able = _able(key)
    if algorithm is None:
        return able[0]
    if algorithm not in able:
        raise _unusable(f"can't sign as signing_alg or its JWK says; it signs {' or '.join(able)}")
    return str(algorithm)


def _able(key: PrivateKey) -> tuple[str, ...]:
    """Return what a key can sign with, the usual algorithm first."""
    able: tuple[str, ...] = ()
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < LEAST_RSA_BITS:
            raise _unusable(f"is an RSA key of under {LEAST_RSA_BITS} bits; make a longer one")
        able = RSA
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        able = CURVES.get(key.curve.name, ())
    elif isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        able = ("EdDSA",)
    if not able:
        raise _unusable("is of a kind that signs no assertions; make one of RSA, P-256 or Ed25519")
    return able


def _thumbprint(pem: bytes, key: PrivateKey) -> str:
    try:
        certificate = load_certificate(pem)
    except ValueError as error:
        raise SecretUnavailable("certificate_unusable", f"certificate_file {error}") from None
    if not is_of(certificate, key):
        raise SecretUnavailable(
            "certificate_unusable",
            "certificate_file is not the certificate of private_key; give the one made for it, or "
            "leave certificate_file out",
        )
    return base64.urlsafe_b64encode(certificate.fingerprint(SHA256())).decode().rstrip("=")


def _unusable(what: str) -> SecretUnavailable:
    return SecretUnavailable("private_key_unusable", f"private_key {what}")
