"""What a client has spent of its budget, kept beside a file sink so that a restart forgets nothing.

It holds times and no secret. It is a help, not a promise: what can't be read counts as nothing
spent, what can't be written is kept in memory, and no exchange fails of it.
"""

import json
import os
from contextlib import suppress
from typing import NamedTuple

from job.core.json_object import json_object
from job.core.tokens import END_OF_TIME
from job.files import read_regular, write_atomically

MAX_BYTES = 4_194_304


class Spending(NamedTuple):
    """When exchanges were made, and when people were told that the budget is short, or over."""

    spent: list[float]
    told: dict[bool, float]


class BudgetFile:
    """The file `.NAME.budget` beside the file NAME of a sink. `client` tells whose budget it is."""

    def __init__(self, beside: str, client: str) -> None:
        """Touch nothing yet."""
        self._folder, self._name = os.path.split(beside)
        self._client = client

    @property
    def path(self) -> str:
        """Return where it is."""
        return os.path.join(self._folder, f".{self._name}.budget")

    def read(self) -> Spending:
        """Return what is kept, as far as it makes sense."""
        text: bytes | None = None
        with suppress(OSError):
            text = read_regular(self.path, MAX_BYTES)
        document = json_object(text or b"") or {}
        spent, told = document.get("spent"), document.get("told")
        if document.get("client") != self._client or not isinstance(spent, list):
            return Spending([], {})
        times = told if isinstance(told, list) else []
        known = {
            is_over: at for is_over, at in zip((False, True), times, strict=False) if _is_time(at)
        }
        return Spending([at for at in spent if _is_time(at)], known)

    def write(self, spending: Spending) -> None:
        """Replace what is kept, atomically; readable by this user alone."""
        told = [spending.told.get(is_over, 0.0) for is_over in (False, True)]
        document = {"client": self._client, "spent": spending.spent, "told": told}
        contents = {os.path.basename(self.path): json.dumps(document).encode()}
        with suppress(OSError):
            write_atomically(self._folder, contents)


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < END_OF_TIME  # type: ignore[operator]
