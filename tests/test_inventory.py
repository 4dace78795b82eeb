"""Where tokens are listed: what each kind of inventory yields, and when it has changed."""

import os
from pathlib import Path

import pytest

from job.core.ports import Inventory
from job.inventory.environment import Environment
from job.inventory.kinds import inventory_of
from job.inventory.toml_file import TomlFile

FILE = """\
[defaults]
min_validity = "1m"
[http]
listen = "127.0.0.1:9464"
[tokens.b]
client_id = "2"
[tokens.a]
client_id = 7
"""
ENVIRON = {"FRESHTOKEN_NAME": "one", "FRESHTOKEN_CLIENT_ID": "id", "FRESHTOKEN_SINK": "file:t.json"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a file with two entries."""
    file = tmp_path / "freshtoken.toml"
    file.write_text(FILE)
    return file


def test_a_file_yields_its_entries_as_they_are_written(path: Path) -> None:
    """Nothing is judged here: an entry that can't be used is yielded like the others."""
    inventory: Inventory = TomlFile(str(path))
    assert list(inventory.entries()) == [("b", {"client_id": "2"}), ("a", {"client_id": 7})]
    assert inventory.origin == str(path)


def test_a_file_says_what_all_entries_share(path: Path) -> None:
    """[defaults] and [http] stand beside the entries, and paths start at the file's folder."""
    file = TomlFile(str(path))
    assert (file.head.keys(), file.folder) == ({"defaults", "http"}, str(path.parent))


def test_the_version_of_a_file_differs_when_it_has_changed(path: Path, tmp_path: Path) -> None:
    """A file that is written, replaced or removed has another version; else it is the same."""
    file = TomlFile(str(path))
    versions = [file.version(), file.version()]
    os.utime(path, (1, 1))
    versions.append(file.version())
    other = tmp_path / "other.toml"
    other.write_text(FILE)
    os.utime(other, (1, 1))
    other.rename(path)
    versions.append(file.version())
    path.unlink()
    versions.append(file.version())
    assert versions[0] == versions[1]
    assert len(set(versions)) == 4


def test_the_environment_yields_one_entry() -> None:
    """The variables are an entry like one of a file, and stay what they are."""
    inventory: Inventory = Environment(ENVIRON)
    assert list(inventory.entries()) == [
        (
            "one",
            {
                "client_id": "id",
                "client_secret": {"env": "FRESHTOKEN_CLIENT_SECRET"},
                "sinks": [{"type": "file", "path": "t.json", "format": "json"}],
            },
        )
    ]
    assert (inventory.origin, inventory.version()) == ("the environment", inventory.version())


def test_a_file_comes_before_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind follows from what is named, and from what is there."""
    monkeypatch.chdir(path.parent)
    assert isinstance(inventory_of(None, ENVIRON), TomlFile)
    path.unlink()
    assert isinstance(inventory_of(None, ENVIRON), Environment)
