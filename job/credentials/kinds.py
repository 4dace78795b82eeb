"""The kinds of source, and what follows from the one that a table names.

No message holds a value: a secret may have been pasted where its place belongs.
"""

from collections.abc import Iterator, Mapping

from job.aws.clients import AwsClients
from job.core.clock import Clock
from job.credentials import aws, command, environment, file
from job.credentials.base import Kind
from job.credentials.settings import SecretSettings
from job.credentials.watched import WatchedSecret

KINDS: tuple[Kind, ...] = (
    environment.KIND,
    file.KIND,
    file.CREDENTIAL,
    command.KIND,
    aws.SECRET,
    aws.PARAMETER,
    aws.WEB_IDENTITY,
)
"""docs/extending.md shows how to add one."""
IN_AWS = "a secret in AWS"
BESIDE = {"key": "aws_secret", "region": IN_AWS, "profile": IN_AWS, "endpoint_url": IN_AWS}
"""The keys beside a place, and what they go with."""


def kind_of(settings: SecretSettings) -> Kind:
    """Return the kind of a table that names one place."""
    return _given(settings)[0]


def variable_of(settings: SecretSettings) -> str | None:
    """Return the environment variable that holds the secret, or None."""
    named = (getattr(settings, kind.key) for kind in _given(settings) if kind.is_variable)
    return next(named, None)


def watched(
    settings: SecretSettings | tuple[SecretSettings, ...],
    environ: Mapping[str, str],
    aws: AwsClients,
    clock: Clock,
) -> WatchedSecret:
    """Return where a secret comes from, or the secrets of a list, the first one first."""
    tables = settings if isinstance(settings, tuple) else (settings,)
    sources = (kind_of(table).source(table, environ, aws) for table in tables)
    return WatchedSecret(*sources, clock=clock)


def problems_of(key: str, settings: SecretSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one table, whose own key is `key`: the key, and what to do."""
    given = _given(settings)
    if len(given) != 1:
        *others, last = (kind.key for kind in KINDS if kind.key in settings.__struct_fields__)
        yield key, f"needs exactly one of {', '.join(others)} and {last}"
        return
    (kind,) = given
    for name, owner in BESIDE.items():
        if getattr(settings, name) is not None and name not in kind.goes_with:
            yield f"{key}.{name}", f"goes with {owner} only; leave it out"
    yield from ((f"{key}.{name}", text) for name, text in kind.problems(settings))


def _given(settings: SecretSettings) -> list[Kind]:
    return [kind for kind in KINDS if getattr(settings, kind.key, None)]
