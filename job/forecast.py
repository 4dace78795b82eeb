"""What will happen with a token, worked out from its settings before anything is asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from job.config import Config, Preset, presets
from job.errors import SinkError
from job.schedule import Policy, broken_promise, due_at
from job.secret import Secret
from job.settings import FileSinkSettings, SecretsManagerSinkSettings, TokenSettings, seconds
from job.sinks import Sink
from job.tokens import Token
from job.wire import Wiring

DAY_S = 86_400
ASSUMED_LIFE_S = 3600
VERSIONS_PER_DAY = 100
"""AWS keeps 100 versions of a secret and removes none that is younger than a day."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will happen with one token; `life_s` is `known_from` somewhere."""

    token: str
    token_url: str
    auth_method: str
    life_s: int
    known_from: str
    refresh_after_s: int
    left_at_refresh_s: int
    min_validity_s: int
    exchanges_per_day: float
    sinks: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Give the lines that `check` prints."""
        return "\n".join([self.token, *(f"  {head:<16} {text}" for head, text in self._lines())])

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "token endpoint", f"{self.token_url} ({self.auth_method})"
        yield "life", f"{duration(self.life_s)}: {self.known_from}"
        yield "refresh", f"after {duration(self.refresh_after_s)} at the latest"
        yield "promise", self._promise()
        yield "exchanges a day", f"about {self.exchanges_per_day:g}"
        for sink in self.sinks:
            yield "sink", sink
        for warning in self.warnings:
            yield "warning", warning

    def _promise(self) -> str:
        spare = self.left_at_refresh_s - self.min_validity_s
        if spare < 0:
            left = max(self.left_at_refresh_s, 0)
            return f"can't be held: {duration(left)} of life are left at the refresh"
        return (
            f"a token that is read is valid for {duration(self.min_validity_s)} more, "
            f"through an outage of up to {duration(spare)}"
        )


def forecasts(config: Config, wiring: Wiring, *, read_all: bool) -> Iterator[Forecast]:
    """Yield the plan of each token; `read_all` reads remote sinks too, to know the real life."""
    known = presets()
    for name, settings in config.tokens.items():
        sinks = wiring.sinks(name, settings, config.folder)
        pairs = zip(sinks, settings.sinks, strict=True)
        readable = [s for s, kind in pairs if read_all or isinstance(kind, FileSinkSettings)]
        life, known_from = _life(settings, readable, known.get(settings.provider or ""))
        token = Token(Secret(""), "Bearer", "", 0, life, known_from)
        policy = wiring.policy(settings)
        due = due_at(token, policy, 0.0)
        per_day = DAY_S / max(due_at(token, policy, 1.0), 1.0)
        yield Forecast(
            name,
            settings.token_url or "",
            settings.auth_method,
            life,
            known_from,
            int(due),
            int(life - due),
            int(policy.min_validity),
            round(per_day, 1),
            tuple(sink.label for sink in sinks),
            tuple(_warnings(settings, token, policy, per_day)),
        )


def _life(settings: TokenSettings, sinks: Sequence[Sink], preset: Preset | None) -> tuple[int, str]:
    if settings.lifetime is not None:
        return int(seconds(settings.lifetime)), "lifetime in the configuration"
    for sink in sinks:
        try:
            record = sink.read()
        except SinkError:
            continue
        if record is not None:
            return record.token.life, f"the token in {sink.label}"
    if preset and preset.lifetime_hint:
        return int(seconds(preset.lifetime_hint)), f"what {preset.name} is known to give"
    return ASSUMED_LIFE_S, "an assumption: no token has been seen yet"


def _warnings(
    settings: TokenSettings, token: Token, policy: Policy, per_day: float
) -> Iterator[str]:
    if reason := broken_promise(token, policy):
        yield reason
    in_aws = any(isinstance(sink, SecretsManagerSinkSettings) for sink in settings.sinks)
    if in_aws and per_day > VERSIONS_PER_DAY:
        yield (
            f"{per_day:.0f} secret versions a day are more than the {VERSIONS_PER_DAY} that AWS "
            "Secrets Manager keeps (none is removed before it is a day old): writes will be "
            "refused some day. Use a file sink, or have the provider give tokens that live "
            f"{duration(_life_that_fits(policy))} or longer"
        )
    if settings.reissue == "revokes_previous" and len(settings.sinks) > 1:
        yield (
            "a new token kills the old one, and readers of the sink that is written last have "
            "the dead one for that long: one sink is safer"
        )


def _life_that_fits(policy: Policy) -> int:
    """Return the shortest life that makes at most a version for each 14.4 minutes."""
    share = policy.refresh_at - policy.jitter
    return int(DAY_S / VERSIONS_PER_DAY / share)


def duration(length_s: float) -> str:
    """Return a length for people, in its two largest units."""
    sign, rest = ("-", -int(length_s)) if length_s < 0 else ("", int(length_s))
    parts: list[str] = []
    for unit, size in (("d", DAY_S), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return sign + " ".join(parts[:2])
