"""Which keys go with which auth_method."""

from collections.abc import Iterable, Iterator, Mapping

from job.config.settings import TokenSettings
from job.credentials.kinds import problems_of
from job.credentials.settings import SOURCES, SecretSettings
from job.oauth.auth_methods import METHODS, PROOFS, methods_with
from job.oauth.settings import AuthMethod
from job.values import numbered

PEM = "the path of a PEM file"
OPTIONAL: Mapping[str, tuple[AuthMethod, ...]] = {
    key: tuple(methods_with(key))
    for method in reversed([*METHODS.values()])
    for key in method.takes
    if key != "certificate_file"  # it may be shown beside any proof
}
"""The keys that only some methods have a use for."""
WITH_PEM = tuple(methods_with("certificate_file"))
TIMES = ("exp", "iat", "nbf", "jti")


def proofs_of(token: TokenSettings) -> Iterator[tuple[str, SecretSettings]]:
    """Yield where the proofs of a client come from, each with its key; a list has its numbers."""
    for key in PROOFS:
        yield from numbered(key, getattr(token, key))


def method_for(table: Mapping[str, object]) -> AuthMethod:
    """Return the method that goes with what a client has, where the issuer is to have a say."""
    for key, method in PROOFS.items():
        if key in table:
            return method
    return "tls_client_auth" if "certificate_file" in table else "client_secret_basic"


def of_client(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys that identify the client: the key, and what to do."""
    if token.client_id and not token.client_id.strip():
        yield "client_id", "is empty"
    if not token.client_id and "client_id" in METHODS[token.auth_method].needs:
        yield "client_id", "is missing; it must be text in quotes"
    yield from _proofs(token)
    for key, source in proofs_of(token):
        yield from problems_of(key, source)
    yield from _certificate(token)
    yield from _assertion(token)


def unused(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield the keys that this auth_method has no use for; fine where another token shares them."""
    for key, methods in OPTIONAL.items():
        if token.auth_method not in methods:
            yield key, _goes_with(methods)
    if token.certificate_file and not token.key_file and token.auth_method not in WITH_PEM:
        yield "certificate_file", "is shown in TLS with key_file only; add that"


def _proofs(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Tell of a proof that is missing, or else of one that another method takes."""
    needed = METHODS[token.auth_method].needs
    spare = [key for key in PROOFS if key not in needed and getattr(token, key)]
    for key in spare:
        yield key, _goes_with(methods_with(key))
    for key in needed:
        if key != "client_id" and not getattr(token, key) and not spare:
            yield key, f"is missing; it must be {SOURCES if key in PROOFS else PEM}"


def _certificate(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.key_file is None:
        return
    if token.certificate_file is None and "key_file" not in METHODS[token.auth_method].needs:
        yield "certificate_file", f"is missing beside key_file; it must be {PEM}"
    for key in ("token_url", "issuer"):
        if (getattr(token, key) or "").startswith("http:"):
            yield key, "must begin with https://, for a certificate is shown in TLS"


def _assertion(token: TokenSettings) -> Iterator[tuple[str, str]]:
    signing = OPTIONAL["signing_alg"]
    if token.signing_alg and token.auth_method in signing:
        proof = "client_secret" if token.signing_alg.startswith("HS") else "private_key"
        fitting = [method for method in signing if proof in METHODS[method].needs]
        if token.auth_method not in fitting:
            yield "signing_alg", _goes_with(fitting)
    if token.assertion_audience == "issuer" and token.issuer is None:
        yield "assertion_audience", "needs issuer; or give the very text of the audience"
    for name, value in token.assertion_claims.items():
        if name in TIMES and (value or name == "exp"):
            yield f"assertion_claims.{name}", "is set by freshtoken"


def _goes_with(methods: Iterable[str]) -> str:
    listed = " or ".join(f'"{method}"' for method in methods)
    return f"goes with auth_method = {listed}; set that, or leave it out"
