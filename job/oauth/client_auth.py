"""How the client proves itself. Each method is a requests AuthBase, so the exchange knows none.

Exactly one method is used per request (RFC 6749 section 2.3). A secret is asked for at each call
and never kept: a rotated secret is used from the next request on.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus, urlencode

from requests import PreparedRequest
from requests.auth import AuthBase

from job.secret import Secret

BasicEncoding = Literal["form", "raw"]


@dataclass(frozen=True)
class ClientSecretBasic(AuthBase):
    """HTTP Basic with the client's credentials (RFC 6749 section 2.3.1).

    `form` encodes id and secret as the RFC demands, before they are joined; `raw` joins their
    UTF-8 bytes as they are, for servers that never decode. Nothing goes into the body.
    """

    client_id: str
    secret: Callable[[], Secret]
    encoding: BasicEncoding = "form"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the Authorization header; raises SecretUnavailable."""
        pair = (self.client_id, self.secret().reveal())
        if self.encoding == "form":
            pair = (quote_plus(pair[0]), quote_plus(pair[1]))
        credentials = base64.b64encode(":".join(pair).encode()).decode()
        request.headers["Authorization"] = f"Basic {credentials}"
        return request


@dataclass(frozen=True)
class ClientSecretPost(AuthBase):
    """The client's credentials as body parameters (RFC 6749 section 2.3.1), never in the URL."""

    client_id: str
    secret: Callable[[], Secret]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Append the credentials to the form-encoded body; raises SecretUnavailable."""
        credentials = {"client_id": self.client_id, "client_secret": self.secret().reveal()}
        body = request.body or ""
        form = body.decode("ascii") if isinstance(body, bytes) else body
        request.body = "&".join(filter(None, (form, urlencode(credentials))))
        request.prepare_content_length(request.body)
        return request
