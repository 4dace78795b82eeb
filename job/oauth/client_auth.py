"""How the client proves itself. Each method is a requests AuthBase, so the exchange knows none.

Exactly one method is used per request (RFC 6749 section 2.3). A secret is asked for at each call
and never kept: a rotated secret is used from the next request on. A certificate that is shown in
TLS is the transport's, so that its methods are `ClientIdOnly` here.
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

    `form` encodes id and secret as the RFC demands, before they are joined; `raw` joins their
    UTF-8 bytes as they are, for servers that never decode. `scheme` is what a server calls it that
    has another name for it. Nothing goes into the body.
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

    They stand in the URL only if all parameters do, because the server takes them nowhere else.
    `id_param` and `secret_param` are what the server calls them; an empty name leaves one out.
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

    The client id is sent too where there is one, because Entra wants it.
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
    """A JWT that is the grant itself (RFC 7523 section 2.1): it stands for the client, too."""

    assertion: Callable[[], Secret]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the assertion to the parameters; raises SecretUnavailable."""
        return with_params(request, [("assertion", self.assertion().reveal())])


@dataclass(frozen=True)
class BearerAssertion(AuthBase):
    """A JWT in the Authorization header, as GitHub wants it of its apps; the body says nothing."""

    assertion: Callable[[], Secret]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the Authorization header; raises SecretUnavailable."""
        request.headers["Authorization"] = f"Bearer {self.assertion().reveal()}"
        return request


@dataclass(frozen=True)
class ClientIdOnly(AuthBase):
    """The client's name alone, for `none`, and for TLS with a certificate (RFC 8705 section 2).

    `proof` is what TLS will show, if anything; it is asked so that what is wrong with it is told
    before a connection is made.
    """

    client_id: str
    proof: Callable[[], object]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the client id to the parameters; raises SecretUnavailable."""
        self.proof()
        return with_params(request, [("client_id", self.client_id)])
