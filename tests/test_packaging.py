"""Facts about the repository that users of its files rely on."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; [^\\]+)? \\$", re.MULTILINE)


def project() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, str]:
    """Return what a requirement file pins."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {found["name"]: found["version"] for found in PIN.finditer(text)}


def unmet(wanted: list[str], pinned: dict[str, str]) -> list[str]:
    """Return the requirements that the pins do not satisfy."""
    named = [(canonicalize_name(r.name), r) for r in map(Requirement, wanted)]
    return [str(r) for name, r in named if name not in pinned or pinned[name] not in r.specifier]


@pytest.mark.parametrize("name", ["run", "build", "test"])
def test_every_pin_has_a_hash_and_no_file_names_a_host(name: str) -> None:
    """Requirement files install from any index, and only the very files that were tested."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    unhashed = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith("    --hash=sha256:") and "--hash=sha256:" not in following
    ]
    assert pins(name)
    assert unhashed == []
    assert "://" not in text


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    """Pins follow pyproject.toml: `make pins` has been run after a change of the dependencies."""
    data = project()
    group = [entry for entry in data["dependency-groups"]["test"] if isinstance(entry, str)]
    assert unmet(data["project"]["dependencies"], pins("run")) == []
    assert unmet(data["dependency-groups"]["build"], pins("build")) == []
    assert unmet(group, pins("test")) == []


def test_the_image_gets_the_versions_that_are_tested() -> None:
    """Whatever the image or a wheel build installs has the version that the tests ran with."""
    assert pins("run") | pins("build") | pins("test") == pins("test")


def test_the_node_lock_file_names_no_registry() -> None:
    """The lock file has a checksum for every package, and the address of none."""
    lock = json.loads((ROOT / "tests" / "integration" / "package-lock.json").read_text())
    packages = [entry for path, entry in lock["packages"].items() if path]
    assert packages
    assert [entry for entry in packages if "resolved" in entry or "integrity" not in entry] == []


@pytest.mark.slow
def test_the_wheel_is_the_package_and_its_command(tmp_path: Path) -> None:
    """What users install has every module, the presets, the type marker and the command."""
    build = f"import flit_core.buildapi as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    [path] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        [commands] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        entry_points = wheel.read(commands).decode()
    sources = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "job").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == sources
    assert {"job/config/presets.toml", "job/py.typed", "job/cli.py"} <= names
    assert "freshtoken=job.__main__:main" in entry_points


def test_the_image_runs_without_root_and_without_a_shell() -> None:
    """The last stage has a numeric user, and every command in it is started as it stands."""
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    commands = re.findall(
        r"^(?:RUN|ENTRYPOINT|CMD) (.*)$|^HEALTHCHECK.* CMD (.*)$", final, re.MULTILINE
    )
    starts = [json.loads(plain or health) for plain, health in commands]
    assert starts[1:] == [["freshtoken", "status"], ["freshtoken"], ["run"]]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["65532:65532"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Give the unit with a program that exists here; skip where systemd's tool is missing."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "deploy" / "systemd" / "freshtoken.service").read_text()
    copy = tmp_path / "freshtoken.service"
    copy.write_text(text.replace("/opt/freshtoken/bin/freshtoken", sys.executable))
    return copy


@pytest.mark.slow
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    """Every key of the unit is known to systemd and every value is valid."""
    argv = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_the_unit_is_hardened(unit: Path) -> None:
    """What remains exposed is the network, without which there is no token."""
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_crontab_works_as_it_stands() -> None:
    """Its one line runs `once` every minute, by absolute paths, with no bare percent sign."""
    lines = (ROOT / "crontab.example").read_text().splitlines()
    entries = [line for line in lines if line and not re.match(r"#|[A-Z]+=", line)]
    [(*when, program, verb, _, config, _, _, _, level)] = [entry.split() for entry in entries]
    assert when == ["*"] * 5
    assert (program[0], verb, config[0], level) == ("/", "once", "/", "error")
    assert "%" not in entries[0]


def test_the_menu_names_every_entry() -> None:
    """`make` alone prints everything that can be made, with a line of explanation each."""
    text = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE) == phony.split()
