"""How many in which time."""

from dataclasses import dataclass

from job.core.text import DAY_S, duration


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in any period of so many seconds."""

    count: int
    period_s: float

    @property
    def per_day(self) -> float:
        """Return how many that are in a day."""
        return self.count * DAY_S / self.period_s

    def __str__(self) -> str:
        """Write it as the configuration has it."""
        return f"{self.count}/{duration(self.period_s)}"
