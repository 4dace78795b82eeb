"""Explore more than the test suite has time for, and print what was found."""

import argparse
import time
from dataclasses import replace

from interleavings.explore import FIRST, Breach, Budget, Explorer
from interleavings.replica import Setting
from interleavings.secret import SharedSecret

LAYOUTS = {
    "json": Setting(),
    "raw": Setting("raw"),
    "json_key": Setting(json_key="tiki"),
    "json_key raw": Setting("raw", json_key="tiki"),
}
STARTS = ("due", "empty", "missing")


def secret_of(start: str, setting: Setting) -> SharedSecret:
    """Return the secret as it is at the start."""
    if start == "due":
        return setting.holding(FIRST)
    return SharedSecret(exists=start != "missing")


def main() -> None:
    """Read the options, explore every layout from every start."""
    parser = argparse.ArgumentParser(prog="python -m interleavings", description=__doc__)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--crashes", type=int, default=1)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--layout", choices=LAYOUTS, action="append")
    parser.add_argument("--start", choices=STARTS, action="append")
    options = parser.parse_args()
    budget = Budget(options.crashes, options.faults)
    for layout in options.layout or LAYOUTS:
        for start in options.start or STARTS:
            setting = replace(LAYOUTS[layout], create=start == "missing")
            began, explorer = time.monotonic(), Explorer(setting, budget)
            try:
                orders = explorer.run(secret_of(start, setting), options.replicas)
            except Breach as breach:
                raise SystemExit(f"{layout}, {start}:\n{breach}") from None
            exchanges = ", ".join(f"{n}: {count:,}" for n, count in sorted(orders.items()))
            print(  # noqa: T201  # its product is what it prints
                f"{layout}, {start}: {orders.total():,} orders through {explorer.scenes:,} scenes "
                f"in {time.monotonic() - began:.1f} s; by exchanges {exchanges}",
                flush=True,
            )


if __name__ == "__main__":
    main()
