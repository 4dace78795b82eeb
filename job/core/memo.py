"""What a new refresher of a token should know of the one before it. Pure.

The stores hold the token itself; a memo holds what they can't tell, and never a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from job.core.state import Alarm, State


@dataclass(frozen=True, slots=True)
class Memo:
    """The failures since the last success, also by sink label, and what has been reported."""

    failures: int = 0
    alarm: Alarm = Alarm.NONE
    unholdable: bool = False
    sink_failures: Mapping[str, int] = field(default_factory=dict)


def memo_of(state: State, labels: Sequence[str]) -> Memo | None:
    """Return what to remember of a token, or None; `labels` are those of its sinks, in order."""
    named = zip(labels, state.deliveries, strict=True)
    failing = {label: delivery.failures for label, delivery in named if delivery.failures}
    memo = Memo(state.failures, state.alarm, state.unholdable, failing)
    return None if memo == Memo() else memo


def recalled(state: State, labels: Sequence[str], memo: Memo) -> State:
    """Return a new state with what a memo remembers.

    Failures go on counting, and nothing is reported twice. Waits end, for with a reload the
    operator says that the cause may be gone.
    """
    deliveries = tuple(
        replace(delivery, failures=memo.sink_failures.get(label, 0))
        for label, delivery in zip(labels, state.deliveries, strict=True)
    )
    return replace(
        state,
        failures=memo.failures,
        alarm=memo.alarm,
        unholdable=memo.unholdable,
        deliveries=deliveries,
    )
