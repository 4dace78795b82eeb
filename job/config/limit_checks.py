"""Whether limits are the same for all tokens that share an endpoint or a client."""

from collections.abc import Iterator, Mapping

from job.config.checks import place_of
from job.config.settings import TokenSettings


def endpoint_of(token: TokenSettings) -> str:
    """Return what tokens of one endpoint have in common: its address, or that of its issuer."""
    return (token.token_url or token.issuer or "").partition("?")[0]


def of_shared(tokens: Mapping[str, TokenSettings]) -> Iterator[tuple[str, str]]:
    """Yield where tokens of one endpoint, or of one client, have different limits."""
    first: dict[tuple[str, ...], str] = {}
    for name, token in tokens.items():
        endpoint = endpoint_of(token)
        for key, shared, by in (
            ("max_concurrency", (endpoint,), "endpoint"),
            ("max_rate", (endpoint,), "endpoint"),
            ("max_exchanges", (endpoint, token.client_id), "client"),
        ):
            other = first.setdefault((key, *shared), name)
            if getattr(tokens[other], key) != getattr(token, key):
                text = f"differs from that of {other}, of the same {by}; give both the same"
                yield f"{place_of(name)}.{key}", text
