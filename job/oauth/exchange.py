"""The client credentials grant (RFC 6749 section 4.4), whatever a server calls it."""

import re
from dataclasses import dataclass, replace

from requests import PreparedRequest
from requests.auth import AuthBase

from job.core.clock import Clock
from job.core.errors import ExchangeError
from job.core.secret import Secret
from job.core.tokens import Token
from job.credentials.watched import WatchedSecret
from job.http.transport import Transport
from job.oauth.expiry import introspected
from job.oauth.request import TokenRequest, prepared
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse

# A JWT begins with a brace, and a brace in Base64 with one of these.
_ASSERTION = re.compile(r"(?<![\w-])e[wy][\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True)
class ClientCredentials:
    """A source of tokens: each fetch is one exchange with the token endpoint.

    If the answer gives no lifetime, `introspection_url` is asked for it, where that is set.
    """

    request: TokenRequest
    auth: AuthBase
    secret: WatchedSecret
    transport: Transport
    rules: ResponseRules
    clock: Clock
    introspection_url: str = ""

    def fetch(self) -> Token:
        """Return a new token; raises an ExchangeError of any kind and nothing else.

        The client secret is read before the clock, so that a slow source shortens no lifetime.
        """
        return self.read(self.ask(self.request))

    def read(self, answer: TokenResponse) -> Token:
        """Return the token of an answer, with its expiry; raises an ExchangeError."""
        token = read_token(answer, self.rules)
        if token.expiry_source == "default" and self.introspection_url:
            return self._looked_up(token)
        return token

    def changed(self) -> bool:
        """Tell whether the client secret has changed since the last fetch."""
        return self.secret.changed()

    def _looked_up(self, token: Token) -> Token:
        """Return the token with the server's expiry, or as it was, with a note on the reason."""
        try:
            return introspected(token, self.introspect(token))
        except ExchangeError as error:
            notes = (token.note, f"default_lifetime counts, for the expiry is not known: {error}")
            return replace(token, note="; ".join(filter(None, notes)))

    def introspect(self, token: Token) -> TokenResponse:
        """Ask `introspection_url` about a token (RFC 7662 section 2.1); raises an ExchangeError."""
        params = (("token", token.access_token.reveal()), ("token_type_hint", "access_token"))
        asked = TokenRequest(self.introspection_url, params, self.request.headers)
        return self.ask(asked, token.access_token)

    def ask(self, asked: TokenRequest, *secrets: Secret) -> TokenResponse:
        """Send a request with the client's proof and return the answer; raises an ExchangeError.

        `secrets` are values in the request that the server may echo.
        """
        sending = prepared(asked, self.auth)
        sent_at = self.clock().wall
        reply = self.transport.send(sending)
        return TokenResponse(*reply, sent_at, (*secrets, *self._secrets(sending)))

    def _secrets(self, sent: PreparedRequest) -> tuple[Secret, ...]:
        """Return what a server may echo: the client secret, and the credentials made of it."""
        authorization = str(sent.headers.get("Authorization", "")).rpartition(" ")[2]
        made = [authorization, *_ASSERTION.findall(f"{sent.url} {sent.body!r}")]
        return (*map(Secret, made), *self.secret.live)
