"""What the status page shows on a good day, on a bad night and with 500 tokens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fakes import START

from job.core.clock import Moment
from job.observe.http import Server, Site
from job.observe.page import StatusPage
from job.observe.status import Attempt, RefresherStatus, SinkStatus, TokenState, Trouble

Statuses = Callable[[], list[RefresherStatus]]


def plain_status(
    name: str = "tiki",
    state: TokenState = "current",
    expires_at: int | None = START + 3600,
    **more: object,
) -> RefresherStatus:
    """Make the status of a token with one sink; `more` replaces any field."""
    plain = RefresherStatus(
        name=name,
        provider="",
        event="token.delivered",
        obtained_at=START,
        ends_at=START + 3600,
        refresh_at=START + 2412,
        promise_at=START + 3300,
        min_validity_s=300,
        fingerprint="9f2c1ab47e00",
        failures=0,
        trouble=None,
        sinks=(SinkStatus(f"file:/run/{name}", state, expires_at, held=True),),
        attempts=(),
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # any field


def good_status(name: str, now: int, age: int = 800, provider: str = "") -> RefresherStatus:
    """Make a token of an hour that is good."""
    got = now - age
    label = f"file:/run/freshtoken/{name}.json"
    attempts = tuple(
        Attempt(got - 2400 * (11 - number), "ok", 90 + (number * 37 + age) % 160, 3600)
        for number in range(12)
    )
    return RefresherStatus(
        name=name,
        provider=provider,
        event="token.delivered",
        obtained_at=got,
        ends_at=got + 3600,
        refresh_at=got + 2412,
        promise_at=got + 3300,
        min_validity_s=300,
        fingerprint=f"{(age * 7919 + len(name)) % 2**48:012x}",
        failures=0,
        trouble=None,
        sinks=(sink_status(label, "current", got + 3600),),
        attempts=attempts,
    )


def sink_status(
    label: str,
    state: TokenState,
    expires_at: int | None,
    trouble: Trouble | None = None,
    **more: int,
) -> SinkStatus:
    """Make one sink; it is behind where it has a trouble."""
    failures, retry_at = more.get("failures", 0), more.get("retry_at")
    return SinkStatus(
        label,
        state,
        expires_at,
        held=trouble is None,
        failures=failures,
        retry_at=retry_at,
        trouble=trouble,
    )


def good_day(now: int) -> list[RefresherStatus]:
    """Make one token."""
    return [good_status("tiki", now, provider="tiki")]


def bad_night(now: int) -> list[RefresherStatus]:
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
    tiki = good_status("tiki", now, 3722, "tiki")
    partner = good_status("partner", now, 3410)
    billing = good_status("billing", now, 2500)
    new = good_status("warehouse", now)
    return [
        replace(
            tiki,
            refresh_at=now + 260,
            failures=6,
            trouble=rotated,
            sinks=(
                sink_status("file:/run/freshtoken/tiki.json", "expired", now - 122),
                sink_status("aws-secrets-manager:prod/tiki/access-token", "expired", now - 122),
            ),
            attempts=tiki.attempts + tried,
        ),
        replace(
            new,
            obtained_at=None,
            ends_at=None,
            promise_at=None,
            refresh_at=now + 30,
            fingerprint=None,
            failures=5,
            trouble=down,
            sinks=(sink_status("file:/run/freshtoken/warehouse.json", "missing", None),),
            attempts=refused,
        ),
        replace(
            partner,
            refresh_at=now + 8,
            failures=5,
            trouble=down,
            attempts=partner.attempts + refused,
            sinks=(sink_status("file:/run/freshtoken/partner.json", "at_risk", now + 190),),
        ),
        replace(
            billing,
            obtained_at=now - 60,
            ends_at=now + 3540,
            refresh_at=now + 2352,
            sinks=(
                sink_status("file:/run/freshtoken/billing.json", "current", now + 3540),
                sink_status(
                    "aws-secrets-manager:prod/billing/access-token",
                    "due",
                    now + 1100,
                    denied,
                    failures=3,
                    retry_at=now + 35,
                ),
            ),
        ),
        good_status("shipping", now, 1200),
        good_status("search", now, 300),
    ]


def many(now: int) -> list[RefresherStatus]:
    """Make 500 tokens: a bad night, and the rest is well."""
    return [
        *bad_night(now),
        *(good_status(f"tenant-{number:03}", now, 37 * number % 2300) for number in range(494)),
    ]


@contextmanager
def served(statuses: Statuses, clock: Callable[[], float]) -> Iterator[str]:
    """Serve the status page as `run` does, and give its URL."""
    site = Site(statuses, lambda _: (b"", "text/plain"), lambda: True, StatusPage(), _moment(clock))
    server = Server(site, "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}/"
    finally:
        server.stop()


def _moment(clock: Callable[[], float]) -> Callable[[], Moment]:
    return lambda: Moment(clock(), clock())
