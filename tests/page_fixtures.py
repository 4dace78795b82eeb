"""What the status page shows on a good day, on a bad night and with 500 tokens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fakes import START

from job.core.clock import Moment
from job.observe.http import Server, Site
from job.observe.page import StatusPage
from job.observe.status_board import Attempt, SinkView, TokenState, TokenView, Trouble

Views = Callable[[], list[TokenView]]


def plain_view(name: str = "tiki", state: TokenState = "current", **more: object) -> TokenView:
    """Make the view of a token with one sink; `more` replaces any field."""
    sink = SinkView(
        f"file:/run/{name}", state, START + 3600, held=True, failures=0, retry_at=None, trouble=None
    )
    plain = TokenView(
        name=name,
        provider="",
        state=state,
        obtained_at=START,
        ends_at=START + 3600,
        expires_at=START + 3600,
        refresh_at=START + 2412,
        promise_at=START + 3300,
        min_validity_s=300,
        fingerprint="9f2c1ab47e00",
        failures=0,
        trouble=None,
        sinks=(sink,),
        attempts=(),
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # any field


def good_view(name: str, now: int, age: int = 800, provider: str = "") -> TokenView:
    """Make a token of an hour that is good."""
    got = now - age
    label = f"file:/run/freshtoken/{name}.json"
    attempts = tuple(
        Attempt(got - 2400 * (11 - number), "ok", 90 + (number * 37 + age) % 160, 3600)
        for number in range(12)
    )
    return TokenView(
        name=name,
        provider=provider,
        state="current",
        obtained_at=got,
        ends_at=got + 3600,
        expires_at=got + 3600,
        refresh_at=got + 2412,
        promise_at=got + 3300,
        min_validity_s=300,
        fingerprint=f"{(age * 7919 + len(name)) % 2**48:012x}",
        failures=0,
        trouble=None,
        sinks=(sink_view(label, "current", got + 3600),),
        attempts=attempts,
    )


def sink_view(
    label: str,
    state: TokenState,
    expires_at: int | None,
    trouble: Trouble | None = None,
    **more: int,
) -> SinkView:
    """Make one sink; it is behind where it has a trouble."""
    failures, retry_at = more.get("failures", 0), more.get("retry_at")
    return SinkView(label, state, expires_at, trouble is None, failures, retry_at, trouble)


def good_day(now: int) -> list[TokenView]:
    """Make one token."""
    return [good_view("tiki", now, provider="tiki")]


def bad_night(now: int) -> list[TokenView]:
    """Make six tokens: a rotated secret, an endpoint that is down, a store that refuses."""
    rotated = Trouble(
        now - 40,
        "invalid_client",
        "the server does not accept this client id, secret or auth_method; check all three",
    )
    down = Trouble(
        now - 12,
        "connection_refused",
        "auth.partner.example refuses connections; check token_url, or whether the server runs",
    )
    denied = Trouble(
        now - 25,
        "access_denied",
        "not allowed; allow secretsmanager:PutSecretValue on it, and with a KMS key of your own "
        "kms:Decrypt and kms:GenerateDataKey",
    )
    tried = tuple(Attempt(now - 600 + 100 * n, "invalid_client", 60) for n in range(6))
    refused = tuple(Attempt(now - 200 + 40 * n, "connection_refused") for n in range(5))
    tiki = good_view("tiki", now, 3722, "tiki")
    partner = good_view("partner", now, 3410)
    billing = good_view("billing", now, 2500)
    new = good_view("warehouse", now)
    return [
        replace(
            tiki,
            state="expired",
            refresh_at=now + 260,
            failures=6,
            trouble=rotated,
            sinks=(
                sink_view("file:/run/freshtoken/tiki.json", "expired", now - 122),
                sink_view("aws-secrets-manager:prod/tiki/access-token", "expired", now - 122),
            ),
            attempts=tiki.attempts + tried,
        ),
        replace(
            new,
            state="missing",
            obtained_at=None,
            ends_at=None,
            expires_at=None,
            promise_at=None,
            refresh_at=now + 30,
            fingerprint=None,
            failures=5,
            trouble=down,
            sinks=(sink_view("file:/run/freshtoken/warehouse.json", "missing", None),),
            attempts=refused,
        ),
        replace(
            partner,
            state="at_risk",
            refresh_at=now + 8,
            failures=5,
            trouble=down,
            attempts=partner.attempts + refused,
            sinks=(sink_view("file:/run/freshtoken/partner.json", "at_risk", now + 190),),
        ),
        replace(
            billing,
            state="due",
            obtained_at=now - 60,
            ends_at=now + 3540,
            expires_at=now + 1100,
            refresh_at=now + 2352,
            sinks=(
                sink_view("file:/run/freshtoken/billing.json", "current", now + 3540),
                sink_view(
                    "aws-secrets-manager:prod/billing/access-token",
                    "due",
                    now + 1100,
                    denied,
                    failures=3,
                    retry_at=now + 35,
                ),
            ),
        ),
        good_view("shipping", now, 1200),
        good_view("search", now, 300),
    ]


def many(now: int) -> list[TokenView]:
    """Make 500 tokens: a bad night, and the rest is well."""
    return [
        *bad_night(now),
        *(good_view(f"tenant-{number:03}", now, 37 * number % 2300) for number in range(494)),
    ]


@contextmanager
def served(views: Views, clock: Callable[[], float]) -> Iterator[str]:
    """Serve the status page as `run` does, and give its URL."""
    site = Site(views, lambda _: (b"", "text/plain"), lambda: True, StatusPage(), _moment(clock))
    server = Server(site, "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}/"
    finally:
        server.stop()


def _moment(clock: Callable[[], float]) -> Callable[[], Moment]:
    return lambda: Moment(clock(), clock())
