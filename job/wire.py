"""From settings to objects: the composition root. What is heavy is built when first needed."""

import hashlib
import os.path
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, assert_type
from urllib.parse import urlsplit

import msgspec

from job.aws import client_factory
from job.clock import Clock
from job.config import Config
from job.config.settings import CommonSettings, SecretSettings, TokenSettings
from job.config.sink_settings import FileSinkSettings, SecretsManagerSinkSettings, SinkSettings
from job.config.values import seconds
from job.refresh import Refresher, TokenSource
from job.schedule import Plan, Policy
from job.secret import CommandSecret, EnvironmentSecret, FileSecret, Secret, WatchedSecret
from job.sinks import Sink
from job.sinks.file import FileSink, sweep
from job.tokens import OutputFormat, Token, request_key

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from job.oauth.exchange import ClientCredentials
    from job.oauth.transport import Transport
    from job.sinks.secrets_manager import SecretsManagerSink

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class LazySource:
    """A token source that is built, requests and all, when a token is first asked for."""

    __slots__ = ("_make", "_source", "secret")

    def __init__(self, secret: WatchedSecret, make: Callable[[], TokenSource]) -> None:
        """Keep how to build it, and the secret that it will use."""
        self.secret = secret
        self._make: Callable[[], TokenSource] | None = make
        self._source: TokenSource | None = None

    def fetch(self) -> Token:
        """Return a new token; raises ExchangeError."""
        if self._make is not None:
            self._source, self._make = self._make(), None
        return self._source.fetch()  # type: ignore[union-attr]  # the line above has set it

    def changed(self) -> bool:
        """Tell whether the client secret has changed since it was last used."""
        return self.secret.changed()


class Wiring:
    """Builds a program's objects out of its configuration, and shares what can be shared."""

    def __init__(self, environ: Mapping[str, str], host: str, clock: Clock) -> None:
        """Build nothing yet. `host` is what sets this machine's jitter apart from a replica's."""
        self.environ = environ
        self._host = host
        self._clock = clock
        self._clients: dict[tuple[str | None, ...], Callable[[], SecretsManagerClient]] = {}
        self._policies: dict[Policy, Policy] = {}
        self._transports: dict[tuple[float, str, str], Transport] = {}
        self._lock = threading.Lock()
        self._built: dict[str, tuple[bytes, Refresher, WatchedSecret]] = {}

    def refreshers(self, config: Config) -> dict[str, Refresher]:
        """Return a refresher for each token.

        A token whose settings are the same as in the call before keeps the one it had, with all
        that is known of it.
        """
        sweep(
            os.path.join(config.folder, sink.path)
            for token in config.tokens.values()
            for sink in token.sinks
            if isinstance(sink, FileSinkSettings)
        )
        built = {}
        for name, settings in config.tokens.items():
            digest = _digest(settings, config.folder)
            before = self._built.get(name)
            built[name] = (
                before
                if before and before[0] == digest
                else (digest, *self._refresher(name, settings, config.folder))
            )
        self._built = built
        return {name: refresher for name, (_, refresher, _) in built.items()}

    def live_secrets(self, name: str | None) -> Iterator[Secret]:
        """Yield the secrets of a token that are in memory, or of all tokens for None."""
        built = self._built  # a reload may put another one in its place in the meantime
        for token in [name] if name in built else list(built):
            _, refresher, client_secret = built[token]
            yield from refresher.live_secrets()
            if client_secret.last is not None:
                yield client_secret.last

    def sinks(self, name: str, settings: TokenSettings, folder: str) -> list[Sink]:
        """Return a token's sinks in the order of the configuration."""
        return [self._sink(name, sink, folder) for sink in settings.sinks]

    def policy(self, settings: CommonSettings) -> Policy:
        """Return when tokens of these settings are to be refreshed."""
        policy = Policy(
            refresh_at=settings.refresh_at,
            jitter=settings.jitter,
            min_validity=seconds(settings.min_validity),
            retry_budget=seconds(settings.retry_budget),
            min_interval=seconds(settings.min_interval),
            max_age=_maybe(settings.max_age),
            reissue=settings.reissue,
            fresh_window=_maybe(settings.fresh_window),
        )
        return self._policies.setdefault(policy, policy)

    def secret(self, settings: SecretSettings, folder: str) -> WatchedSecret:
        """Return where a client secret comes from."""
        if settings.env is not None:
            return WatchedSecret(EnvironmentSecret(settings.env, self.environ))
        if settings.file is not None:
            return WatchedSecret(FileSecret(os.path.join(folder, settings.file)))
        return WatchedSecret(CommandSecret(settings.command or ()))

    def transport(self, settings: CommonSettings, folder: str) -> "Transport":
        """Return how to reach a token endpoint; all tokens with the same way share it."""
        from job.oauth.transport import Transport  # noqa: PLC0415  # 0.1 s of CPU

        proxy = proxy_for(token_url_of(settings), settings.proxy, self.environ)
        key = (seconds(settings.timeout), self._ca_file(settings, folder), proxy)
        with self._lock:
            if key not in self._transports:
                proxies = {"http": proxy, "https": proxy} if proxy else {}
                self._transports[key] = Transport(*key[:2], proxies)
            return self._transports[key]

    def _ca_file(self, settings: CommonSettings, folder: str) -> str:
        """Return the file of certificate authorities to trust, empty for the usual ones."""
        if settings.ca_file:
            return os.path.join(folder, settings.ca_file)
        return next((self.environ[v] for v in CA_VARIABLES if self.environ.get(v)), "")

    def _refresher(
        self, name: str, settings: TokenSettings, folder: str
    ) -> tuple[Refresher, WatchedSecret]:
        secret = self.secret(settings.client_secret, folder)
        refresher = Refresher(
            name,
            LazySource(secret, lambda: self._exchange(settings, folder, secret)),
            self.sinks(name, settings, folder),
            Plan(self.policy(settings), f"{self._host}\0{name}"),
            key_of(settings),
            self._clock,
        )
        return refresher, secret

    def _exchange(
        self, settings: TokenSettings, folder: str, secret: WatchedSecret
    ) -> "ClientCredentials":
        from job.oauth import answer, client_auth, exchange, request  # noqa: PLC0415  # 0.1 s of CPU

        auth: client_auth.ClientSecretBasic | client_auth.ClientSecretPost
        match settings.auth_method:
            case "client_secret_basic":
                auth = client_auth.ClientSecretBasic(
                    settings.client_id, secret.resolve, settings.basic_encoding
                )
            case post:
                assert_type(post, Literal["client_secret_post"])  # a third one fails here
                auth = client_auth.ClientSecretPost(settings.client_id, secret.resolve)
        return exchange.ClientCredentials(
            request.TokenRequest(token_url_of(settings), params_of(settings), settings.headers),
            auth,
            secret,
            self.transport(settings, folder),
            answer.AnswerRules(
                scope=" ".join(settings.scope),
                lifetime=_maybe_int(settings.lifetime),
                default_lifetime=int(seconds(settings.default_lifetime)),
                jwt_expiry=settings.jwt_expiry,
                keep_extra=settings.keep_extra,
            ),
            self._clock,
        )

    def _sink(self, name: str, settings: SinkSettings, folder: str) -> Sink:
        layout = OutputFormat(settings.format, name, settings.template or "")
        match settings:
            case FileSinkSettings():
                return FileSink(
                    os.path.join(folder, settings.path),
                    layout,
                    mode=int(settings.mode, 8),
                    owner=settings.owner,
                    group=settings.group,
                    overwrite=settings.overwrite,
                )
            case _:
                return self._secrets_manager(settings, layout)

    def _secrets_manager(
        self, settings: SecretsManagerSinkSettings, layout: OutputFormat
    ) -> "SecretsManagerSink":
        from job.sinks import secrets_manager  # noqa: PLC0415  # 20 ms of CPU

        account = (settings.region, settings.endpoint_url, settings.profile)
        if account not in self._clients:
            self._clients[account] = client_factory(*account)
        return secrets_manager.SecretsManagerSink(
            settings.secret_id,
            layout,
            self._clients[account],
            json_key=settings.json_key,
            create=settings.create,
            kms_key_id=settings.kms_key_id,
            tags=settings.tags,
            compare_and_swap=settings.compare_and_swap,
            overwrite=settings.overwrite,
        )


def token_url_of(settings: CommonSettings) -> str:
    """Return the token endpoint; settings that were loaded always have one."""
    return settings.token_url or ""


def key_of(settings: TokenSettings) -> str:
    """Return the request key under which a token of these settings is stored."""
    return request_key(
        token_url_of(settings),
        settings.client_id,
        settings.scope,
        settings.audience,
        settings.resource,
        settings.extra_params,
    )


def params_of(settings: CommonSettings) -> tuple[tuple[str, str], ...]:
    """Return the parameters of the token request (RFC 6749 section 4.4.2, RFC 8707)."""
    params = [
        ("grant_type", "client_credentials"),
        ("scope", settings.scope_separator.join(settings.scope)),
        ("audience", settings.audience or ""),
    ]
    params += [("resource", resource) for resource in settings.resource]
    return (*params, *settings.extra_params.items())


def proxy_for(url: str, proxy: str | None, environ: Mapping[str, str]) -> str:
    """Return the proxy for a URL, empty for none: the configured one, or the environment's."""
    from urllib import request  # noqa: PLC0415  # loads http and ssl

    if proxy is not None:
        return proxy
    parts = urlsplit(url)
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    bypass = request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
    if bypass(parts.hostname or "", {"no": direct}):
        return ""
    names = (f"{parts.scheme}_proxy", "all_proxy")
    found = (environ.get(name) or environ.get(name.upper()) for name in names)
    return next(filter(None, found), "")


def _digest(settings: TokenSettings, folder: str) -> bytes:
    return hashlib.sha256(os.fsencode(folder) + b"\0" + msgspec.json.encode(settings)).digest()


def _maybe(duration: str | float | None) -> float | None:
    return None if duration is None else seconds(duration)


def _maybe_int(duration: str | float | None) -> int | None:
    return None if duration is None else int(seconds(duration))
