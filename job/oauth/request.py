"""What is asked of the token endpoint: parameters and headers, made into one HTTP request."""

import functools
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

import requests
from requests.structures import CaseInsensitiveDict

from job import __version__
from job.http.faults import translating

RequestFormat = Literal["form", "json", "query"]
Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""A requests AuthBase, or any function that adds credentials to a request, or adds none."""

# Minutes lie between two exchanges: a kept connection would only be stale by then.
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"freshtoken/{__version__}",
}
# Without parameters yet; a query has no body.
_FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
_EMPTY: Mapping[RequestFormat, tuple[dict[str, str], str | None]] = {
    "form": (_FORM_TYPE, ""),
    "json": ({"Content-Type": "application/json"}, "{}"),
    "query": ({}, None),
}
UNIQUE = "{uuid}"


@dataclass(frozen=True)
class TokenRequest:
    """What is asked of whom, and how it is written.

    `params` keep their order, `resource` may repeat (RFC 8707). `headers` replace ours of the same
    name; each UNIQUE in their values becomes a UUID, a new one for each request.
    """

    url: str
    params: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: Literal["POST", "GET"] = "POST"
    layout: RequestFormat = "form"


class LaidOut(requests.PreparedRequest):
    """A request that knows where its parameters go. Those of any other one go into its form."""

    def __init__(self, layout: RequestFormat) -> None:
        """Begin without parameters."""
        super().__init__()
        self.layout = layout


def prepared(asked: TokenRequest, auth: Auth) -> requests.PreparedRequest:
    """Return a request that is ready to send.

    Raises what `auth` raises, and RequestRejected when the settings give no legal request.
    """
    return translating(functools.partial(_prepared, asked, auth), asked.url)


def get_request(url: str) -> requests.PreparedRequest:
    """Return a GET without credentials; raises RequestRejected when none can be made of the URL."""
    return prepared(TokenRequest(url, (), method="GET", layout="query"), lambda request: request)


def json_request(url: str, body: bytes, headers: Mapping[str, str]) -> requests.PreparedRequest:
    """Return a POST of a JSON text; raises RequestRejected when none can be made of the URL."""
    asked = TokenRequest(url, (), headers, layout="json")

    def with_body(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.body = body
        request.prepare_content_length(body)
        return request

    return prepared(asked, with_body)


def with_params(
    request: requests.PreparedRequest, params: Iterable[tuple[str, str]]
) -> requests.PreparedRequest:
    """Add parameters where the request has its own: to its form, its JSON object or its query.

    One without a name or a value counts as omitted (RFC 6749 section 3.2).
    """
    given = [(name, value) for name, value in params if name and value]
    layout = request.layout if isinstance(request, LaidOut) else "form"
    if layout == "query":
        request.prepare_url(str(request.url), given)
        return request
    body = request.body or ""
    text = body.decode() if isinstance(body, bytes) else body
    written = _as_json(text, given) if layout == "json" else _as_form(text, given)
    request.body = written or None  # only of None requests tells the length
    request.prepare_content_length(request.body)
    return request


def _as_form(text: str, given: list[tuple[str, str]]) -> str:
    return "&".join(filter(None, (text, urlencode(given))))


def _as_json(text: str, given: list[tuple[str, str]]) -> str:
    """Put parameters into a JSON object; one that repeats becomes a list."""
    members = json.loads(text)
    for name, value in given:
        before = members.get(name)
        several = before if isinstance(before, list) else [before]
        members[name] = value if before is None else [*several, value]
    return json.dumps(members)


def _prepared(asked: TokenRequest, auth: Auth) -> requests.PreparedRequest:
    content_type, body = _EMPTY[asked.layout]
    unique = str(uuid.uuid4())
    own = {name: value.replace(UNIQUE, unique) for name, value in asked.headers.items()}
    headers = [*_HEADERS.items(), *content_type.items(), *own.items()]
    request = LaidOut(asked.layout)
    request.prepare_method(asked.method)
    request.prepare_url(asked.url, None)
    request.prepare_headers(CaseInsensitiveDict(headers))
    request.body = body
    with_params(request, asked.params)
    request.prepare_auth(auth)
    return request
