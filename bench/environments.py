"""The environments that are measured: real installations, with their bytecode compiled.

`.bench/job` holds freshtoken as users install it, a wheel and the pins of requirements/run.txt;
`.bench/aws` holds the AWS command line of bench/aws.txt. Each is made anew when what it is made
of has changed.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
RUN_PINS = ROOT / "requirements" / "run.txt"
AWS_PINS = ROOT / "bench" / "aws.txt"


def prepare() -> tuple[Path, Path]:
    """Return the folders with the programs of the two environments, made if need be."""
    sources = sorted(path for path in (ROOT / "job").rglob("*") if path.suffix in {".py", ".toml"})
    job = _environment("job", [RUN_PINS, ROOT / "pyproject.toml", *sources], _install_job)
    return job, _environment("aws", [AWS_PINS], _install_aws)


def _environment(name: str, made_of: Iterable[Path], install: Callable[[Path], None]) -> Path:
    folder, stamp = HOME / name, HOME / f"{name}.sha256"
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in made_of)).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"preparing .bench/{name} ...", file=sys.stderr)
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        install(folder / "bin" / "python")
        stamp.write_text(digest)
    return folder / "bin"


def _install_job(python: Path) -> None:
    _pip("--python", python, "install", "--require-hashes", "-r", RUN_PINS)
    with tempfile.TemporaryDirectory() as folder:
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
        [wheel] = Path(folder).glob("*.whl")
        _pip("--python", python, "install", "--no-deps", wheel)


def _install_aws(python: Path) -> None:
    _pip("--python", python, "install", "--require-hashes", "-r", AWS_PINS)


def _pip(*arguments: str | Path) -> None:
    # --compile is pip's default; PYTHONDONTWRITEBYTECODE does not touch it.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True)
