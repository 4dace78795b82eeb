"""What a store holds for the tests of those who read it."""

import json

from fakes import START


def document(token: str, expires_at: float = START + 3600) -> str:
    """Return a stored document as the json format writes it."""
    return json.dumps({"access_token": token, "token_type": "Bearer", "expires_at": expires_at})
