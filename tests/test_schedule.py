"""When a token is replaced and when a failure is tried again: tables of edges, and properties."""

import itertools
import math
from typing import Any

import pytest
from fakes import START, record, token
from hypothesis import given, settings
from hypothesis import strategies as st

from job.core.schedule import (
    BACKOFF_CAP_AT_RISK_S,
    BACKOFF_CAP_S,
    Plan,
    Policy,
    backoff,
    broken_promise,
    due_at,
    risk_at,
)
from job.core.tokens import Token

TEN_YEARS_S = 315_360_000

TOO_SHORT = (
    "a token that lives {life} s is refreshed after {after} s, when {left} s are left; "
    "min_validity asks for 300 s. Set min_validity to {left}s or less, or have the provider give "
    "longer tokens"
)
TOO_LATE = (
    "this provider gives a new token only after the old one has expired: readers are without a "
    "valid token for about {gap} s and one exchange"
)

many = settings(database=None, deadline=None, max_examples=50)

draws = st.floats(0, 1, exclude_max=True)
lengths = st.one_of(st.integers(0, 7200).map(float), st.integers(0, 10**8).map(lambda n: n / 8))
lives = st.one_of(st.integers(1, 120), st.integers(1, 86_400), st.integers(1, TEN_YEARS_S))


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    """Make any token that an exchange can give."""
    return token(
        requested_at=draw(st.integers(0, 2**33)),
        life=draw(lives),
        refresh_in=draw(st.none() | st.integers(1, TEN_YEARS_S)),
    )


@st.composite
def policies(draw: st.DrawFn, /, **fixed: object) -> Policy:
    """Make any policy that a configuration can have; `fixed` replaces any field."""
    refresh_at = draw(st.floats(0.001, 0.999))
    fields: dict[str, Any] = {
        "refresh_at": refresh_at,
        "jitter": draw(st.floats(0, min(refresh_at, 0.5), exclude_max=True)),
        "min_validity": draw(lengths),
        "retry_budget": draw(lengths),
        "min_interval": draw(lengths),
        "max_age": draw(st.none() | lengths),
        "reissue": draw(st.sampled_from(("independent", "revokes_previous", "same_until_expiry"))),
        "fresh_window": draw(st.none() | lengths),
    }
    return Policy(**fields | fixed)


class TestDueAt:
    """`due_at`: the six rules, one by one, at their edges."""

    @pytest.mark.parametrize(
        ("life", "policy", "jitter", "after"),
        [
            pytest.param(3600, Policy(), 0.0, 2412, id="1: refresh_at of the life"),
            pytest.param(3600, Policy(), 0.5, 2322, id="1: half the jitter earlier"),
            pytest.param(3600, Policy(), 1.0, 2232, id="1: the whole jitter earlier"),
            pytest.param(3600, Policy(jitter=0.0), 1.0, 2412, id="1: no jitter, none earlier"),
            pytest.param(
                3600, Policy(reissue="revokes_previous"), 1.0, 3240, id="1: revoked: at the limit"
            ),
            pytest.param(
                3600, Policy(min_validity=1128), 0.0, 2412, id="2: the limit is there too"
            ),
            pytest.param(3600, Policy(min_validity=1129), 0.0, 2411, id="2: a second before it"),
            pytest.param(3600, Policy(retry_budget=889), 0.0, 2411, id="2: the retry budget too"),
            pytest.param(
                3600,
                Policy(refresh_at=0.999, min_validity=0, retry_budget=0),
                0.0,
                3596.4,
                id="2: no margins",
            ),
            pytest.param(
                20,
                Policy(jitter=0, min_validity=3, retry_budget=1),
                0.0,
                13.4,
                id="2: small margins of a short life",
            ),
            pytest.param(3600, Policy(min_validity=1740), 0.0, 1800, id="3: the limit is at half"),
            pytest.param(3600, Policy(min_validity=1741), 0.0, 1800, id="3: the limit before half"),
            pytest.param(3600, Policy(min_validity=9e9), 0.0, 1800, id="3: margins over the life"),
            pytest.param(
                3600, Policy(refresh_at=0.51, jitter=0.5), 1.0, 1800, id="3: jitter before half"
            ),
            pytest.param(
                600, Policy(reissue="revokes_previous"), 0.0, 300, id="3: revoked, and short"
            ),
            pytest.param(1, Policy(), 0.0, 0.5, id="3: the shortest life"),
            pytest.param(3600, Policy(fresh_window=1189), 0.0, 2412, id="4: the window is open"),
            pytest.param(3600, Policy(fresh_window=1188), 0.0, 2413, id="4: it opens after it"),
            pytest.param(3600, Policy(fresh_window=0.5), 0.0, 3600.5, id="4: it opens too late"),
            pytest.param(3600, Policy(max_age=2412), 0.0, 2412, id="5: max_age at the target"),
            pytest.param(3600, Policy(max_age=2411), 0.0, 2411, id="5: max_age before it"),
            pytest.param(3600, Policy(max_age=60), 0.0, 60, id="5: max_age before half"),
            pytest.param(
                3600, Policy(max_age=600, fresh_window=300), 0.0, 600, id="5: before the window"
            ),
            pytest.param(3600, Policy(max_age=30), 0.0, 30, id="6: max_age at min_interval"),
            pytest.param(3600, Policy(max_age=29), 0.0, 30, id="6: max_age within it"),
            pytest.param(40, Policy(max_age=1), 0.0, 20, id="6: min_interval beyond half a life"),
            pytest.param(
                3600, Policy(min_interval=9e9, max_age=1), 0.0, 1800, id="6: at most half a life"
            ),
            pytest.param(3600, Policy(min_interval=0, max_age=1), 0.0, 1, id="6: no min_interval"),
            pytest.param(
                3600,
                Policy(reissue="same_until_expiry", max_age=60, fresh_window=600),
                1.0,
                3601,
                id="same_until_expiry: just after expiry, whatever else is asked",
            ),
        ],
    )
    def test_rules(self, life: int, policy: Policy, jitter: float, after: float) -> None:
        """Each rule moves the moment by exactly what it says, and not a second before its edge."""
        assert due_at(token(life=life), policy, jitter) - START == pytest.approx(after, abs=1e-6)

    @pytest.mark.parametrize(
        ("refresh_in", "max_age", "after"),
        [
            pytest.param(2413, None, 2412, id="a later hint changes nothing"),
            pytest.param(600, None, 600, id="an earlier hint is taken"),
            pytest.param(600, 900.0, 600, id="the earlier of hint and max_age: the hint"),
            pytest.param(900, 600.0, 600, id="the earlier of hint and max_age: max_age"),
            pytest.param(1, None, 30, id="min_interval bounds the hint"),
        ],
    )
    def test_hints(self, refresh_in: int, max_age: float | None, after: float) -> None:
        """Rule 5: the server's `refresh_in` only moves the moment earlier, as `max_age` does."""
        due = due_at(token(refresh_in=refresh_in), Policy(max_age=max_age), 0.0)
        assert due - START == pytest.approx(after, abs=1e-6)

    @many
    @given(tokens(), policies(), draws)
    def test_there_is_always_a_next_moment(
        self, some: Token, policy: Policy, jitter: float
    ) -> None:
        """Whatever the token and the wishes, the next moment is a number, and soon after expiry."""
        due = due_at(some, policy, jitter)
        assert math.isfinite(due)
        assert some.requested_at <= due <= some.expires_at + 1

    @many
    @given(tokens(), policies(), draws, draws)
    def test_jitter_is_only_earlier(
        self, some: Token, policy: Policy, one: float, other: float
    ) -> None:
        """A larger draw never comes later, nor by more than it was allowed to."""
        early, late = due_at(some, policy, max(one, other)), due_at(some, policy, min(one, other))
        assert early <= late <= due_at(some, policy, 0.0)
        assert due_at(some, policy, 0.0) - early <= policy.jitter * some.lifetime + 1e-5

    @many
    @given(tokens(), policies(max_age=None), draws)
    def test_never_before_half_of_the_life(
        self, some: Token, policy: Policy, jitter: float
    ) -> None:
        """Margins beyond the life never bring it forward: only `refresh_in` and `max_age` may."""
        hinted = some.refresh_in is not None and some.refresh_in < some.lifetime / 2
        due = due_at(some, policy, jitter)
        assert hinted or due >= some.requested_at + some.lifetime / 2

    @many
    @given(tokens(), policies(), draws)
    def test_two_exchanges_keep_their_distance(
        self, some: Token, policy: Policy, jitter: float
    ) -> None:
        """No wish of server or operator brings two exchanges within `min_interval`."""
        distance = min(policy.min_interval, some.lifetime / 2)
        assert due_at(some, policy, jitter) >= some.requested_at + distance

    @many
    @given(tokens(), policies(fresh_window=None), draws)
    @pytest.mark.slow
    def test_before_expiry(self, some: Token, policy: Policy, jitter: float) -> None:
        """Unless the provider gives no new token so early, a token is replaced in its life."""
        due = due_at(some, policy, jitter)
        assert due < some.expires_at or policy.reissue == "same_until_expiry"

    @many
    @given(lives, policies(max_age=None, reissue="independent", fresh_window=None), draws)
    def test_the_promise_is_held_whenever_it_can_be(
        self, life: int, policy: Policy, jitter: float
    ) -> None:
        """Where half a life covers the margins, they are kept whole."""
        if policy.min_validity + policy.retry_budget <= life / 2:
            left = START + life - due_at(token(life=life), policy, jitter)
            assert left >= policy.min_validity + policy.retry_budget - 1e-5
            assert broken_promise(token(life=life), policy) is None


class TestPromise:
    """`broken_promise` and `risk_at`: what people are told, and when."""

    @pytest.mark.parametrize(
        ("life", "policy", "reason"),
        [
            (3600, Policy(), None),
            (600, Policy(), None),
            (1, Policy(min_validity=0), None),
            (599, Policy(), TOO_SHORT.format(life=599, after=300, left=299)),
            (10, Policy(), TOO_SHORT.format(life=10, after=5, left=5)),
            (3600, Policy(fresh_window=200), TOO_SHORT.format(life=3600, after=3401, left=199)),
            (3600, Policy(reissue="same_until_expiry"), TOO_LATE.format(gap=1)),
            (3600, Policy(fresh_window=1), TOO_LATE.format(gap=0)),
        ],
    )
    def test_arithmetic(self, life: int, policy: Policy, reason: str | None) -> None:
        """A promise that can't be held is told with its arithmetic and a cure that works."""
        assert broken_promise(token(life=life), policy) == reason

    @many
    @given(lives, policies(max_age=None))
    def test_the_cure_works(self, life: int, policy: Policy) -> None:
        """The `min_validity` that the message proposes can be promised."""
        reason = broken_promise(token(life=life), policy)
        if reason and "Set min_validity to" in reason:
            proposed = reason.split("Set min_validity to ")[1].split("s ")[0]
            fields = {name: getattr(policy, name) for name in Policy.__slots__}
            cured = Policy(**fields | {"min_validity": float(proposed)})
            assert broken_promise(token(life=life), cured) is None

    @pytest.mark.parametrize(
        ("life", "policy", "after"),
        [
            pytest.param(3600, Policy(), 3300, id="min_validity before expiry"),
            pytest.param(600, Policy(), 300, id="a promise that is just held"),
            pytest.param(10, Policy(), 7.5, id="unholdable: half way from due to expiry"),
            pytest.param(3600, Policy(reissue="same_until_expiry"), 3600, id="at expiry"),
            pytest.param(3600, Policy(fresh_window=0.5), 3600, id="window after expiry"),
        ],
    )
    def test_risk(self, life: int, policy: Policy, after: float) -> None:
        """Readers are at risk from when the promise is broken, or the replacement is late."""
        assert risk_at(token(life=life), policy) == START + after

    @many
    @given(tokens(), policies())
    def test_risk_lies_between_due_and_expiry(self, some: Token, policy: Policy) -> None:
        """Nobody is alarmed while all goes as planned, and everybody is before expiry."""
        due = due_at(some, policy, 0.0)
        assert min(due, some.expires_at) <= risk_at(some, policy) <= some.expires_at


class TestBackoff:
    """`backoff`: full jitter, doubling, bounded."""

    @pytest.mark.parametrize(
        ("failures", "cap", "draw", "wait"),
        [
            (1, 60, 0.0, 1.0),
            (1, 60, 0.999, 1.0),
            (2, 60, 0.25, 1.0),
            (2, 60, 0.75, 1.5),
            (3, 60, 0.5, 2.0),
            (6, 60, 0.5, 16.0),
            (7, 60, 0.5, 30.0),
            (4, 15, 0.5, 4.0),
            (5, 15, 0.5, 7.5),
            (10**9, 60, 0.5, 30.0),
            (0, 60, 0.999, 1.0),
        ],
    )
    def test_doubling(self, failures: int, cap: float, draw: float, wait: float) -> None:
        """The wait is drawn from up to 1, 2, 4 ... `cap` seconds, however many failures."""
        assert backoff(failures, cap, draw) == wait

    @many
    @given(
        st.integers(1, 10**9),
        st.sampled_from((BACKOFF_CAP_S, BACKOFF_CAP_AT_RISK_S)),
        draws,
        draws,
    )
    def test_bounds(self, failures: int, cap: float, draw: float, more: float) -> None:
        """No wait is under a second or over the cap, and more failures never shorten it."""
        wait = backoff(failures, cap, draw)
        assert 1 <= wait <= cap
        assert wait <= backoff(failures + 1, cap, draw)
        assert backoff(failures, cap, min(draw, more)) <= backoff(failures, cap, max(draw, more))


class TestPlan:
    """`Plan`: the chance that goes with a token."""

    @many
    @given(st.text(), st.text(min_size=1), st.integers(0, 10**6))
    def test_draws_are_draws(self, seed: str, value: str, failures: int) -> None:
        """Every draw is in [0, 1), whatever is hashed."""
        plan = Plan(Policy(), seed)
        assert 0 <= plan.draw(failures) < 1
        assert 0 <= plan.jitter(record(value)) < 1

    def test_a_token_keeps_its_draw(self) -> None:
        """A restart draws the same jitter for the same token, whatever else the record says."""
        assert Plan(Policy(), "host").jitter(record("tok-1")) == Plan(Policy(), "host").jitter(
            record("tok-1", requested_at=START + 5, life=60, key="other")
        )

    def test_replicas_spread(self) -> None:
        """Hosts draw apart for one token, and a host's tokens and retries draw apart too."""
        by_host = [Plan(Policy(), f"host-{n}").jitter(record()) for n in range(1000)]
        plan = Plan(Policy(), "host")
        by_token = [plan.jitter(record(f"tok-{n}")) for n in range(1000)]
        by_failure = [plan.draw(n) for n in range(1000)]
        for drawn in (by_host, by_token, by_failure):
            ordered = sorted(drawn)
            assert len(set(drawn)) == len(drawn)
            assert max(b - a for a, b in itertools.pairwise([0.0, *ordered, 1.0])) < 0.015
