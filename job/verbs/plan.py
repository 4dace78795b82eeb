"""What will happen with a token, worked out from its settings before anything is asked."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from job.compose.dry_run import dry_run
from job.compose.limiters import client_of
from job.compose.refreshers import sinks_of
from job.compose.tools import Tools
from job.config import Config
from job.config.presets import Preset, presets
from job.config.request_checks import secret_in_url
from job.config.settings import CommonSettings, TokenSettings
from job.core.errors import SinkError
from job.core.ports import Sink
from job.core.rate import Rate
from job.core.schedule import Policy, broken_promise, due_at
from job.core.secret import Secret
from job.core.text import DAY_S, duration, entry
from job.core.tokens import Token
from job.limits.budget_file import BudgetFile
from job.values import Duration

ASSUMED_LIFE_S = 3600
PLACES = {"form": "in a form", "json": "in a JSON object", "query": "in the URL"}


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What will happen with one token; `life_s` is `known_from` somewhere.

    The refresh comes at a random moment between `earliest_s` and `latest_s` after the exchange.
    `unusual` is what differs from RFC 6749's request and answer, and the budget of the client.
    """

    token: str
    token_url: str
    auth_method: str
    life_s: int
    known_from: str
    earliest_s: int
    latest_s: int
    min_validity_s: int
    sinks: tuple[str, ...]
    secrets: int
    warnings: tuple[str, ...]
    unusual: tuple[tuple[str, str], ...] = ()

    @property
    def per_day(self) -> float:
        """Return the exchanges a day at most, and so the versions of a secret."""
        return DAY_S / max(self.earliest_s, 1)

    def __str__(self) -> str:
        """Give the lines that `check` prints."""
        return "\n".join([self.token, *(entry(head, text) for head, text in self._lines())])

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "token endpoint", f"{self.token_url.partition('?')[0]} ({self.auth_method})"
        yield from self.unusual
        yield "token life", f"{duration(self.life_s)} ({self.known_from})"
        yield "refresh", self._refresh()
        yield "promise", self._promise()
        yield "exchanges", f"{_count(self.per_day)} a day at most"
        if self.secrets:
            yield "secret versions", f"{_count(self.per_day)} a day at most, in each secret"
        for sink in self.sinks:
            yield "sink", sink
        for warning in self.warnings:
            yield "WARNING", warning

    def _refresh(self) -> str:
        bounds = dict.fromkeys((duration(self.earliest_s), duration(self.latest_s)))
        return f"{' to '.join(bounds)} after each exchange"

    def _promise(self) -> str:
        left = self.life_s - self.latest_s
        if left < self.min_validity_s:
            return f"can't be held: {duration(max(left, 0))} of life are left at the refresh"
        text = f"a token that is read works for {duration(self.min_validity_s)} more"
        spare = left - self.min_validity_s
        return f"{text}, even through an outage of {duration(spare)}" if spare else text


def token_plans(config: Config, tools: Tools, *, online: bool) -> Iterator[TokenPlan]:
    """Yield the plan of each token; `online` reads remote sinks too, to know the real life."""
    known = presets()
    plans = [_plan(*token, tools, known, online=online) for token in config.tokens.items()]
    tools.limiters.place(config.tokens.values())
    needed: Counter[str] = Counter()
    for plan, settings in zip(plans, config.tokens.values(), strict=True):
        needed[client_of(settings)] += round(plan.per_day)
    for plan, settings in zip(plans, config.tokens.values(), strict=True):
        file = tools.limiters.file(settings)
        yield _within_budget(plan, settings.max_exchanges, needed[client_of(settings)], file)


def _plan(
    name: str, settings: TokenSettings, tools: Tools, known: Mapping[str, Preset], *, online: bool
) -> TokenPlan:
    sinks, policy = sinks_of(name, settings, tools), tools.policy(settings)
    pairs = zip(sinks, settings.sinks, strict=True)
    readable = [sink for sink, kind in pairs if online or kind.local_path]
    life, known_from = _life(settings, readable, known.get(settings.provider or ""))
    token = Token(Secret(""), "Bearer", "", 0, life, known_from)
    secret_warnings = dry_run(settings, tools).warnings(run=not online)
    return TokenPlan(
        name,
        settings.token_url or f"as named by {settings.issuer}",
        "the best that it takes" if settings.discover_auth_method else settings.auth_method,
        life,
        known_from,
        round(due_at(token, policy, 1.0)),
        round(due_at(token, policy, 0.0)),
        round(policy.min_validity),
        tuple(sink.label for sink in sinks),
        sum(kind.max_versions_per_day is not None for kind in settings.sinks),
        (*secret_warnings, *_warnings(settings, token, policy)),
        tuple(_unusual(settings)),
    )


def _within_budget(
    plan: TokenPlan, budget: Rate | None, needed: float, file: BudgetFile | None
) -> TokenPlan:
    """Add to a plan what its client may do a day, and whether that is enough for all its tokens."""
    if budget is None:
        return plan
    kept = f"kept in {file.path}" if file else "counted anew by each process: no file sink keeps it"
    text = f"{budget}, which is {_count(budget.per_day)} a day for this client; {kept}"
    warnings = plan.warnings
    if needed > budget.per_day:
        short = (
            f"the tokens of this client need up to {_count(needed)} exchanges a day, and "
            f"max_exchanges allows {_count(budget.per_day)}: some will be put off, and may expire. "
            "Set a later refresh_at, ask for fewer tokens, or get a larger quota"
        )
        warnings += (short,)
    return replace(plan, unusual=(*plan.unusual, ("budget", text)), warnings=warnings)


def _life(settings: TokenSettings, sinks: Sequence[Sink], preset: Preset | None) -> tuple[int, str]:
    if settings.lifetime is not None:
        return int(settings.lifetime), "lifetime in the configuration"
    for sink in sinks:
        try:
            record = sink.read()
        except SinkError:
            continue
        if record is not None:
            return max(record.token.lifetime, 1), "as the stored token"
    if preset and preset.lifetime_hint:
        return int(Duration(preset.lifetime_hint)), f"what {preset.name} is known to give"
    return ASSUMED_LIFE_S, "an assumption: no token has been seen yet"


def _unusual(settings: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield how this provider's request and answer differ from those of the RFC."""
    usual = CommonSettings()
    asked = (settings.http_method, settings.request_format, settings.grant_type)
    if asked != (usual.http_method, usual.request_format, usual.grant_type):
        grant = settings.grant_type or "not sent"
        yield "request", f"{asked[0]}, parameters {PLACES[asked[1]]}, grant_type {grant}"
    read = {name: getattr(settings, name) for name in ("token_path", "expiry_path", "expiry_unit")}
    read["token_type"] = settings.token_type
    odd = [f"{name} {value}" for name, value in read.items() if value != getattr(usual, name)]
    if odd:
        yield "answer", ", ".join(odd)
    if settings.introspection_url:
        url = settings.introspection_url.partition("?")[0]
        yield "introspection", f"{url}, when an answer doesn't say how long the token lives"


def _warnings(settings: TokenSettings, token: Token, policy: Policy) -> Iterator[str]:
    if exposed := secret_in_url(settings):
        yield (
            f"{exposed} stands in the URL of the request, which servers and proxies on the way may "
            'log (freshtoken never does). If the provider takes a form, set request_format = "form"'
        )
    if reason := broken_promise(token, policy):
        yield reason
    interval = due_at(token, policy, 1.0)
    limits = {one.max_versions_per_day: one.title for one in settings.sinks}
    limit = min(filter(None, limits), default=None)
    if limit and interval < DAY_S / limit:
        yield (
            f"{_count(DAY_S / max(interval, 1))} secret versions a day are more than the {limit} "
            f"that {limits[limit]} keeps (it removes none that is younger than a day): writes "
            f"will be refused some day. Use a file, or {_cure(policy, DAY_S / limit)}"
        )
    if settings.reissue == "revokes_previous" and len(settings.sinks) > 1:
        yield (
            "a new token kills the old one, and until the last sink is written its readers have "
            "the dead one: one sink is safer"
        )


def _cure(policy: Policy, interval_s: float) -> str:
    least_age = math.ceil(interval_s / (1 - _pull(policy)))
    if policy.max_age is not None and policy.max_age < least_age:
        return f"set max_age to {duration(least_age)} or longer"
    life = life_that_fits(policy, interval_s)
    return f"have the provider give tokens that live {duration(life)} or longer"


def life_that_fits(policy: Policy, interval_s: float) -> int:
    """Return the life in whole minutes from which on no refresh comes sooner than that."""
    margins = policy.min_validity + policy.retry_budget
    by_margins = (interval_s + margins) / (1 - _pull(policy))
    share = policy.refresh_at - policy.jitter
    by_share = interval_s / share if policy.reissue == "independent" else by_margins
    # No refresh comes before half of the life.
    needed = min(2 * interval_s, max(by_share, by_margins))
    return 60 * math.ceil(needed / 60)


def _pull(policy: Policy) -> float:
    """Return by which share of a life jitter can bring its refresh forward."""
    return 0.0 if policy.reissue == "revokes_previous" else policy.jitter


def _count(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"  # noqa: PLR2004  # two digits
