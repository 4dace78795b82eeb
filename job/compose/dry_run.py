"""A client's proof, tried without being sent: what `check` can tell of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote_plus

from job.compose.token_source import proof_of, settled
from job.compose.tools import Tools
from job.config.client_checks import proofs_of
from job.config.settings import TokenSettings
from job.core.errors import SecretUnavailable
from job.core.text import DAY_S
from job.credentials.kinds import kind_of
from job.oauth.auth_methods import METHODS, OAuthClient
from job.oauth.certificate import CertificateFiles, certificate_expiry

SOON_DAYS = 14


def dry_run(settings: TokenSettings, tools: Tools) -> "DryRun":
    """Return what `check` tries of a client."""
    proof, (_, endpoint) = proof_of(settings, tools), settled(settings, None)
    return DryRun(settings, OAuthClient(settings, settings.client_id, proof, endpoint, tools.clock))


@dataclass(frozen=True, slots=True)
class DryRun:
    """One client, and the rest of its settings."""

    settings: TokenSettings
    client: OAuthClient

    @property
    def subject(self) -> str:
        """Return what the client proves itself by, in words; empty for nothing."""
        for key, _ in proofs_of(self.settings):
            return key.partition("[")[0].replace("_", " ")
        return "certificate" if self.settings.certificate else ""

    def run(self) -> None:
        """Have the client's method sign a request, by each secret; raises SecretUnavailable."""
        from job.oauth.request import TokenRequest, prepared  # noqa: PLC0415  # 0.1 s of CPU

        proof, endpoint = self.client.proof, self.client.endpoint
        auth = METHODS[self.settings.auth_method].make(self.client)
        for _ in range(proof.count):
            prepared(TokenRequest(endpoint.token_url or endpoint.issuer, ()), auth)
            proof.next()

    def warnings(self, *, run: bool) -> Iterator[str]:
        """Yield what can be seen without running a command or asking AWS.

        With `run` the request is signed, too, if only files are needed for that.
        """
        kinds = [kind_of(source) for _, source in proofs_of(self.settings)]
        if run and all(kind.is_file for kind in kinds):
            try:
                self.run()
            except SecretUnavailable as error:
                yield error.message
                return
        yield from self._encoding(may_look=all(kind.is_free for kind in kinds))
        yield from self._certificate()

    def _encoding(self, *, may_look: bool) -> Iterator[str]:
        """Warn of values that some servers decode and others do not; only a request would tell."""
        if not METHODS[self.settings.auth_method].is_encoded:
            return
        values = {"client_id": self.settings.client_id}
        with contextlib.suppress(SecretUnavailable):
            values["client_secret"] = self.client.proof.resolve().reveal() if may_look else ""
        ambiguous = [name for name, value in values.items() if quote_plus(value) != value]
        if ambiguous:
            other = "raw" if self.settings.basic_encoding == "form" else "form"
            verb = "have" if ambiguous[1:] else "has"
            yield (
                f"{' and '.join(ambiguous)} {verb} characters that some servers "
                f"decode and some don't: if yours answers invalid_client, set basic_encoding = "
                f'"{other}", or use client_secret_post where that is allowed'
            )

    def _certificate(self) -> Iterator[str]:
        if self.settings.certificate_file is None:
            return
        path = self.settings.certificate_file
        shown = self.settings.certificate
        try:
            end = certificate_expiry(path)
            if shown is not None:
                CertificateFiles(*shown, self.client.clock, must_be_current=False).resolve()
        except SecretUnavailable as error:
            yield error.message
            return
        left_s = end.timestamp() - self.client.clock().wall
        if left_s < SOON_DAYS * DAY_S:
            verb = "expires" if left_s > 0 else "expired"
            yield f"the certificate in {path} {verb} on {end:%Y-%m-%d}; renew it"
