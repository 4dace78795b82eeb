"""How many in which time."""

from job.core.text import DAY_S, duration


class Rate:
    """So many in any period of so many seconds; `text` is how the configuration has it."""

    __slots__ = ("count", "period_s", "text")

    def __init__(self, count: int, period_s: float, text: str = "") -> None:
        """Hold what must not be changed."""
        self.count = count
        self.period_s = period_s
        self.text = text

    @property
    def per_day(self) -> float:
        """Return how many that are in a day."""
        return self.count * DAY_S / self.period_s

    @property
    def _key(self) -> tuple[int, float]:
        return self.count, self.period_s

    def __eq__(self, other: object) -> bool:
        """Compare by value, however it is written."""
        return isinstance(other, Rate) and self._key == other._key

    def __hash__(self) -> int:
        """Hash the value."""
        return hash(self._key)

    def __str__(self) -> str:
        """Write it in the usual units."""
        return f"{self.count}/{duration(self.period_s)}"
