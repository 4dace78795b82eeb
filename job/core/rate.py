"""Rates: a count for each period."""

from job.core.text import DAY_S, duration


class Rate:
    """`count` in any `period_s` seconds; `text` is how the configuration writes it."""

    __slots__ = ("count", "period_s", "text")

    def __init__(self, count: int, period_s: float, text: str = "") -> None:
        """Keep the values, which must not be changed."""
        self.count = count
        self.period_s = period_s
        self.text = text

    @property
    def per_day(self) -> float:
        """Return the count for a day."""
        return self.count * DAY_S / self.period_s

    @property
    def _key(self) -> tuple[int, float]:
        return self.count, self.period_s

    def __eq__(self, other: object) -> bool:
        """Compare by value, whatever the text."""
        return isinstance(other, Rate) and self._key == other._key

    def __hash__(self) -> int:
        """Hash the value."""
        return hash(self._key)

    def __str__(self) -> str:
        """Return it in the usual units."""
        return f"{self.count}/{duration(self.period_s)}"
