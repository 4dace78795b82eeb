"""What keeps the package a line that can be read: import fences, no hidden state, size bars."""

import ast
import json
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "job"

ORDER = """
    __main__
    reader
    aws_lambda cli
    verbs.provider verbs.work
    verbs.common demo.command verbs.status_view
    verbs.forecast verbs.online verbs.providers verbs.starter verbs.status verbs.twice
    verbs.probe
    wiring.watch
    wire
    wiring.gates
    wiring.sources
    wiring.rehearsal
    wiring.client_proof
    wiring.credentials
    config
    config.environment config.presets
    config.shape
    config.checks
    config.watch_checks
    config.limit_checks config.request_checks
    config.client_checks
    config.settings
    config.secret_checks config.watch_settings
    config.secret_settings config.sink_settings
    config.values
    daemon once observe.hook_actions observe.metrics observe.page
    observe.hooks observe.http
    observe.board
    oauth.discovery rotation
    refresh
    transitions
    state
    schedule
    oauth.exchange
    oauth.assertion oauth.certificate oauth.client_auth oauth.introspection oauth.response
    oauth.request
    oauth.metadata oauth.transport
    oauth.expiry oauth.keys oauth.refusal
    oauth.answer
    aws_secrets sinks.file sinks.secrets_manager
    sinks.aws_errors sinks.secret_text
    sinks
    demo.view demo.server
    limits.throttle
    limits.budget_file observe.aside observe.log
    tokens
    events
    limits.turns secret verdict
    aws clock deadline errors pool process text
    __init__ oauth demo observe limits verbs wiring
"""
"""Top to bottom: a module imports from lower rows only, never from its own or a higher one."""

FENCES: dict[str, set[str]] = {
    "apscheduler": {"daemon"},
    "boto3": {"aws"},
    "botocore": {"aws"},
    "click": {"cli", "verbs.common", "verbs.provider", "verbs.work"},
    "cryptography": {"oauth.keys"},
    "jwt": {"oauth.assertion", "oauth.keys"},
    "msgspec": {
        "cli",
        "config",
        "config.secret_settings",
        "config.settings",
        "config.shape",
        "config.sink_settings",
        "config.values",
        "sinks.secret_text",
        "wire",
        "wiring.client_proof",
        "config.watch_settings",
        "wiring.watch",
    },
    "anyio": {"reader"},
    "httpx": {"reader"},
    "prometheus_client": {"observe.metrics"},
    "requests": {
        "oauth.client_auth",
        "oauth.exchange",
        "oauth.request",
        "oauth.transport",
        "reader",
        "verbs.twice",
    },
    "rich": {"demo.command", "demo.view", "verbs.status_view"},
    "structlog": {"observe.log"},
    "waitress": {"observe.http"},
    "urllib3": {"oauth.transport"},
}
"""Which modules may import which third-party package; no other package may be imported at all."""
DISTRIBUTIONS = {
    "botocore": "boto3",
    "cryptography": "pyjwt",
    "jwt": "pyjwt",
    "prometheus_client": "prometheus-client",
}
"""Which declared dependency brings a package that goes by another name."""
BROUGHT_ALONG = {"anyio", "httpx"}
"""What the caller of a function has already, or it would not call it."""

PURE = """
    errors events limits.turns oauth.answer oauth.expiry oauth.introspection oauth.metadata
    oauth.refusal oauth.response schedule state text tokens transitions verdict
    verbs.probe verbs.providers verbs.starter
"""
IMPURE_LIBRARY = """
    asyncio ctypes fcntl io logging os pathlib queue random resource secrets select shutil signal
    socket ssl subprocess sys tempfile threading time urllib.request
"""
IMPURE_CALLS = {"now", "today", "utcnow", "open", "print", "input"}

OUTERMOST = {"aws_lambda", "cli", "verbs.provider", "verbs.work"}
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
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def words(table: str) -> set[str]:
    """Read a table of names."""
    return set(table.split())


def imports(tree: ast.Module) -> Iterator[Import]:
    """Yield all imports of a module, those inside functions too."""
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node in typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module stands"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node in typing_only)


def own_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that a module imports."""
    for name, _ in imports(tree):
        if name.partition(".")[0] == "job":
            _, _, rest = name.partition(".")
            if rest in FILES:
                yield rest
            else:
                yield rest.rpartition(".")[0] or "__init__"


def third_party(tree: ast.Module) -> Iterator[Import]:
    """Yield the top-level packages that are neither ours nor Python's."""
    for name, for_types in imports(tree):
        package = name.partition(".")[0]
        if package != "job" and package not in sys.stdlib_module_names:
            yield Import(package, for_types)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring aside."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


# The line


def test_every_module_has_its_place() -> None:
    """Promise: a new module is put into the order before it is used."""
    assert sorted(ORDER.split()) == sorted(FILES)


def test_the_page_about_the_architecture_names_every_module() -> None:
    """Promise: whoever opens ARCHITECTURE.md and then the folder finds the one in the other."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    told = [path for path in FILES.values() if not path.name.startswith("__")]
    told = [path for path in told if path.parent.name != "demo"]
    assert [str(path) for path in told if path.name not in page] == []


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name: str) -> None:
    """Promise: the package can be read from top to bottom; nothing imports upwards."""
    row_of = {word: n for n, row in enumerate(ORDER.strip().splitlines()) for word in row.split()}
    upwards = [other for other in own_modules(TREES[name]) if row_of[other] <= row_of[name]]
    assert upwards == []


@pytest.mark.parametrize("name", FILES)
def test_each_package_stays_behind_its_fence(name: str) -> None:
    """Promise: whoever replaces a third-party package finds all its uses in one place."""
    strangers = [
        package
        for package, for_types in third_party(TREES[name])
        if not for_types and name not in FENCES.get(package, ())
    ]
    assert strangers == []


def test_the_fences_have_no_gates_that_nobody_uses() -> None:
    """Promise: the table of fences is no longer than it must be."""
    used: dict[str, set[str]] = {package: set() for package in FENCES}
    for name, tree in TREES.items():
        for package, _ in third_party(tree):
            used.setdefault(package, set()).add(name)
    spare = {package: FENCES[package] - used[package] for package in FENCES}
    assert {package: names for package, names in spare.items() if names - {"online"}} == {}


def test_what_is_imported_is_installed_with_the_program() -> None:
    """Promise: nothing that only the tests install is needed at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {text.split(">")[0].split("[")[0] for text in project["dependencies"]}
    needed = {
        package
        for tree in TREES.values()
        for package, for_types in third_party(tree)
        if not for_types
    }
    needed = {DISTRIBUTIONS.get(package, package) for package in needed} - BROUGHT_ALONG
    assert needed == declared


@pytest.mark.parametrize("name", sorted(words(PURE)))
def test_pure_modules_are_pure(name: str) -> None:
    """Promise: no clock, chance, file, network or third-party package where decisions are made."""
    tree = TREES[name]
    used = {found for found, _ in imports(tree)} | {f for f, _ in third_party(tree)}
    impure = words(IMPURE_LIBRARY) | set(FENCES)
    assert [one for one in used if one in impure or one.partition(".")[0] in impure] == []
    called = {
        ast.unparse(node.func).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert called & IMPURE_CALLS == set()


@pytest.mark.parametrize("name", sorted(FILES.keys() - OUTERMOST))
def test_only_the_command_line_touches_the_process(name: str) -> None:
    """Promise: environment, arguments and status are the business of the verbs and the handler."""
    touched = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute)
        and (ast.unparse(node.value), node.attr) in OF_THE_PROCESS
    ]
    touched += [one for one, _ in imports(TREES[name]) if tuple(one.split(".")) in OF_THE_PROCESS]
    raised = [
        f"{name}:{node.lineno}"
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node)
    ]
    assert touched + raised == []


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


def mutated(tree: ast.Module) -> Iterator[str]:
    """Yield the names that some statement of a module changes in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield ast.unparse(node.value).rpartition(".")[2]
        elif isinstance(node, ast.AugAssign):
            yield ast.unparse(node.target).rpartition(".")[2]
        elif isinstance(node, ast.Attribute) and node.attr in words(MUTATORS):
            yield ast.unparse(node.value).rpartition(".")[2]


@pytest.mark.parametrize("name", FILES)
def test_no_module_holds_state(name: str) -> None:
    """Promise: two jobs in one process, or two tests, share nothing that can change.

    A list, dict or set of a module or class is a table: its name is in capitals, and no statement
    of the package changes it. Locks, queues, counters and caches are state, whatever their name.
    """
    changed = {one for tree in TREES.values() for one in mutated(tree)}
    bodies = [TREES[name].body]
    bodies += [node.body for node in ast.walk(TREES[name]) if isinstance(node, ast.ClassDef)]
    state = [
        bound
        for number, body in enumerate(bodies)
        for bound, annotation, value in assigned(body)
        # The fields of a class are its instances' own; a dataclass or Struct copies defaults.
        if is_mutable(value) and not (number and annotation and not bound.isupper())
        if isinstance(value, ast.Call) or not bound.isupper() or bound in changed
    ]
    assert state == []


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_global_or_cached_for_ever(name: str) -> None:
    """Promise: what a function gives depends on what it takes."""
    statements = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Global)]
    cached = {"cache", "lru_cache", "cached_property"}
    caches = [one for one, _ in imports(TREES[name]) if one.rpartition(".")[2] in cached]
    caches += [
        ast.unparse(node)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and node.attr in cached
    ]
    assert (statements, caches) == ([], [])


# Size


@pytest.mark.parametrize("name", FILES)
def test_a_module_is_short_and_says_what_it_is(name: str) -> None:
    """Promise: every module fits a sitting, and its first line says what it is for."""
    lines = len(FILES[name].read_text("utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{name} has {lines} lines"
    assert ast.get_docstring(TREES[name]), f"{name} has no docstring"


def test_functions_are_short() -> None:
    """Promise: half of all functions have at most 9 lines, and none has more than 40."""
    lengths = {
        f"{name}:{function.lineno} {function.name}": length(function)
        for name, tree in TREES.items()
        for function in functions(tree)
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


def test_the_command_line_loads_nothing_heavy() -> None:
    """Promise: `--help` and every verb start light; each loads what it needs itself."""
    loaded = loaded_by("import job.cli")
    assert loaded & (HEAVY | {"msgspec"}) == set()
    assert {"job", "click"} <= loaded


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
from job import wire
from job.clock import system_clock
from job.config import load
from job.secret import Secret
from job.tokens import Token, record_of
config = load(sys.argv[1], {})
settings = config.tokens["t"]
(sink,) = wire.Wiring({}, "host", system_clock).sinks("t", settings, config.folder)
now = int(system_clock().wall)
token = Token(Secret("tok"), "Bearer", "", now, now + 3600, "expires_in")
sink.write(record_of(token, wire.key_of(settings)))
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
