"""What all sources of secrets share: how a kind is described, and how content becomes a secret."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from job.aws.clients import AwsClients
from job.core.errors import SecretUnavailable
from job.core.ports import SecretSource
from job.core.secret import Secret
from job.credentials.settings import SecretSettings

MAX_SECRET_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source. `key` names it in a table, `goes_with` are further keys that it takes.

    `source` makes one from its settings, the environment and the AWS clients. `is_variable`: it is
    an environment variable. `is_free`: reading it costs nothing and runs nothing. `is_file`:
    `check` should be able to read it. `problems` yields what else is wrong: the key, what to do.
    """

    key: str
    source: Callable[[Any, Mapping[str, str], AwsClients], SecretSource]
    goes_with: tuple[str, ...] = ()
    is_variable: bool = False
    is_free: bool = False
    is_file: bool = False
    problems: Callable[[SecretSettings], Iterable[tuple[str, str]]] = lambda _: ()


class CostlySource:
    """Base of sources that cost money, time or a person's attention each time they are asked.

    `look_s` is how often one may be asked just to notice a change, by default never.
    """

    look_s: ClassVar[float] = math.inf


def secret_of(content: bytes, place: str) -> Secret:
    """Return what a place holds, without the newline at its end; raises SecretUnavailable."""
    if len(content) > MAX_SECRET_BYTES:
        raise unavailable(f"{place} gives over {MAX_SECRET_BYTES} bytes", "give the secret alone")
    value = None
    # The error holds the whole secret, so nothing may be chained to it.
    with suppress(UnicodeDecodeError):
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
