"""What `pip install freshtoken-reader` gives a program that has nothing else."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from consumers import examples, need
from stored import document

import freshtoken_reader

pytestmark = pytest.mark.slow

READER = Path(__file__).parent.parent / "reader"
SOURCES = {
    str(path.relative_to(READER))
    for path in (READER / "freshtoken_reader").iterdir()
    if path.is_file()
}
USE = """
import sys
sys.path.insert(0, sys.argv[1])
from freshtoken_reader import TokenAuth
print(TokenAuth.from_file(sys.argv[2]).header())
for absent in ("requests", "httpx", "boto3", "job"):
    try:
        __import__(absent)
    except ImportError:
        print("without", absent)
"""
"""A program in an interpreter that has the standard library only."""
USED = """Bearer tok-1
without requests
without httpx
without boto3
without job
"""
WITHOUT_CLOCK_IDS = """
import time
for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "clock_gettime"):
    delattr(time, name)
from freshtoken_reader.clock import system_clock
before, read, after = time.monotonic(), system_clock(), time.monotonic()
assert before <= read.boot <= after
"""


def built(kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist; its path."""
    build = f"import flit_core.buildapi as b; print(b.build_{kind}({str(folder)!r}))"
    argv = [sys.executable, "-c", build]
    done = subprocess.run(argv, cwd=READER, check=True, capture_output=True, text=True)
    return folder / done.stdout.strip()


def without(folder: str, names: list[str]) -> set[str]:
    """Return the files that are not in this folder of an archive."""
    return {name for name in names if not name.startswith(f"{folder}/")}


def test_the_wheel_is_the_package_alone(tmp_path: Path) -> None:
    """It has every module and the type marker, and asks for no other distribution by itself."""
    path = built("wheel", tmp_path)
    information = f"freshtoken_reader-{freshtoken_reader.__version__}.dist-info"
    with zipfile.ZipFile(path) as wheel:
        assert without(information, wheel.namelist()) == SOURCES
        assert f"{information}/licenses/LICENSE" in wheel.namelist()
        metadata = wheel.read(f"{information}/METADATA").decode().splitlines()
    needed = [line for line in metadata if line.startswith("Requires-Dist: ")]
    assert needed
    assert [line for line in needed if "; extra ==" not in line] == []
    assert {"Name: freshtoken-reader", "Requires-Python: >=3.9"} <= set(metadata)
    assert "freshtoken_reader/py.typed" in SOURCES


def test_the_sdist_is_what_the_wheel_is_built_from(tmp_path: Path) -> None:
    """It has the package, its page, its licence and how it is built, and no other file."""
    path = built("sdist", tmp_path)
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names == SOURCES | {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def test_the_licence_is_the_one_of_freshtoken() -> None:
    """Both distributions are under one licence."""
    assert (READER / "LICENSE").read_text() == (READER.parent / "LICENSE").read_text()


def test_its_page_shows_the_example_that_is_tested() -> None:
    """The page of the distribution has the example of docs/consumers.md, which a test runs."""
    page = (READER / "README.md").read_text("utf-8")
    assert f"```python\n{examples('python', 'Python')[0]}```" in page


@pytest.mark.parametrize("interpreter", [sys.executable, "pypy3"], ids=["this", "pypy3"])
def test_a_program_with_the_standard_library_alone_reads_a_token(
    interpreter: str, tmp_path: Path
) -> None:
    """The installed wheel needs neither requests nor httpx, boto3 or freshtoken.

    Debian 12 has Python 3.9 as pypy3.
    """
    program, wheel = need(interpreter), built("wheel", tmp_path)
    target, token = tmp_path / "target", tmp_path / "tiki.json"
    token.write_text(document("tok-1", 4e9))
    install = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    install += ["--no-index", "--no-deps", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True)
    argv = [program, "-I", "-S", "-c", USE, str(target), str(token)]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == USED


@pytest.mark.parametrize("path", sorted(SOURCES - {"freshtoken_reader/py.typed"}))
def test_every_module_is_written_in_the_oldest_python(path: str) -> None:
    """Each module has the grammar of Python 3.9, and annotations that nobody evaluates."""
    tree = ast.parse((READER / path).read_text("utf-8"), feature_version=(3, 9))
    annotated = any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
    assert not annotated or "from __future__ import annotations" in ast.unparse(tree)


def test_a_platform_without_clock_ids_has_a_clock() -> None:
    """On Windows the time since boot comes from the clock that Python has everywhere."""
    subprocess.run([sys.executable, "-c", WITHOUT_CLOCK_IDS], cwd=READER, check=True)
