"""What freshtoken costs, beside what it replaces: `make bench` prints the table.

Every figure is taken from outside, of whole processes or of loops in them, and those that are
compared come from one run. The table is the one of docs/performance.md, which says what each figure
is exactly.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import environments
import figures
from figures import Figure
from many import Load, many
from processes import Failed, Programs
from refreshes import into_file, into_secrets_manager
from short import memory, once

MEMORY_DISK = Path("/dev/shm")  # noqa: S108  # where tokens belong, and no disk is measured
TEN_THOUSAND = Load(10_000, rate=10, first_due_s=400, start_s=120, idle_s=20, busy_s=40)
HUNDRED_THOUSAND = Load(100_000, rate=1.25, first_due_s=1000, start_s=500, idle_s=20, busy_s=60)
FEW = Load(400, rate=500, first_due_s=60, start_s=30, idle_s=0.5, busy_s=6)


class Row(NamedTuple):
    """How figures are measured, and how much work that is: in earnest, and to see that it works."""

    measure: Callable[..., Iterator[Figure]]
    whole: Mapping[str, Any]
    small: Mapping[str, Any]


ROWS: Mapping[str, Row] = {
    "once": Row(once, {"rounds": 15}, {"rounds": 1}),
    "memory": Row(memory, {"settle_s": 5.0}, {"settle_s": 0.1}),
    "file": Row(into_file, {"rounds": 7, "count": 500}, {"rounds": 1, "count": 5}),
    "aws": Row(into_secrets_manager, {"rounds": 3, "count": 150}, {"rounds": 1, "count": 2}),
    "10k": Row(many, {"load": TEN_THOUSAND}, {"load": FEW}),
    "100k": Row(many, {"load": HUNDRED_THOUSAND}, {"load": FEW}),
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
    show(f"{figures.heading(about)}\n\n{figures.TABLE}")
    for name in options.rows or ROWS:
        try:
            for figure in _measured(name, job, aws):
                seen.append(figure)
                show(figures.as_row(figure))
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
        row = ROWS[name]
        yield from row.measure(Programs(job, aws), Path(folder), **row.whole)


if __name__ == "__main__":
    sys.exit(main())
