"""How a request of requests is authorized, and sent once more after a 401."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from freshtoken_reader.cache import TokenCache


def authorize(request: PreparedRequest, cache: TokenCache) -> None:
    """Add the header, and a hook that sends the request again; raises TokenUnavailable."""
    header = cache.header()
    request.headers["Authorization"] = header
    retry = _RetryOnce(cache, header, _position(request.body))
    request.register_hook("response", retry)  # type: ignore[no-untyped-call]  # requests' own


@dataclass(frozen=True)
class _RetryOnce:
    """Sends a request once more after a 401, the way the digest auth of requests does.

    `position` is where its body begins, None if that can be sent only once.
    """

    cache: TokenCache
    header: str = field(repr=False)
    position: int | None

    def __call__(self, response: Response, **options: Any) -> Response:  # noqa: ANN401  # requests' own
        if response.status_code != HTTPStatus.UNAUTHORIZED or self.position is None:
            return response
        # A redirect to another host has dropped the header: that host must not get a token.
        if response.request.headers.get("Authorization") != self.header:
            return response
        replacement = self.cache.replacement(self.header)
        return response if replacement is None else self._again(response, replacement, options)

    def _again(self, first: Response, header: str, options: dict[str, Any]) -> Response:
        _ = first.content  # read to its end, so that the connection can be reused
        first.close()
        request = first.request.copy()
        seek = getattr(request.body, "seek", None)
        if seek is not None:
            seek(self.position)
        request.headers["Authorization"] = header
        second: Response = first.connection.send(request, **options)
        second.history.append(first)
        second.request = request
        return second


def _position(body: object) -> int | None:
    if body is None or isinstance(body, (bytes, str)):
        return 0
    try:
        return int(body.tell())  # type: ignore[attr-defined]  # else AttributeError, like a generator
    except (AttributeError, OSError):
        return None
