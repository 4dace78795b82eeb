"""What an authorization server says about itself (RFC 8414 section 2). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from job.core.errors import ExchangeError, RequestRejected
from job.oauth.error_response import PERMANENT, error_response_of
from job.oauth.token_response import TokenResponse, members_of

DEFAULT_METHODS = ("client_secret_basic",)
"""What a server takes that doesn't say (RFC 8414 section 2)."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where the token endpoint is, and how clients may prove themselves there.

    `mtls_token_url` is the endpoint for clients with a certificate (RFC 8705 section 5), the same
    as `token_url` if there is no other. `grant_types` is empty where the server doesn't say.
    `place` is the URL that this was read from.
    """

    issuer: str
    token_url: str
    mtls_token_url: str
    auth_methods: tuple[str, ...] = DEFAULT_METHODS
    grant_types: tuple[str, ...] = ()
    place: str = ""


def places_of(issuer: str) -> tuple[str, ...]:
    """Return where an issuer's metadata may be, in the order to try.

    RFC 8414 section 3.1 puts the well-known part between host and path; OpenID Connect Discovery
    section 4.1 appends it.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def metadata_of(issuer: str, place: str, answer: TokenResponse) -> Metadata:
    """Return the metadata in an answer.

    Raises an ExchangeError for an answer without any, and for one whose `issuer` is not exactly the
    configured text: such a document must not be used (RFC 8414 section 3.3).
    """
    members = members_of(answer.body)
    if not answer.succeeded:
        raise _refused(answer, members, place)
    if members is None or not isinstance(members.get("issuer"), str):
        raise RequestRejected(
            "no_metadata", f"{place} holds no metadata of an authorization server; check issuer"
        )
    if members["issuer"] != issuer:
        raise RequestRejected(
            "issuer_mismatch",
            f"{place} names another issuer, {answer.show(members['issuer'], 200)}; set issuer to "
            "exactly that if it is the right server",
        )
    token_url = _url(members, "token_endpoint", issuer, place)
    aliases = members.get("mtls_endpoint_aliases")
    has_alias = isinstance(aliases, dict) and "token_endpoint" in aliases
    return Metadata(
        issuer,
        token_url,
        _url(aliases, "token_endpoint", issuer, place) if has_alias else token_url,
        _texts(members, "token_endpoint_auth_methods_supported") or DEFAULT_METHODS,
        _texts(members, "grant_types_supported"),
        place,
    )


def _refused(answer: TokenResponse, members: Mapping[str, Any] | None, place: str) -> ExchangeError:
    """Return why there is no document; what may pass by itself is told as the server says it."""
    error = error_response_of(answer, members)
    if error.retryable and answer.status not in PERMANENT:
        return error
    return RequestRejected(
        "no_metadata",
        f"{place} gives no metadata (HTTP {answer.status}); check issuer, or set token_url instead",
        http_status=answer.status,
    )


def _url(members: Any, name: str, issuer: str, place: str) -> str:  # noqa: ANN401  # parsed JSON
    """Return an endpoint; one without TLS only where the issuer itself is without."""
    url = members.get(name)
    schemes = {"https", urlsplit(issuer).scheme}
    if isinstance(url, str) and _is_usable(url, schemes):
        return url
    raise RequestRejected(
        "no_token_endpoint",
        f"{place} names no {name} that can be used; set token_url instead of issuer",
    )


def _is_usable(url: str, schemes: set[str]) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read from the text, and checked, only now
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and parts.scheme in schemes and bool(parts.hostname) and not parts.fragment


def _texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    items = members.get(name)
    return tuple(i for i in items if isinstance(i, str)) if isinstance(items, list) else ()
