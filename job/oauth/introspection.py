"""What a server says of a token that it gave (RFC 7662), where no lifetime is given. Pure."""

import math
from dataclasses import replace

from job.core.errors import ResponseInvalid
from job.core.tokens import Token
from job.oauth.error_response import error_response_of
from job.oauth.expiry import remaining
from job.oauth.token_response import TokenResponse, members_of


def introspected(token: Token, answer: TokenResponse) -> Token:
    """Return the token with the expiry that an introspection answer gives (section 2.2).

    Raises ExchangeError for an answer that gives none, or calls the token inactive: a server says
    so, too, to a client that may not ask.
    """
    members = members_of(answer.body) or {}
    if not answer.succeeded:
        raise error_response_of(answer, members)
    seconds = remaining(members.get("exp"), answer)
    if members.get("active") is not True or seconds is None:
        raise ResponseInvalid(
            "no_expiry",
            "introspection does not tell when the token expires; check introspection_url, and "
            "whether the client may introspect its tokens",
            http_status=answer.status,
        )
    return replace(
        token, expires_at=math.floor(answer.sent_at + seconds), expiry_source="introspection"
    )
