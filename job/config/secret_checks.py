"""Whether a table that says where a secret comes from names one place, and only what goes with it.

No message holds a value: a secret may have been pasted where its place belongs.
"""

from collections.abc import Iterator

from job.config.secret_settings import AssertionSettings, SecretSettings
from job.values import is_url

PLACES = ("env", "file", "credential", "command", "aws_secret", "aws_parameter")
IDENTITY = "aws_web_identity"
IN_AWS = ("aws_secret", "aws_parameter", IDENTITY)
ACCOUNT = ("region", "profile", "endpoint_url")


def of_source(key: str, source: SecretSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one table, whose own key is `key`: the key, and what to do."""
    known = (*PLACES, IDENTITY) if isinstance(source, AssertionSettings) else PLACES
    given = [place for place in known if getattr(source, place)]
    if len(given) != 1:
        yield key, f"needs exactly one of {', '.join(known[:-1])} and {known[-1]}"
        return
    (place,) = given
    if source.key is not None and place != "aws_secret":
        yield f"{key}.key", "goes with aws_secret only; leave it out"
    if source.key == "":
        yield f"{key}.key", "is empty; leave it out if the whole secret is meant"
    if place == "credential" and "/" in (source.credential or ""):
        yield f"{key}.credential", "must be a name, without a folder"
    yield from _account(key, source, in_aws=place in IN_AWS)


def _account(key: str, source: SecretSettings, *, in_aws: bool) -> Iterator[tuple[str, str]]:
    for name in ACCOUNT:
        if getattr(source, name) is not None and not in_aws:
            yield f"{key}.{name}", "goes with a secret in AWS only; leave it out"
    if in_aws and source.endpoint_url is not None and not is_url(source.endpoint_url):
        yield f"{key}.endpoint_url", "must be a URL: https:// and a host"
