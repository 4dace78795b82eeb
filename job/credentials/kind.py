"""What is known of a kind of source before one is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from job.aws.clients import AwsClients
from job.core.ports import SecretSource
from job.credentials.settings import SecretSettings


def _none(_: SecretSettings) -> Iterator[tuple[str, str]]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source. `key` names its place in a table, `goes_with` are further keys it takes.

    `source` makes one out of its settings. `is_variable`: the place is an environment variable.
    `is_free`: reading it costs nothing and runs nothing. `is_file`: `check` should be able to read
    it. `problems` yields what else is wrong with its settings: the key, and what to do.
    """

    key: str
    source: Callable[[Any, Mapping[str, str], AwsClients], SecretSource]
    goes_with: tuple[str, ...] = ()
    is_variable: bool = False
    is_free: bool = False
    is_file: bool = False
    problems: Callable[[SecretSettings], Iterator[tuple[str, str]]] = _none
