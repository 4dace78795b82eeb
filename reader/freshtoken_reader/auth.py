"""The auth that programs use: for requests, for httpx, and for whatever sends a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshtoken_reader import requests_auth
from freshtoken_reader.cache import MIN_VALIDITY_S, TokenCache
from freshtoken_reader.stores import Secret, file_store

if TYPE_CHECKING:
    import httpx
    from requests import PreparedRequest


class TokenAuth:
    """Adds the Authorization header to each request, and sends it once more after a 401.

    It is an auth of requests; `httpx` returns one for httpx; `header` serves every other client.
    Sessions and threads may share one. A process that forks makes one in each child.
    """

    def __init__(self, cache: TokenCache) -> None:
        """Read nothing yet."""
        self._cache = cache

    @classmethod
    def from_file(cls, path: str, *, min_validity: float = MIN_VALIDITY_S) -> TokenAuth:
        """Use the token in a file of format json, raw or header.

        The file's status is checked for each request; the first request after the file was
        replaced reads it.
        """
        return cls(TokenCache(file_store(path), min_validity))

    @classmethod
    def from_secrets_manager(
        cls,
        secret_id: str,
        *,
        json_key: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        min_validity: float = MIN_VALIDITY_S,
    ) -> TokenAuth:
        """Use the token in a secret, which is read about every half of `min_validity` seconds.

        Needs boto3. The principal needs secretsmanager:GetSecretValue. What is None comes from
        boto3's own chain.
        """
        secret = Secret(secret_id, json_key, region, endpoint_url, profile)
        return cls(TokenCache(secret.store(), min_validity))

    def header(self) -> str:
        """Return the value of the Authorization header now; raises TokenUnavailable."""
        return self._cache.header()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request of requests; raises TokenUnavailable."""
        requests_auth.authorize(request, self._cache)
        return request

    def httpx(self) -> httpx.Auth:
        """Return the same as an auth of httpx, for its clients with and without async."""
        from freshtoken_reader.httpx_auth import HttpxAuth  # noqa: PLC0415  # imports httpx

        return HttpxAuth(self._cache)
