"""What all sources of secrets share: how content becomes a secret, and how its lack is told."""

import math
from contextlib import suppress
from typing import ClassVar

from job.core.errors import SecretUnavailable
from job.core.secret import Secret

MAX_SECRET_BYTES = 65_536


class DearSource:
    """Base of sources whose asking costs money, time or a person's attention.

    `look_s` is how often such a one may be asked just to notice a change, by default never.
    """

    look_s: ClassVar[float] = math.inf


def secret_of(content: bytes, place: str) -> Secret:
    """Return what a place holds, without the newline at its end; raises SecretUnavailable."""
    if len(content) > MAX_SECRET_BYTES:
        raise unavailable(f"{place} gives over {MAX_SECRET_BYTES} bytes", "give the secret alone")
    value = None
    with suppress(UnicodeDecodeError):  # it holds the whole secret: no error may hang on it
        value = content.decode().strip("\r\n")
    if value is None:
        raise unavailable(f"{place} does not give UTF-8 text", "give the secret alone")
    if not value:
        raise unavailable(f"{place} gives nothing", "put the secret there")
    return Secret(value)


def unavailable(
    what: str, cure: str, *, passing: bool = False, permission: bool = False
) -> SecretUnavailable:
    """Return the error of a source that gives no secret; see SecretUnavailable."""
    text = f"no secret: {what}; {cure}"
    return SecretUnavailable(
        "client_secret_unavailable", text, passing=passing, permission=permission
    )
