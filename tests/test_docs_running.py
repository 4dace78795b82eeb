"""The limits that docs/running.md tells are those of the code."""

import re
from pathlib import Path

from job.config.json_schema import json_schema
from job.http import transport
from job.runners import once, sweep
from job.verbs import once as verbs_once
from job.verbs import run as verbs_run

PAGE = (Path(__file__).parent.parent / "docs" / "running.md").read_text(encoding="utf-8")


def default_of(verb: str, option: str) -> object:
    """Return the default of an option of a verb."""
    verbs = {"run": verbs_run.run, "once": verbs_once.once}
    options = {name: one.default for one in verbs[verb].params for name in one.opts}
    return options[option]


def test_the_limits_are_those_of_the_code() -> None:
    """Each number of the table is the constant or the default that decides."""
    keys = json_schema()["$defs"]["CommonSettings"]["properties"]
    common = {key: schema.get("default") for key, schema in keys.items()}
    stop, last = default_of("run", "--stop-timeout"), default_of("once", "--timeout")
    rows = dict(re.findall(r"^\| ([a-z `]+) \| (.*) \|$", PAGE, re.MULTILINE))

    assert rows["work at once"].startswith(
        f"{sweep.WORKERS} threads, at most {common['max_concurrency']} of them "
    )
    assert rows["one exchange"].startswith(f"`timeout`, {common['timeout']}".replace("15s", "15 s"))
    assert rows["an answer of the token endpoint"] == f"{transport.MAX_BODY_BYTES >> 20} MiB"
    assert (rows["a stop"], stop) == ("5 s (`--stop-timeout`)", "5s")
    assert rows["a pass of `once`"] == (
        f"50 s (`--timeout`) and {once.STOP_S:g} s for what is in hand; "
        f"hooks up to {verbs_once.HOOKS_SETTLE_S:g} s more"
    )
    assert last == "50s"
