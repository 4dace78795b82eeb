"""What is asked of the token endpoint: parameters and headers, made into one HTTP request."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import requests
from requests.structures import CaseInsensitiveDict

from job import __version__
from job.oauth.transport import translating

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""A requests AuthBase, or any function that adds credentials to a request, or adds none."""

# Minutes lie between two exchanges: a kept connection would only be stale by then.
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"freshtoken/{__version__}",
}


@dataclass(frozen=True)
class TokenRequest:
    """What is asked of whom. `params` keep their order, `resource` may repeat (RFC 8707)."""

    token_url: str
    params: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def post_request(
    url: str, params: Iterable[tuple[str, str]], headers: Mapping[str, str], auth: Auth
) -> requests.PreparedRequest:
    """Return a form POST that is ready to send; `headers` replace ours of the same name.

    Raises what `auth` raises, and RequestRejected when the settings give no legal request.
    """
    return translating(functools.partial(_prepared, url, list(params), headers, auth), url)


def get_request(url: str) -> requests.PreparedRequest:
    """Return a GET without credentials; raises RequestRejected when none can be made of the URL."""
    return translating(functools.partial(_plain, url), url)


def _plain(url: str) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.prepare_method("GET")
    request.prepare_url(url, None)
    request.prepare_headers(CaseInsensitiveDict(_HEADERS))
    return request


def _prepared(
    url: str, params: list[tuple[str, str]], headers: Mapping[str, str], auth: Auth
) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.prepare_method("POST")
    request.prepare_url(url, None)
    request.prepare_headers(CaseInsensitiveDict([*_HEADERS.items(), *headers.items()]))
    request.prepare_body(params, None)
    request.prepare_auth(auth)
    return request
