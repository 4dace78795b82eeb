"""What comes out: figures beside their goals, and the machine that they were measured on."""

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import Cost


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `value` is None when it could not be measured, and `detail` says why.

    `goal` is the most that is well, None for a figure that is shown for comparison only.
    """

    name: str
    value: float | None
    unit: str
    goal: float | None
    detail: str

    @property
    def verdict(self) -> str:
        """Say how the figure compares with its goal."""
        if self.value is None or self.goal is None:
            return ""
        return "met" if self.value <= self.goal else "**missed**"


def ratio(name: str, ours: Cost, theirs: Cost, goal: float | None, scale: int = 1) -> Figure:
    """Return the ratio of two medians; `scale` is how many pieces of work were in one run."""
    shown = [
        f"{1000 * cost.median / scale:.3g} ms (best {1000 * cost.best / scale:.3g})"
        for cost in (ours, theirs)
    ]
    detail = f"{shown[0]} against {shown[1]}; {len(ours.runs)} runs each; by the best runs "
    detail += f"{ours.best / theirs.best:.2f}"
    return Figure(name, ours.median / theirs.median, "", goal, detail)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in info if line.startswith("model name")]
    load = os.getloadavg()[0]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": models[0] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": f"{load:.2f}",
    }


def as_json(about: dict[str, str], figures: Iterable[Figure]) -> str:
    """Return everything as one JSON document."""
    rows = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
    return json.dumps({"machine": about, "figures": rows}, indent=2)


TABLE = "| figure | measured | goal | |\n|---|---|---|---|"


def as_row(figure: Figure) -> str:
    """Return a row of the table in docs/performance.md."""
    value = "-" if figure.value is None else f"{figure.value:.3g} {figure.unit}".strip()
    goal = "" if figure.goal is None else f"{figure.goal:g} {figure.unit}".strip()
    return f"| {figure.name} | {value} ({figure.detail}) | {goal} | {figure.verdict} |"


def heading(about: dict[str, str]) -> str:
    """Return the line that names the machine."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())


def summary(figures: Sequence[Figure]) -> str:
    """Return how many goals were met."""
    judged = [figure for figure in figures if figure.verdict]
    met = sum(figure.verdict == "met" for figure in judged)
    return f"{met} of {len(judged)} goals met"
