"""What freshtoken costs, beside what it replaces: `make bench` prints the table.

Every figure is taken from outside, of whole processes or of loops in them, and those that are
compared come from one run. docs/performance.md says what each is exactly.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import environments
import figures
from figures import Figure
from many import Load, many
from processes import Failed
from refreshes import into_file, into_secrets_manager
from short import memory, once

MEMORY_DISK = Path("/dev/shm")  # noqa: S108  # where tokens belong, and no disk is measured
TEN_THOUSAND = Load(10_000, rate=10, first_due_s=50, start_s=60, idle_s=20, busy_s=40)
HUNDRED_THOUSAND = Load(100_000, rate=2, first_due_s=120, start_s=200, idle_s=10, busy_s=60)

Row = Callable[[Path, Path, Path], Iterator[Figure]]
ROWS: Mapping[str, Row] = {
    "once": lambda job, aws, folder: once(job, aws, folder, rounds=15),
    "memory": lambda job, _, folder: memory(job, folder),
    "file": lambda job, _, folder: into_file(job, folder, rounds=7, count=500),
    "aws": lambda job, _, folder: into_secrets_manager(job, folder, rounds=3, count=150),
    "10k": lambda job, _, folder: many(job, folder, TEN_THOUSAND),
    "100k": lambda job, _, folder: many(job, folder, HUNDRED_THOUSAND),
}


def main() -> int:
    """Measure what was asked for and print it; 0 also when a goal is missed, 1 if a row failed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; or all")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    job, aws = environments.prepare()
    about, seen, failed = figures.machine(), [], False
    show = (lambda _: None) if options.json else print
    show(figures.heading(about) + "\n")
    for name in options.rows or ROWS:
        try:
            for figure in _measured(name, job, aws):
                seen.append(figure)
                show(figures.as_line(figure))
        except Failed as error:
            failed = True
            print(f"{name}: could not be measured: {error}", file=sys.stderr)
    show("\n" + figures.summary(seen))
    if options.json:
        print(figures.as_json(about, seen))
    return int(failed)


def _measured(name: str, job: Path, aws: Path) -> Iterator[Figure]:
    where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="freshtoken-bench-", dir=where) as folder:
        yield from ROWS[name](job, aws, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
