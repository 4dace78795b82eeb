"""What keeps the package a line that can be read: import fences, no hidden state, size bars."""

import ast
import functools
import json
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "job"

ROOMS = """
    __main__
    cli
    verbs
    demo
    runners
    compose
    inventory
    config
    observe
    limits
    oauth
    credentials sinks memory
    aws
    http
    values
    files
    core
    __init__
"""
"""Top to bottom: a room imports from lower rows only. A room is a folder, or a file beside them."""

FENCES: dict[str, set[str]] = {
    "apscheduler": {"runners"},
    "boto3": {"aws"},
    "botocore": {"aws"},
    "click": {"cli", "verbs"},
    "cryptography": {"oauth"},
    "jwt": {"oauth"},
    "msgspec": {"compose", "config", "sinks", "values"},
    "prometheus_client": {"observe"},
    "requests": {"http", "oauth", "verbs"},
    "rich": {"verbs"},
    "structlog": {"observe"},
    "waitress": {"observe"},
    "urllib3": {"http"},
}
"""Which rooms may import which third-party package; no other package may be imported at all."""
DISTRIBUTIONS = {
    "botocore": "boto3",
    "cryptography": "pyjwt",
    "jwt": "pyjwt",
    "prometheus_client": "prometheus-client",
}
"""Which declared dependency brings a package that goes by another name."""
IMPURE_LIBRARY = """
    asyncio ctypes fcntl io logging os pathlib queue random resource secrets select shutil signal
    socket ssl subprocess sys tempfile threading time urllib.request
"""
IMPURE_CALLS = {"now", "today", "utcnow", "open", "print", "input"}

OUTERMOST = {"cli", "runners.aws_lambda", "verbs"}
OF_THE_PROCESS = {
    ("os", "environ"),
    ("os", "environb"),
    ("os", "getenv"),
    ("os", "_exit"),
    ("sys", "argv"),
    ("sys", "exit"),
}
MUTATORS = """
    add append appendleft clear discard extend insert pop popitem remove reverse setdefault sort
    update __setitem__ __delitem__
"""
STATEFUL_CALLS = """
    list dict set bytearray defaultdict deque Counter OrderedDict ChainMap count cycle local Lock
    RLock Event Condition Semaphore Queue SimpleQueue ContextVar WeakValueDictionary
    WeakKeyDictionary
"""

MODULE_LINES = 400
FUNCTION_LINES = 40
MEDIAN_LINES = 9


class Import(NamedTuple):
    """One module that another one imports, and whether that happens for the types only."""

    name: str
    for_types: bool


def module_name(path: Path) -> str:
    """Name a module of the package as the tables above do."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(name: str) -> ast.Module:
    """Parse a module, once."""
    return ast.parse(FILES[name].read_text("utf-8"))


@functools.cache
def nodes(name: str) -> list[ast.AST]:
    """Return every node of a module."""
    return list(ast.walk(tree_of(name)))


def offenders(found_in: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what a check finds, by the module in which it is found."""
    return {name: found for name in FILES if (found := found_in(name))}


def words(table: str) -> set[str]:
    """Read a table of names."""
    return set(table.split())


@functools.cache
def imports(name: str) -> list[Import]:
    """Return all imports of a module, those inside functions too."""
    typing_only = {
        inner
        for node in nodes(name)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return [Import(one, node in typing_only) for node in nodes(name) for one in imported_by(node)]


def imported_by(node: ast.AST) -> list[str]:
    """Return what a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where a module stands"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def own_modules(name: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports."""
    for imported, _ in imports(name):
        if imported.partition(".")[0] == "job":
            _, _, rest = imported.partition(".")
            if rest in FILES:
                yield rest
            else:
                yield rest.rpartition(".")[0] or "__init__"


def third_party(name: str) -> Iterator[Import]:
    """Yield the top-level packages that are neither ours nor Python's."""
    for imported, for_types in imports(name):
        package = imported.partition(".")[0]
        if package != "job" and package not in sys.stdlib_module_names:
            yield Import(package, for_types)


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions and methods of a module."""
    for node in nodes(name):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring aside."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


# The line


def room_of(name: str) -> str:
    """Return the folder of a module, or its own name if it stands beside them."""
    return name.partition(".")[0]


def test_every_room_has_its_place() -> None:
    """Promise: a new folder is put into the order before it is used; a new file needs no edit."""
    assert {room_of(name) for name in FILES} <= words(ROOMS)


def test_imports_point_down() -> None:
    """Promise: the package can be read from top to bottom; no room imports from a higher one."""
    row_of = {word: n for n, row in enumerate(ROOMS.strip().splitlines()) for word in row.split()}

    def upwards(name: str) -> list[str]:
        own = room_of(name)
        others = [other for other in own_modules(name) if room_of(other) != own]
        return [other for other in others if row_of[room_of(other)] <= row_of[own]]

    assert offenders(upwards) == {}


def test_imports_make_no_circle() -> None:
    """Promise: within a room, too, there is an order in which to read."""
    left = {name: {*own_modules(name)} - {name} for name in FILES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_the_page_about_the_architecture_names_every_room() -> None:
    """Promise: whoever opens ARCHITECTURE.md and then the folder finds the one in the other."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rooms = {room_of(name) for name in FILES} - {"__main__", "__init__"}
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}(/|\.py)", page)] == []


def strangers(name: str) -> list[str]:
    """Return the packages that a module uses outside their fences."""
    return [
        package
        for package, for_types in third_party(name)
        if not for_types and room_of(name) not in FENCES.get(package, ())
    ]


def test_each_package_stays_behind_its_fence() -> None:
    """Promise: whoever replaces a third-party package finds all its uses in one room."""
    assert offenders(strangers) == {}


def test_the_fences_have_no_gates_that_nobody_uses() -> None:
    """Promise: the table of fences is no longer than it must be."""
    used: dict[str, set[str]] = {package: set() for package in FENCES}
    for name in FILES:
        for package, _ in third_party(name):
            used.setdefault(package, set()).add(room_of(name))
    spare = {package: FENCES[package] - used[package] for package in FENCES}
    assert {package: rooms for package, rooms in spare.items() if rooms} == {}


def test_what_is_imported_is_installed_with_the_program() -> None:
    """Promise: nothing that only the tests install is needed at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {text.split(">")[0].split("[")[0] for text in project["dependencies"]}
    needed = {
        package for name in FILES for package, for_types in third_party(name) if not for_types
    }
    assert {DISTRIBUTIONS.get(package, package) for package in needed} == declared


def is_pure(name: str) -> bool:
    """Tell whether a module says that it is pure; all of the core is, but for its clock."""
    told = "Pure" in (ast.get_docstring(tree_of(name)) or "")
    return told or (room_of(name) == "core" and name != "core.clock")


def impurities(name: str) -> list[str]:
    """Return what a pure module imports or calls that is not pure."""
    if not is_pure(name):
        return []
    used = {found for found, _ in imports(name)} | {found for found, _ in third_party(name)}
    impure = words(IMPURE_LIBRARY) | set(FENCES)
    called = {
        ast.unparse(node.func).rpartition(".")[2]
        for node in nodes(name)
        if isinstance(node, ast.Call)
    }
    loads = {one for one in used if one in impure or one.partition(".")[0] in impure}
    return sorted(loads | called & IMPURE_CALLS)


def test_pure_modules_are_pure() -> None:
    """Promise: no clock, chance, file, network or third-party package where decisions are made."""
    assert offenders(impurities) == {}


def uses_of_the_process(name: str) -> list[str]:
    """Return where a module reads or ends what belongs to the whole process."""
    if {name, room_of(name)} & OUTERMOST:
        return []
    touched = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for node in nodes(name)
        if isinstance(node, ast.Attribute)
        and (ast.unparse(node.value), node.attr) in OF_THE_PROCESS
    ]
    touched += [one for one, _ in imports(name) if tuple(one.split(".")) in OF_THE_PROCESS]
    raised = [
        f"{name}:{node.lineno}"
        for node in nodes(name)
        if isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node)
    ]
    return touched + raised


def test_only_the_command_line_touches_the_process() -> None:
    """Promise: environment, arguments and status are the business of the verbs and the handler."""
    assert offenders(uses_of_the_process) == {}


# Hidden state


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str, ast.expr]]:
    """Yield the names that a body binds at once: name, annotation, value."""
    for node in body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield ast.unparse(target), "", node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), ast.unparse(node.annotation), node.value


def is_mutable(value: ast.expr) -> bool:
    """Tell whether an expression makes something that can be changed."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in words(STATEFUL_CALLS)
    if isinstance(value, ast.BinOp):
        return is_mutable(value.left) or is_mutable(value.right)
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, displays)


def mutated(name: str) -> Iterator[str]:
    """Yield the names that some statement of a module changes in place."""
    for node in nodes(name):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield ast.unparse(node.value).rpartition(".")[2]
        elif isinstance(node, ast.AugAssign):
            yield ast.unparse(node.target).rpartition(".")[2]
        elif isinstance(node, ast.Attribute) and node.attr in words(MUTATORS):
            yield ast.unparse(node.value).rpartition(".")[2]


@functools.cache
def changed() -> set[str]:
    """Return the names that some statement of the package changes in place."""
    return {one for name in FILES for one in mutated(name)}


def state_of(name: str) -> list[str]:
    """Return the names of a module and its classes that hold what can change."""
    bodies = [tree_of(name).body]
    bodies += [node.body for node in nodes(name) if isinstance(node, ast.ClassDef)]
    return [
        bound
        for number, body in enumerate(bodies)
        for bound, annotation, value in assigned(body)
        # The fields of a class are its instances' own; a dataclass or Struct copies defaults.
        if is_mutable(value) and not (number and annotation and not bound.isupper())
        if isinstance(value, ast.Call) or not bound.isupper() or bound in changed()
    ]


def test_no_module_holds_state() -> None:
    """Promise: two jobs in one process, or two tests, share nothing that can change.

    A list, dict or set of a module or class is a table: its name is in capitals, and no statement
    of the package changes it. Locks, queues, counters and caches are state, whatever their name.
    """
    assert offenders(state_of) == {}


def globals_and_caches(name: str) -> list[str]:
    """Return the statements of a module that make or use what lasts as long as the process."""
    cached = {"cache", "lru_cache", "cached_property"}
    imported = [one for one, _ in imports(name) if one.rpartition(".")[2] in cached]
    return imported + [
        ast.unparse(node)
        for node in nodes(name)
        if isinstance(node, ast.Global) or (isinstance(node, ast.Attribute) and node.attr in cached)
    ]


def test_nothing_is_global_or_cached_for_ever() -> None:
    """Promise: what a function gives depends on what it takes."""
    assert offenders(globals_and_caches) == {}


# Size


def test_a_module_is_short_and_says_what_it_is() -> None:
    """Promise: every module fits a sitting, and its first line says what it is for."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}
    assert [name for name in FILES if not ast.get_docstring(tree_of(name))] == []


def test_functions_are_short() -> None:
    """Promise: half of all functions have at most 9 lines, and none has more than 40."""
    lengths = {
        f"{name}:{function.lineno} {function.name}": length(function)
        for name in FILES
        for function in functions(name)
    }
    worst = sorted(lengths.items(), key=lambda entry: -entry[1])[:5]
    assert max(lengths.values()) <= FUNCTION_LINES, worst
    assert statistics.median(lengths.values()) <= MEDIAN_LINES, worst


# What is loaded

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stdout)"
HEAVY = {
    *("apscheduler", "boto3", "botocore", "cryptography", "jwt", "logging", "requests", "rich"),
    *("ssl", "structlog"),
}


def loaded_by(code: str, *argv: str) -> set[str]:
    """Run code in a fresh interpreter; the top-level modules that it has loaded at the end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}", *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=ROOT,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_the_command_line_loads_nothing_heavy() -> None:
    """Promise: `--help` and every verb start light; each loads what it needs itself."""
    loaded = loaded_by("import job.cli")
    assert loaded & (HEAVY | {"msgspec"}) == set()
    assert {"job", "click"} <= loaded


@pytest.mark.slow
def test_once_with_nothing_due_loads_nothing_heavy(tmp_path: Path) -> None:
    """Promise: a cron job that finds a good token pays for no HTTP, AWS, scheduler or log."""
    (tmp_path / "secret").write_text("s3cret")
    config = tmp_path / "freshtoken.toml"
    config.write_text(
        '[tokens.t]\ntoken_url = "http://127.0.0.1:9/token"\nclient_id = "c"\n'
        'client_secret = { file = "secret" }\n'
        '[[tokens.t.sinks]]\ntype = "file"\npath = "t.json"\n'
    )
    store = """
import os, sys, tomllib
from job.compose.refreshers import sinks_of
from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.inventory.kinds import load
from job.core.clock import system_clock
from job.core.secret import Secret
from job.core.tokens import Token, record_of
config = load(sys.argv[1], {})
settings = config.tokens["t"]
(sink,) = sinks_of("t", settings, Tools({}, "host", system_clock))
now = int(system_clock().wall)
token = Token(Secret("tok"), "Bearer", "", now, now + 3600, "expires_in")
sink.write(record_of(token, key_of(settings)))
"""
    loaded_by(store, str(config))
    once = """
import sys
from job.cli import main
sys.argv[1:] = ["once", "--config", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""
    loaded = loaded_by(once, str(config))
    assert loaded & HEAVY == set()
    assert "msgspec" in loaded
    document = json.loads((tmp_path / "t.json").read_text())
    assert document["access_token"] == "tok"
    assert document["expires_at"] > time.time()
