"""What a client has spent of its budget, kept beside a file sink so that a restart forgets nothing.

It holds times and no secret. It is kept as well as possible: if it can't be read nothing counts as
spent, if it can't be written memory has it, and no exchange fails because of it.
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
    """When exchanges were made, and when it was reported that the budget is short, or used up."""

    spent: list[float]
    told: dict[bool, float]


class BudgetFile:
    """The file `.NAME.budget` beside the file NAME of a sink. `client` says whose budget it is."""

    def __init__(self, beside: str, client: str) -> None:
        """Touch nothing yet."""
        folder, name = os.path.split(beside)
        self.path = os.path.join(folder, f".{name}.budget")
        self._client = client

    def read(self) -> Spending:
        """Return what is kept, without what makes no sense."""
        content = None
        with suppress(OSError):
            content = read_regular(self.path, MAX_BYTES)
        document = json_object(content or b"") or {}
        spent, told = document.get("spent"), document.get("told")
        if document.get("client") != self._client or not isinstance(spent, list):
            return Spending([], {})
        times = told if isinstance(told, list) else []
        pairs = zip((False, True), times, strict=False)
        known = {is_over: at for is_over, at in pairs if _is_time(at)}
        return Spending([at for at in spent if _is_time(at)], known)

    def write(self, spending: Spending) -> None:
        """Replace the file atomically; only this user can read it."""
        told = [spending.told.get(is_over, 0.0) for is_over in (False, True)]
        document = {"client": self._client, "spent": spending.spent, "told": told}
        folder, name = os.path.split(self.path)
        with suppress(OSError):
            write_atomically(folder, {name: json.dumps(document).encode()})


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < END_OF_TIME  # type: ignore[operator]
