"""What can be wrong with the keys that say how a server is asked and how its answer is read."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from job.config.settings import CommonSettings
from job.oauth.auth_methods import METHODS
from job.values import is_url

SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
OWN_PARAMS = ("grant_type", "client_id", "client_secret", "scope", "audience", "resource")


def of_request(token: CommonSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with these keys: the key, and what to do."""
    yield from _params(token)
    yield from _headers(token)
    yield from _answer(token)
    if token.http_method == "GET" and token.request_format != "query":
        yield "request_format", 'must be "query" with http_method = "GET", which has no body'
    for key in ("introspection_url", "probe_url"):
        if getattr(token, key) is not None:
            yield from of_endpoint(key, getattr(token, key), token)


def of_endpoint(key: str, text: str, token: CommonSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a URL to which credentials are sent."""
    if not is_url(text):
        yield key, "must be a URL: https:// and a host, without spaces"
        return
    url = urlsplit(text)
    if url.scheme == "http" and not token.allow_http and not _is_loopback(url.hostname or ""):
        yield key, "sends the secret without TLS; use https://, or set allow_http = true"
    if url.username or url.password:
        yield key, "must not hold a user or password; they go to client_id and secret"
    if url.fragment:
        yield key, "must not have a fragment (RFC 6749 section 3.2)"


def secret_in_url(token: CommonSettings) -> str:
    """Return which credential the URL of the request holds, in words; empty if none."""
    if token.request_format != "query":
        return ""
    if token.auth_method == "client_secret_post":
        return "the client secret"
    asserting = METHODS[token.auth_method].asserts and token.assertion_in != "bearer"
    return "the assertion" if asserting else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _params(token: CommonSettings) -> Iterator[tuple[str, str]]:
    for scope in token.scope:
        if not SCOPE.fullmatch(scope):
            yield "scope", "one scope for each text, without spaces, quotes or backslashes"
    own = {*OWN_PARAMS, token.client_id_param, token.client_secret_param}
    for name in token.extra_params:
        if name in own:
            yield f"extra_params.{name}", "has a key of its own, or is set by freshtoken"
    if not token.client_secret_param:
        yield "client_secret_param", "is empty; name the parameter that takes the secret"
    if token.client_id_param == token.client_secret_param:
        yield "client_id_param", "must not be the same as client_secret_param"


def _headers(token: CommonSettings) -> Iterator[tuple[str, str]]:
    for name, value in token.headers.items():
        if name.lower() == "authorization":
            yield f"headers.{name}", "is made from client_id and client_secret by auth_method"
        elif not HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            yield f"headers.{name}", "is not a header"
    for key in ("authorization_scheme", "token_type"):
        word = getattr(token, key)
        if word is not None and not HEADER.fullmatch(word):
            yield key, "must be one word, as it stands in an Authorization header"


def _answer(token: CommonSettings) -> Iterator[tuple[str, str]]:
    for key in ("token_path", "expiry_path"):
        if getattr(token, key) == "":
            yield key, "is empty; give a name, or names joined by points, such as data.accessToken"
