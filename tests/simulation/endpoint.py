"""The token server: what it answers while nothing fails, and in each kind of fault."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from random import Random
from typing import Literal, NamedTuple, NoReturn

from requests import PreparedRequest

from job.core.errors import EndpointUnavailable, ResponseInvalid
from job.core.secret import Secret
from job.http.transport import HttpResponse
from simulation.audit import CLIENT_SECRET
from simulation.faults import Faults, Spell
from simulation.ledger import TOKEN_MARK, Ledger, Minted
from simulation.process import Process
from simulation.timeline import Timeline


class Lives(NamedTuple):
    """How long tokens live: usually, in a `short` spell, and where the answer does not say it."""

    usual: float
    short: float
    untold: float


Issuance = Literal["independent", "revoking", "caching"]

CLIENT_ID = "client"
TIMEOUT_S = 15.0
SLOW_LANE_S = 300.0
LOOK_S = 10.0
"""A new client secret is noticed within this time."""
LAST_CHANCE_S = 15.0
LEAST_CHANCE_S = 2.0
LONGEST_WISH_S = 3600.0
NO_CACHE_S = 2.0
"""A token that is about to expire is given no more."""
NO_HEADERS: Mapping[str, str] = {}
HTML = b"<!doctype html><html><h1>Sorry</h1><a href='/?access_token=x'>try again</a></html>"


class Endpoint:
    """What the server knows: its tokens, how it issues them and the client secret of the day."""

    def __init__(
        self,
        timeline: Timeline,
        faults: Faults,
        ledger: Ledger,
        rng: Random,
        issuance: Issuance,
        lives: Lives,
    ) -> None:
        self.timeline = timeline
        self.rng = rng
        self._faults = faults
        self._ledger = ledger
        self._issuance = issuance
        self._lives = lives
        self._latest: Minted | None = None
        self._rotations = [s for s in faults.of("endpoint") if s.kind == "rotated"]

    @property
    def spell(self) -> Spell | None:
        return self._faults.now("endpoint", self.timeline.now)

    def mint(self, asked_at: float, skew: float, *, is_told: bool = True) -> Minted:
        """Return a token, a new one or the old one again, as this server issues them."""
        now, spell = self.timeline.now, self.spell
        kind = spell.kind if spell else ""
        latest = self._latest
        caches = kind == "caching" or (self._issuance == "caching" and is_told)
        if caches and latest and now < min(latest.outdated_at, latest.expires_at - NO_CACHE_S):
            return latest
        life = self._life(kind, is_told=is_told)
        serial = len(self._ledger.by_value) + 1
        value = f"{TOKEN_MARK}{serial}.{self.rng.getrandbits(64):x}"
        minted = Minted(value, serial, asked_at, life, now + life, [skew])
        if kind == "boasting":
            minted.fails_at = now + life * self.rng.random()
        self._ledger.add(minted)
        if latest and self._issuance == "revoking":
            latest.killed_at, latest.killer = now, minted
        self._latest = minted
        return minted

    def _life(self, kind: str, *, is_told: bool) -> float:
        if not is_told:
            return self._lives.untold
        return self._lives.short if kind == "short" else self._lives.usual

    def accepts(self, authorization: str) -> bool:
        """Tell whether the request proves that it comes from the client."""
        pair = f"{CLIENT_ID}:{self._secret(s.begin for s in self._rotations)}"
        return authorization == f"Basic {b64encode(pair.encode()).decode()}"

    def resolve(self) -> Secret:
        """Return the client secret as the operator has stored it (job.core.secret.SecretSource)."""
        return Secret(self._secret(s.end for s in self._rotations))

    def _secret(self, changes: Iterable[float]) -> str:
        return f"{CLIENT_SECRET}-{sum(at <= self.timeline.now for at in changes)}"


class Wire:
    """The way from one process to the server, in place of job.http.transport.Transport."""

    def __init__(self, process: Process, endpoint: Endpoint, asks: Callable[[], None]) -> None:
        self._process = process
        self._endpoint = endpoint
        self._asks = asks

    def send(self, request: PreparedRequest) -> HttpResponse:
        """Carry one request to the server, and back what the method of the fault's name says."""
        process, rng = self._process, self._endpoint.rng
        self._asks()
        self._asked_at, self._skew = process.timeline.now, process.skew
        process.spend(rng.uniform(0.01, 0.2))
        spell = self._endpoint.spell
        answer: Callable[[], HttpResponse] = getattr(self, f"_{spell.kind}" if spell else "_token")
        self._credentials = request.headers["Authorization"]
        reply = answer() if self._endpoint.accepts(self._credentials) else self._rotated()
        process.spend(rng.uniform(0.01, 0.2))
        return reply

    # No fault, and faults that are nearly none

    def _token(self) -> HttpResponse:
        minted = self._mint()
        rest = int(minted.expires_at - self._process.timeline.now)
        return self._json(200, {"access_token": minted.value, "expires_in": rest})

    _boasting = _short = _caching = _token

    def _slow(self) -> HttpResponse:
        self._process.spend(self._endpoint.rng.uniform(2.0, TIMEOUT_S - 1.0), waits=True)
        return self._token()

    def _lying(self) -> HttpResponse:
        """Give a token whose expires_in is odd, or says nothing."""
        rng = self._endpoint.rng
        odd = rng.choice((None, "text", "absent", 10**20, "nan", "-5", 0, -1, 0.5))
        minted = self._mint(is_told=False)
        if odd in ("-5", 0, -1, 0.5):
            self._lose("odd")
        members: dict[str, object] = {"access_token": minted.value, "expires_in": odd}
        if odd == "absent":
            del members["expires_in"]
        return self._json(200, members)

    # Answers without a token

    def _overloaded(self) -> HttpResponse:
        rng, now = self._endpoint.rng, self._process.timeline.now
        wish_s = rng.choice((-60, 0, 5, 30, 120, 600, 3600, 86_400, 10**9))
        date = formatdate(now + wish_s, usegmt=True)
        text, wish_s = rng.choice(((str(wish_s), wish_s), (date, wish_s), ("soon", 0)))
        self._trouble("asked to wait", self._until_last_chance(min(wish_s, LONGEST_WISH_S)))
        return self._json(429, {"error": "slow_down"}, {"retry-after": text})

    def _storm(self) -> HttpResponse:
        self._trouble("500")
        rng = self._endpoint.rng
        body = rng.choice((HTML, b"", b'{"error":"server_error"}'))
        return self._reply(rng.choice((500, 502, 503, 504, 520)), body)

    def _html(self) -> HttpResponse:
        self._trouble("HTML")
        return self._reply(200, HTML)

    def _echoing(self) -> HttpResponse:
        """Refuse for a while, and repeat in the answer what nobody may log."""
        self._trouble("echo")
        said = f"I can't read {self._credentials} of {self._endpoint.resolve().reveal()}"
        return self._json(400, {"error": "temporarily_unavailable", "error_description": said})

    def _banned(self) -> HttpResponse:
        """Refuse the right client: only the server can end that."""
        return self._refuse(SLOW_LANE_S)

    def _rotated(self) -> HttpResponse:
        """Refuse the old secret until the operator has stored the new one."""
        spell = self._endpoint.spell
        ends_in = spell.end - self._process.timeline.now if spell else 0.0
        return self._refuse(min(SLOW_LANE_S, ends_in + LOOK_S))

    def _refuse(self, wait_s: float) -> HttpResponse:
        self._trouble("rejected", wait_s)
        self._process.audit.rejected(self._process.log)
        return self._json(401, {"error": "invalid_client"})

    def _truncated(self) -> HttpResponse:
        """Mint, and lose the end of the answer."""
        whole = self._token()
        self._lose("cut")
        if self._endpoint.rng.random() < 0.5:
            raise EndpointUnavailable("response_truncated", "cut in the middle")
        return whole._replace(body=whole.body[: self._endpoint.rng.randrange(len(whole.body))])

    # No answer at all

    def _down(self) -> NoReturn:
        self._trouble("down")
        raise EndpointUnavailable("connection_refused", "down")

    def _unreachable(self) -> NoReturn:
        self._process.spend(TIMEOUT_S, waits=True)
        self._trouble("timeout")
        raise EndpointUnavailable("timeout", "no answer")

    def _half_open(self) -> NoReturn:
        """Mint, and let the answer never arrive."""
        self._mint()
        self._lose("no answer")
        self._unreachable()

    def _oversized(self) -> NoReturn:
        self._trouble("oversized")
        raise ResponseInvalid("too_large", "over 1 MiB")

    def _mint(self, *, is_told: bool = True) -> Minted:
        minted = self._endpoint.mint(self._asked_at, self._skew, is_told=is_told)
        self._process.audit.given(self._process.log, minted, self._skew)
        return minted

    def _json(
        self, status: int, members: Mapping[str, object], headers: Mapping[str, str] = NO_HEADERS
    ) -> HttpResponse:
        return self._reply(status, json.dumps(members).encode(), headers)

    def _reply(
        self, status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> HttpResponse:
        now = formatdate(self._process.timeline.now, usegmt=True)
        return HttpResponse(status, {"date": now, **headers}, body)

    def _until_last_chance(self, wish_s: float) -> float:
        """However long the server's wish is, one attempt is left before the token expires.

        A clock that was set forward since it got that token calls it expired already.
        """
        has, now = self._process.log.has, self._process.timeline.now
        if has is None:
            return wish_s
        log, skew = self._process.log, self._process.skew
        misjudged_s = log.misjudges_by - max(0.0, skew - log.had_by_clock)
        chance = has.asked_at + has.life + misjudged_s - LAST_CHANCE_S - now
        return min(wish_s, chance) if chance > LEAST_CHANCE_S else wish_s

    def _lose(self, what: str) -> None:
        """Let a token that was minted be lost on its way."""
        self._process.log.has_lost = True
        self._trouble(what)

    def _trouble(self, what: str, wait_s: float = 0.0) -> None:
        """Excuse the process for now, and for as long as it was asked to wait."""
        process = self._process
        process.audit.note("endpoint", what)
        process.audit.excuse(process.log, process.timeline.now + max(wait_s, 0.0))
