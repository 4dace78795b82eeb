"""How a request of httpx is authorized, and sent once more after a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import httpx
from anyio import to_thread  # httpx depends on it

if TYPE_CHECKING:
    from freshtoken_reader.cache import TokenCache


class HttpxAuth(httpx.Auth):
    """Adds the header, and sends once more with another token after a 401.

    The async client never waits for a store in its event loop.
    """

    def __init__(self, cache: TokenCache) -> None:
        """Read nothing yet."""
        self._cache = cache

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with the token of the store; raises TokenUnavailable."""
        header = self._cache.header()
        request.headers["Authorization"] = header
        response = yield request
        if _may_retry(request, response):
            replacement = self._cache.replacement(header)
            if replacement is not None:
                request.headers["Authorization"] = replacement
                yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send with the token of the store; raises TokenUnavailable."""
        header = self._cache.header_at_once()
        if header is None:
            header = await to_thread.run_sync(self._cache.header)
        request.headers["Authorization"] = header
        response = yield request
        if _may_retry(request, response):
            replacement = await to_thread.run_sync(self._cache.replacement, header)
            if replacement is not None:
                request.headers["Authorization"] = replacement
                yield request


def _may_retry(request: httpx.Request, response: httpx.Response) -> bool:
    """Tell whether the token was refused and the body can be sent again: a stream is used up."""
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return False
    try:
        return request.content is not None
    except httpx.RequestNotRead:
        return False
