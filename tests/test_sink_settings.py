"""What the settings of a kind of sink answer for themselves, and the list of kinds."""

from collections.abc import Mapping
from typing import Any

import pytest
from places import example

from job.aws.clients import AwsClients
from job.core.tokens import OutputFormat
from job.sinks.file import FileSinkSettings
from job.sinks.kinds import AnySinkSettings, sink_of, sink_types
from job.sinks.secrets_manager import SecretsManagerSinkSettings
from job.sinks.settings import SinkSettings

FILE = FileSinkSettings(path="run/../one.json")
SECRET = SecretsManagerSinkSettings(secret_id="prod/one", region="eu-west-1")


def test_each_type_has_its_settings() -> None:
    """Promise: the `type` of a sink names one kind, in the order in which messages tell them."""
    assert list(sink_types().items()) == [
        ("file", FileSinkSettings),
        ("aws_secrets_manager", SecretsManagerSinkSettings),
    ]


@pytest.mark.parametrize(
    ("settings", "label"),
    [(FILE, "file:run/../one.json"), (SECRET, "aws-secrets-manager:prod/one")],
)
def test_each_kind_becomes_a_sink(settings: AnySinkSettings, label: str) -> None:
    """Promise: a sink is named by its kind and place, and touches nothing when it is made."""
    assert sink_of(settings, "one", AwsClients()).label == label


def answers(settings: SinkSettings) -> Mapping[str, Any]:
    """Return all that other modules ask of settings."""
    return {
        "place": settings.place,
        "local_path": settings.local_path,
        "problems": list(settings.problems()),
        "read_interval_s": settings.read_interval_s,
        "max_versions_per_day": settings.max_versions_per_day,
        "lock_reaches_all_writers": settings.lock_reaches_all_writers,
    }


def test_a_file_answers_for_itself() -> None:
    """Promise: a file is free to read, local, and its lock admits one writer."""
    assert answers(FILE) == {
        "place": ("file", "one.json"),
        "local_path": "run/../one.json",
        "problems": [],
        "read_interval_s": 2.0,
        "max_versions_per_day": None,
        "lock_reaches_all_writers": True,
    }


def test_a_secret_answers_for_itself() -> None:
    """Promise: a secret costs a request for each read, and keeps 100 versions for a day."""
    place = ("aws", "eu-west-1", None, None, "prod/one")
    assert answers(SECRET) == {
        "place": place,
        "local_path": None,
        "problems": [],
        "read_interval_s": 30.0,
        "max_versions_per_day": 100,
        "lock_reaches_all_writers": False,
    }
    assert SECRET.unwritable() is None


class Bare(SinkSettings, frozen=True, kw_only=True, tag="bare"):
    """A kind that says no more than it must."""

    title = "a bare kind"
    variable = "bare:NAME"

    name: str
    comment: str = ""


def test_a_kind_may_say_no_more_than_its_name() -> None:
    """Promise: the answers that a kind leaves out are the careful ones."""
    bare = Bare(name="one", comment="any", format="raw")
    assert answers(bare) == {
        "place": ("bare", "one"),
        "local_path": None,
        "problems": [],
        "read_interval_s": 30.0,
        "max_versions_per_day": None,
        "lock_reaches_all_writers": False,
    }
    assert bare.layout("tiki") == OutputFormat("raw", "tiki")
    with pytest.raises(AssertionError):
        sink_of(bare, "tiki", AwsClients())  # type: ignore[arg-type]  # mypy sees it too


def test_the_example_of_the_guide_answers_for_itself() -> None:
    """Promise: whoever copies docs/extending.md has settings that check."""
    settings = example(0, {"__name__": "sqlite_store"})["SqliteSinkSettings"](
        path="/run/tokens.db", row=""
    )
    assert settings.place == ("sqlite", "/run/tokens.db", "")
    assert list(settings.problems()) == [
        ("row", "is empty; leave it out, or give each token its own")
    ]
