"""Sinks of other distributions: the store of docs/extending.md, installed as a package."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from loading import tokens_of
from places import example, guide_examples
from running import PATIENCE_S, ROOT, program
from token_server import TokenServer

from job.config import Config
from job.config.json_schema import json_schema
from job.core.errors import ConfigError
from job.inventory.kinds import load
from job.sinks.file import FileSinkSettings
from job.sinks.plugins import loaded

NAME = "freshtoken_sqlite"
ENTRY = f"{NAME}:SqliteSinkSettings"


def install(folder: Path, points: str = f"sqlite = {ENTRY}") -> None:
    """Lay the package into a folder as an installer does."""
    (folder / f"{NAME}.py").write_text(guide_examples()[0])
    about = folder / f"{NAME}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: freshtoken-sqlite\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(f"[freshtoken.sinks]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that this process imports from; what is imported is forgotten at the end."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path / "site"
    sys.modules.pop(NAME, None)


def config_of(folder: Path, url: str, sink: str) -> Path:
    """Write the configuration of one token with a sink of the plug-in."""
    (folder / "secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(
        f'[tokens.one]\ntoken_url = "{url}"\nclient_id = "one"\n'
        f'client_secret = {{ file = "secret" }}\n'
        f'[[tokens.one.sinks]]\ntype = "sqlite"\n{sink}\n'
    )
    return config


def run(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the package on its path."""
    return subprocess.run(
        program(*args),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder / "site")} | environ,
        timeout=PATIENCE_S,
        check=False,
    )


def made(folder: Path) -> Path:
    """Make the database."""
    path = folder / "tokens.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(example(0, {"__name__": NAME})["TABLE"])
    return path


def row_of(path: Path) -> tuple[str, str]:
    """Return the name and the token of the only row."""
    with closing(sqlite3.connect(path)) as database:
        ((name, text),) = database.execute("SELECT name, text FROM tokens").fetchall()
    return name, json.loads(text)["access_token"]


@pytest.mark.slow
def test_once_writes_through_a_plug_in(tmp_path: Path, site: Path) -> None:
    """The real command keeps a token in the store of a package that is only installed."""
    install(site)
    path = made(tmp_path)
    with TokenServer() as server:
        config = config_of(tmp_path, server.url, 'path = "tokens.db"\nrow = "tiki"')
        first, again = (run(tmp_path, "once", "--config", str(config)) for _ in range(2))
        assert (first.returncode, again.returncode) == (0, 0), first.stderr
        assert (row_of(path), len(server.requests)) == (("tiki", "tok-1"), 1)


@pytest.mark.slow
def test_the_environment_names_a_plug_in(tmp_path: Path, site: Path) -> None:
    """FRESHTOKEN_SINK takes the word that the settings of the plug-in say."""
    install(site)
    path = made(tmp_path)
    with TokenServer() as server:
        variables = {
            "FRESHTOKEN_TOKEN_URL": server.url,
            "FRESHTOKEN_CLIENT_ID": "one",
            "FRESHTOKEN_CLIENT_SECRET": "s3cret",
            "FRESHTOKEN_SINK": f"sqlite:{path}",
        }
        done = run(tmp_path, "once", **variables)
    assert done.returncode == 0, done.stderr
    assert row_of(path) == ("token", "tok-1")


@pytest.mark.slow
def test_check_and_schema_know_a_plug_in(tmp_path: Path, site: Path) -> None:
    """`check` plans a token in its store, or tells what is wrong; `schema` prints its keys."""
    install(site)
    made(tmp_path)
    config = config_of(tmp_path, "https://as.test/token", 'path = "tokens.db"')
    good = run(tmp_path, "check", "--config", str(config))
    config_of(tmp_path, "https://as.test/token", 'path = "tokens.db"\nrow = ""')
    bad = run(tmp_path, "check", "--config", str(config))
    printed = run(tmp_path, "schema")
    assert (good.returncode, bad.returncode, printed.returncode) == (0, 78, 0), good.stderr
    assert "tokens.one.sinks[1].row: is empty; leave it out" in bad.stdout + bad.stderr
    assert "SqliteSinkSettings" in json.loads(printed.stdout)["$defs"]


def problems(folder: Path, sink: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return what `check` tells of a sink, or of the sink that the environment names."""
    config = None if environ else str(config_of(folder, "https://as.test/token", sink))
    with pytest.raises(ConfigError) as caught:
        load(config, environ or {})
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ('path = "a"\nrwo = "x"', ["tokens.one.sinks[1].rwo: unknown key; did you mean row?"]),
        ('path = "a"\nrow = 1', ["tokens.one.sinks[1].row: must be text in quotes"]),
        ("", ["tokens.one.sinks[1].path: is missing; it must be text in quotes"]),
        (
            'path = "a"\nrow = ""',
            ["tokens.one.sinks[1].row: is empty; leave it out, or give each token its own"],
        ),
        (
            'path = "a"\n[[tokens.one.sinks]]\ntype = "sqlite"\npath = "a"',
            ["tokens.one.sinks[2]: is the same place as tokens.one.sinks[1]; give each its own"],
        ),
        (
            'path = "a"\n[[tokens.one.sinks]]\ntype = "redis"',
            [
                'tokens.one.sinks[2].type: must be "file" or "aws_secrets_manager" or "sqlite"',
            ],
        ),
    ],
)
def test_mistakes_are_told_like_those_of_our_own(
    tmp_path: Path, site: Path, sink: str, told: list[str]
) -> None:
    """Each has its place and its cure: keys, types, its own rules, and places that collide."""
    install(site)
    assert problems(tmp_path, sink) == told


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('path = "a"\nport = "x"', "port: must be a number"),
        ('path = "a"', "port: is missing; it must be a number"),
        ("port = 1", "path: is missing; it must be text in quotes"),
    ],
)
def test_a_key_that_must_be_given_is_of_any_type(
    tmp_path: Path, site: Path, keys: str, told: str
) -> None:
    """A sink that lacks one is told of, whichever type it has, and nothing else with it."""
    install(site, f"sqlite = {NAME}:Many")
    with (site / f"{NAME}.py").open("a") as module:
        module.write(
            ANOTHER.format(
                "Many", "sqlite", "", "path: str\n    port: Annotated[int, Meta(description='It.')]"
            )
        )
    assert problems(tmp_path, keys) == [f"tokens.one.sinks[1].{told}"]


def test_a_place_is_all_that_must_be_given(tmp_path: Path, site: Path) -> None:
    """Settings that say nothing of their place have one by their required keys."""
    install(site, f"sqlite = {NAME}:Many")
    with (site / f"{NAME}.py").open("a") as module:
        module.write(
            ANOTHER.format(
                "Many", "sqlite", "", "path: str\n    port: Annotated[int, Meta(description='It.')]"
            )
        )
    config = str(config_of(tmp_path, "https://as.test/token", 'path = "a"\nport = 1'))
    (sink,) = load(config, {}).tokens["one"].sinks
    assert sink.place == ("sqlite", "a", "1")


ANOTHER = """
from typing import Annotated
from msgspec import Meta

class {0}(PluginSinkSettings, frozen=True, kw_only=True, tag="{1}"):
    variable = "{2}"
    {3}

    def store(self) -> None:
        raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sqlite:x,sqlite:x", "FRESHTOKEN_SINK: names one place twice"),
        ("no-variable:x", "FRESHTOKEN_SINK: must be file:PATH or aws-secrets-manager:SECRET_ID"),
        ("many:x", "FRESHTOKEN_SINK: port is missing"),
        (
            "broken:x",
            "FRESHTOKEN_SINK: the plug-in broken (nowhere:Settings) of freshtoken-sqlite cannot be",
        ),
    ],
)
def test_mistakes_in_the_environment(tmp_path: Path, site: Path, text: str, told: str) -> None:
    """What a variable says is told by the variable's name, also of a plug-in."""
    points = [f"sqlite = {ENTRY}", "broken = nowhere:Settings"]
    install(site, "\n".join([*points, f"no_variable = {NAME}:Silent", f"many = {NAME}:Many"]))
    with (site / f"{NAME}.py").open("a") as module:
        module.write(ANOTHER.format("Silent", "no_variable", "", "path: str"))
        module.write(
            ANOTHER.format(
                "Many",
                "many",
                "many:PATH",
                "path: str\n    port: Annotated[int, Meta(description='It.')]",
            )
        )
    environ = {
        "FRESHTOKEN_TOKEN_URL": "https://as.test/token",
        "FRESHTOKEN_CLIENT_ID": "one",
        "FRESHTOKEN_SINK": text,
    }
    (problem,) = problems(tmp_path, "", environ)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("nowhere:Settings", "cannot be loaded (ModuleNotFoundError)"),
        (f"{NAME}:Nothing", "cannot be loaded (AttributeError)"),
        (f"{NAME}:Silent", "cannot be loaded (NameError)"),
        (f"{NAME}:SqliteStore", "is not a subclass of job.sinks.plugins.PluginSinkSettings"),
        (f"{NAME}:TABLE", "is not a subclass of job.sinks.plugins.PluginSinkSettings"),
        ("job.sinks.plugins:PluginSinkSettings", 'has the tag "PluginSinkSettings"'),
        (f"{NAME}:Storeless", "does not define store()"),
    ],
)
def test_a_broken_plug_in_names_its_distribution(
    tmp_path: Path, site: Path, value: str, fault: str
) -> None:
    """It is a problem of the sinks that name it: what is installed wrongly, and what to do."""
    install(site, f"sqlite = {value}")
    with (site / f"{NAME}.py").open("a") as module:
        module.write(ANOTHER.format("Silent", "sqlite", "", "path: 'Nowhere'"))
        module.write('class Storeless(PluginSinkSettings, tag="sqlite"):\n    pass\n')
    cure = "upgrade or reinstall freshtoken-sqlite, or use another type"
    told = f"the plug-in sqlite ({value}) of freshtoken-sqlite {fault}; {cure}"
    assert problems(tmp_path, 'path = "a"') == [f"tokens.one.sinks[1].type: {told}"]
    with pytest.raises(ConfigError) as caught:
        json_schema()
    assert caught.value.problems == (f"sinks: {told}",)


def test_a_plug_in_without_a_distribution_is_named_by_its_module() -> None:
    """What was not installed by an installer has no distribution to see to."""
    with pytest.raises(ValueError, match="of its distribution cannot be loaded"):
        loaded(EntryPoint("sqlite", "nowhere:Settings", "freshtoken.sinks"))


def test_the_schema_has_the_settings_of_each_plug_in(site: Path) -> None:
    """Its keys have their types, defaults and descriptions, and `type` leads to them."""
    before = json_schema()
    install(site)
    after: dict[str, Any] = json_schema()
    ours = {name: kind for name, kind in after["$defs"].items() if name != "SqliteSinkSettings"}
    sinks = ours["TokenSettings"]["properties"]["sinks"]["items"]
    assert sinks["discriminator"]["mapping"].pop("sqlite") == "#/$defs/SqliteSinkSettings"
    sinks["anyOf"].remove({"$ref": "#/$defs/SqliteSinkSettings"})
    assert ours == before["$defs"]
    keys = after["$defs"]["SqliteSinkSettings"]["properties"]
    assert keys["type"] == {"enum": ["sqlite"]}
    assert keys["row"] == {
        "type": "string",
        "default": "token",
        "description": "The name of the row.",
    }


def test_settings_of_two_loads_are_equal(tmp_path: Path, site: Path) -> None:
    """A reload keeps the refresher of a token whose settings are as before, with a plug-in too."""
    install(site)
    config = str(config_of(tmp_path, "https://as.test/token", 'path = "a"'))
    first, second = (load(config, {}) for _ in range(2))
    assert isinstance(first, Config)
    assert first == second
    (sink,) = first.tokens["one"].sinks
    assert sink.place == ("sqlite", str(tmp_path / "a"), "token")


def test_our_own_types_look_for_no_plug_in(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has none pays for none, and nobody can replace a kind of ours."""
    install(site, f"file = {ENTRY}")
    monkeypatch.setattr("job.sinks.kinds.installed", None)
    token = {
        "token_url": "https://as.test/token",
        "client_id": "one",
        "client_secret": {"file": "secret"},
        "sinks": [{"type": "file", "path": "a"}],
    }
    (sink,) = tokens_of({"tokens": {"one": token}}, str(tmp_path))["one"].sinks
    assert isinstance(sink, FileSinkSettings)
