"""Which keys go with which way of proving who the client is."""

from collections.abc import Iterator, Mapping

from job.config.secret_checks import of_source
from job.config.secret_settings import SOURCES, SecretSettings
from job.config.settings import AuthMethod, TokenSettings

PEM = "the path of a PEM file"
NEEDED: Mapping[AuthMethod, tuple[str, ...]] = {
    "client_secret_basic": ("client_secret",),
    "client_secret_post": ("client_secret",),
    "client_secret_jwt": ("client_secret",),
    "private_key_jwt": ("private_key",),
    "client_assertion": ("client_assertion",),
    "tls_client_auth": ("certificate_file", "key_file"),
    "self_signed_tls_client_auth": ("certificate_file", "key_file"),
    "none": (),
}
PROOFS = ("client_secret", "private_key", "client_assertion")
"""The keys that hold where a proof comes from; certificates are shown beside any of them."""
OF_PROOF: Mapping[str, AuthMethod] = {
    "client_secret": "client_secret_basic",
    "private_key": "private_key_jwt",
    "client_assertion": "client_assertion",
}
SIGNING = ("client_secret_jwt", "private_key_jwt")
ASSERTING = (*SIGNING, "client_assertion")
TIMES = ("exp", "iat", "nbf", "jti")


def proofs_of(token: TokenSettings) -> Iterator[tuple[str, SecretSettings]]:
    """Yield where the proofs of a client come from, each with its key; a list has its numbers."""
    for key in PROOFS:
        value = getattr(token, key)
        if isinstance(value, tuple):
            yield from ((f"{key}[{number}]", one) for number, one in enumerate(value, 1))
        elif value is not None:
            yield key, value


def method_for(table: Mapping[str, object]) -> AuthMethod:
    """Return the method that goes with what a client has, where the issuer is to have a say."""
    for key, method in OF_PROOF.items():
        if key in table:
            return method
    return "tls_client_auth" if "certificate_file" in table else "client_secret_basic"


def of_client(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys that say who the client is: the key, and what to do."""
    if token.client_id and not token.client_id.strip():
        yield "client_id", "is empty"
    if not token.client_id and token.auth_method != "client_assertion":
        yield "client_id", "is missing; it must be text in quotes"
    yield from _proofs(token)
    for key, source in proofs_of(token):
        yield from of_source(key, source)
    yield from _certificate(token)
    yield from _assertion(token)


def unused(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield the keys that this auth_method has no use for; fine where another token shares them."""
    ways = {"key_id": ("private_key_jwt",), "signing_alg": SIGNING, "assertion_in": ASSERTING}
    ways |= dict.fromkeys(("assertion_audience", "assertion_typ", "assertion_claims"), SIGNING)
    for key, methods in ways.items():
        if token.auth_method not in methods:
            yield key, _goes_with(*methods)
    shown = token.auth_method == "private_key_jwt" or "key_file" in NEEDED[token.auth_method]
    if token.certificate_file and not token.key_file and not shown:
        yield "certificate_file", "is shown in TLS with key_file only; add that"


def _proofs(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Tell of a proof that is missing, or else of one that another method takes."""
    needed = NEEDED[token.auth_method]
    spare = [key for key in PROOFS if key not in needed and getattr(token, key)]
    for key in spare:
        yield key, _goes_with(*(method for method, keys in NEEDED.items() if key in keys))
    for key in needed:
        if not getattr(token, key) and not spare:
            yield key, f"is missing; it must be {SOURCES if key in PROOFS else PEM}"


def _certificate(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.key_file is None:
        return
    if token.certificate_file is None and "key_file" not in NEEDED[token.auth_method]:
        yield "certificate_file", f"is missing beside key_file; it must be {PEM}"
    for key in ("token_url", "issuer"):
        if (getattr(token, key) or "").startswith("http:"):
            yield key, "must begin with https://, for a certificate is shown in TLS"


def _assertion(token: TokenSettings) -> Iterator[tuple[str, str]]:
    by_secret = (token.signing_alg or "").startswith("HS")
    if token.signing_alg and token.auth_method in SIGNING:
        fitting = SIGNING[0] if by_secret else SIGNING[1]
        if token.auth_method != fitting:
            yield "signing_alg", _goes_with(fitting)
    if token.assertion_audience == "issuer" and token.issuer is None:
        yield "assertion_audience", "needs issuer; or give the very text of the audience"
    for name, value in token.assertion_claims.items():
        if name in TIMES and (value or name == "exp"):
            yield f"assertion_claims.{name}", "is set by freshtoken"


def _goes_with(*methods: str) -> str:
    listed = " or ".join(f'"{method}"' for method in methods)
    return f"goes with auth_method = {listed}; set that, or leave it out"
