"""The client credentials grant (RFC 6749 section 4.4): one POST, one token."""

from dataclasses import dataclass

from requests import PreparedRequest
from requests.auth import AuthBase

from job.clock import Clock
from job.oauth.answer import Answer, AnswerRules
from job.oauth.request import TokenRequest, post_request
from job.oauth.response import token_of
from job.oauth.transport import Transport
from job.secret import Secret, WatchedSecret
from job.tokens import Token


@dataclass(frozen=True)
class ClientCredentials:
    """A source of tokens: each fetch is one exchange with the token endpoint."""

    request: TokenRequest
    auth: AuthBase
    secret: WatchedSecret
    transport: Transport
    rules: AnswerRules
    clock: Clock

    def fetch(self) -> Token:
        """Return a new token; raises an ExchangeError of any kind and nothing else.

        The client secret is read before the clock, so that a slow source shortens no life.
        """
        # An empty value counts as omitted (RFC 6749 section 3.2).
        params = ((name, value) for name, value in self.request.params if value)
        sending = post_request(self.request.token_url, params, self.request.headers, self.auth)
        sent_at = self.clock().wall
        reply = self.transport.send(sending)
        return token_of(Answer(*reply, sent_at, self._secrets(sending)), self.rules)

    def changed(self) -> bool:
        """Tell whether the client secret has changed since the last fetch."""
        return self.secret.changed()

    def _secrets(self, sent: PreparedRequest) -> tuple[Secret, ...]:
        """Return what a server may echo: the client secret and the credentials made of it."""
        credentials = Secret(str(sent.headers.get("Authorization", "")).rpartition(" ")[2])
        return (credentials,) if self.secret.last is None else (credentials, self.secret.last)
