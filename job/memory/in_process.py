"""A memory that lives as long as the process: it outlasts a reload of the configuration."""

from job.core.memo import Memo


class InProcess:
    """Memos by token name. Thread-safe, because each call is one operation of a dict."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._memos: dict[str, Memo] = {}

    def load(self, name: str) -> Memo | None:
        """Return what was saved last for a token, or None."""
        return self._memos.get(name)

    def save(self, name: str, memo: Memo | None) -> None:
        """Replace what was saved of a token; None forgets it."""
        if memo is None:
            self._memos.pop(name, None)
        else:
            self._memos[name] = memo
