"""What states are called, and the one sentence about all tokens: on the page and in the terminal.

Pure. Marks and words say the same as colours do, for those who see none.
"""

from collections.abc import Collection, Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "expired": ("✖", "expired"),
    "missing": ("✖", "missing"),
    "unreadable": ("✖", "unreadable"),
    "at_risk": ("▲", "at risk"),
    "unknown": ("○", "not looked at yet"),
    "due": ("◐", "refresh is due"),
    "current": ("●", "good"),
}
"""The mark and the word of each state, the worst first."""
NEEDS_PEOPLE = frozenset({"expired", "missing", "unreadable", "at_risk"})


def badness(state: str) -> int:
    """Return the place of a state in the order that a person on call wants: 0 is the worst."""
    return list(WORDS).index(state)


def verdict(states: Collection[str], good_for: str, but: str = "") -> tuple[str, str]:
    """Return the sentence that answers whoever is on call, and the state whose mark it bears.

    `states` has one for each token, `good_for` is the shortest time left of any of them, `but` is
    what spoils it if no token needs a person.
    """
    bad = [state for state in states if state in NEEDS_PEOPLE]
    if bad:
        verb = "needs" if len(bad) == 1 else "need"
        return f"{len(bad)} of {many(len(states))} {verb} you", min(bad, key=badness)
    if "unknown" in states:
        return "The sinks are being read", "unknown"
    if but:
        return f"Every token is good, but {but}", "due"
    return f"Every token is good, for at least {good_for}", "current"


def many(count: int, what: str = "token") -> str:
    """Return a count of things."""
    return f"{count} {what}{'s'[: count - 1]}"
