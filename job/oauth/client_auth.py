"""How the client proves itself: each method is an AuthBase of requests.

Exactly one method is used per request (RFC 6749 section 2.3). A secret is read at each call and
never kept: a rotated secret is used from the next request on. The transport shows certificates in
TLS, so those methods are `ClientIdOnly` here.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus

from requests import PreparedRequest
from requests.auth import AuthBase

from job.core.secret import Secret
from job.oauth.request import with_params

BasicEncoding = Literal["form", "raw"]


@dataclass(frozen=True)
class ClientSecretBasic(AuthBase):
    """HTTP Basic with the client's credentials (RFC 6749 section 2.3.1).

    `form` encodes id and secret before they are joined, as the RFC demands; `raw` joins their UTF-8
    bytes as they are, for servers that never decode. `scheme` is for servers that call Basic
    something else. Nothing goes into the body.
    """

    client_id: str
    secret: Callable[[], Secret]
    encoding: BasicEncoding = "form"
    scheme: str = "Basic"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the Authorization header; raises SecretUnavailable."""
        pair = (self.client_id, self.secret().reveal())
        if self.encoding == "form":
            pair = (quote_plus(pair[0]), quote_plus(pair[1]))
        credentials = base64.b64encode(":".join(pair).encode()).decode()
        request.headers["Authorization"] = f"{self.scheme} {credentials}"
        return request


@dataclass(frozen=True)
class ClientSecretPost(AuthBase):
    """The client's credentials as parameters of the request (RFC 6749 section 2.3.1).

    They are in the URL only if all parameters are. `id_param` and `secret_param` are what the
    server calls them; an empty name leaves one out.
    """

    client_id: str
    secret: Callable[[], Secret]
    id_param: str = "client_id"
    secret_param: str = "client_secret"  # noqa: S105  # a name, not a secret

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the credentials to the parameters; raises SecretUnavailable."""
        secret = self.secret().reveal()
        return with_params(request, [(self.id_param, self.client_id), (self.secret_param, secret)])


@dataclass(frozen=True)
class ClientAssertion(AuthBase):
    """A JWT about the client as a parameter (RFC 7521 section 4.2, RFC 7523 section 2.2).

    The client id is sent too, if there is one, because Entra wants it.
    """

    client_id: str
    assertion: Callable[[], Secret]
    assertion_type: str

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the assertion to the parameters; raises SecretUnavailable."""
        params = {
            "client_id": self.client_id,
            "client_assertion_type": self.assertion_type,
            "client_assertion": self.assertion().reveal(),
        }
        return with_params(request, params.items())


@dataclass(frozen=True)
class AssertionGrant(AuthBase):
    """A JWT that is the grant itself (RFC 7523 section 2.1) and also identifies the client."""

    assertion: Callable[[], Secret]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the assertion to the parameters; raises SecretUnavailable."""
        return with_params(request, [("assertion", self.assertion().reveal())])


@dataclass(frozen=True)
class BearerAssertion(AuthBase):
    """A JWT in the Authorization header, as GitHub wants it from its apps; the body is empty."""

    assertion: Callable[[], Secret]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the Authorization header; raises SecretUnavailable."""
        request.headers["Authorization"] = f"Bearer {self.assertion().reveal()}"
        return request


@dataclass(frozen=True)
class ClientIdOnly(AuthBase):
    """The client's name alone, for `none`, and for TLS with a certificate (RFC 8705 section 2).

    `proof` reads what TLS will show, if anything, so that a fault in it is reported before a
    connection is made.
    """

    client_id: str
    proof: Callable[[], object]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the client id to the parameters; raises SecretUnavailable."""
        self.proof()
        return with_params(request, [("client_id", self.client_id)])
