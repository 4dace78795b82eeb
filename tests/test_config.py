"""From a file or the environment to settings, or to every problem at once."""

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import tokens_of

from job.config import Config
from job.config.presets import presets
from job.config.settings import CommonSettings, TokenSettings
from job.core.errors import ConfigError, Problem
from job.credentials.settings import SecretSettings
from job.inventory.kinds import load
from job.sinks.file import FileSinkSettings
from job.sinks.secrets_manager import SecretsManagerSinkSettings
from job.values import Duration, FilePath

HIDDEN = "hunter2hunter2"
FILE_SINK = {"type": "file", "path": "/run/one.json"}
ONE: Mapping[str, Any] = {
    "token_url": "https://as.example/token",
    "client_id": "id",
    "client_secret": {"env": "ONE_SECRET"},
    "sinks": [FILE_SINK],
}
FORMS = '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'
METHODS = (
    'one of "client_assertion", "client_secret_basic", "client_secret_jwt", "client_secret_post", '
    '"none", "private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"'
)
SINK_TEXT = "must be file:PATH or aws-secrets-manager:SECRET_ID, several with commas"

TEN_MISTAKES = """\
[defaults]
min_validty = "5m"
client_id = "shared"
timeout = "soon"

[tokens.tiki]
provider = "tikki"
client_id = 7590139168389961
client_secret = "hunter2hunter2"
refresh_at = 2
[[tokens.tiki.sinks]]
type = "file"
path = "tiki.json"
mode = 600

[tokens.partner]
token_url = "http://as.example/token"
client_id = "p"
client_secret = { env = "PARTNER_SECRET" }
scope = "a b"
[[tokens.partner.sinks]]
type = "file"
path = "./tiki.json"
[[tokens.partner.sinks]]
type = "s3"

[tokens.bare]
issuer = "http://as.example"
sinks = []
"""
TEN_PROBLEMS = (
    "defaults.min_validty: unknown key; did you mean min_validity?",
    "defaults.client_id: belongs to each token, not to all of them",
    "defaults.timeout: is not a duration; write 30s, 5m, 1h30m or a number of seconds",
    "tokens.tiki.refresh_at: must be a number over 0 and under 1",
    "tokens.tiki.client_id: must be text in quotes",
    f"tokens.tiki.client_secret: must say where the secret is, not hold it: {FORMS}",
    "tokens.tiki.sinks[1].mode: must be text in quotes",
    "tokens.tiki.provider: unknown; did you mean tiki?",
    "tokens.partner.scope: must be a list of texts in quotes",
    'tokens.partner.sinks[2].type: must be "file" or "aws_secrets_manager"',
    (
        "tokens.partner.token_url: sends the secret without TLS; use https://, "
        "or set allow_http = true"
    ),
    "tokens.bare.sinks: must be a list of one or more tables, such as [[tokens.bare.sinks]]",
    "tokens.bare.issuer: sends the secret without TLS; use https://, or set allow_http = true",
    "tokens.bare.client_id: is missing; it must be text in quotes",
    f"tokens.bare.client_secret: is missing; it must be {FORMS}",
    "tokens.partner.sinks[1]: is the same place as tokens.tiki.sinks[1]; give each its own",
    (
        "tokens.partner.client_secret.env: PARTNER_SECRET is not set; "
        "set it for this process, or use { file = ... }"
    ),
)


def problems_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong with a parsed file."""
    with pytest.raises(ConfigError) as caught:
        tokens_of(raw)
    return caught.value.problems


def variables(**named: str) -> dict[str, str]:
    """Return an environment that describes a token, with more FRESHTOKEN_ variables."""
    base = {"TOKEN_URL": "https://as.example/t", "CLIENT_ID": "id", "SINK": "file:/run/t.json"}
    return {f"FRESHTOKEN_{name}": value for name, value in (base | named).items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# A file


def test_every_mistake_is_told_at_once_with_place_and_cure(folder: Path) -> None:
    """Many mistakes give one error with a line for each, and never a secret's value."""
    (folder / "many.toml").write_text(TEN_MISTAKES)
    with pytest.raises(ConfigError) as caught:
        load("many.toml", {}, with_secrets=True)
    assert caught.value.problems == TEN_PROBLEMS
    assert caught.value.origin == "many.toml"
    assert (caught.value.exit_code, caught.value.retryable) == (78, False)
    assert HIDDEN not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["many.toml"]


def test_a_right_file_gives_settings_folder_and_origin(folder: Path) -> None:
    """Settings hold what the file says, and relative paths start at the file's folder."""
    (folder / "conf").mkdir()
    (folder / "conf" / "my.toml").write_text(
        '[tokens.one]\ntoken_url = "https://as.example/token"\nclient_id = "id"\n'
        'client_secret = { env = "ONE_SECRET" }\n'
        '[[tokens.one.sinks]]\ntype = "file"\npath = "one.json"\n'
    )
    expected = TokenSettings(
        token_url="https://as.example/token",
        client_id="id",
        client_secret=SecretSettings(env="ONE_SECRET"),
        sinks=(FileSinkSettings(path=FilePath(folder / "conf" / "one.json")),),
    )
    loaded = load("conf/my.toml", {})
    assert loaded == Config({"one": expected}, "conf/my.toml")


def test_the_secrets_variable_matters_only_where_the_secret_does(folder: Path) -> None:
    """Reading a status needs no secret; refreshing does, and an empty variable is none."""
    (folder / "freshtoken.toml").write_text(
        '[tokens.a]\nprovider = "tiki"\nclient_id = "id"\nclient_secret = { env = "A_SECRET" }\n'
        '[[tokens.a.sinks]]\ntype = "file"\npath = "a.json"\n'
    )
    assert list(load(None, {}).tokens) == ["a"]
    assert list(load(None, {"A_SECRET": "s3cret"}, with_secrets=True).tokens) == ["a"]
    with pytest.raises(ConfigError, match="A_SECRET is not set"):
        load(None, {"A_SECRET": ""}, with_secrets=True)


def test_the_order_in_which_a_configuration_is_found(folder: Path) -> None:
    """A named file comes first, then FRESHTOKEN_CONFIG, ./freshtoken.toml, the environment."""
    text = '[tokens.{}]\nprovider = "tiki"\nclient_id = "id"\nclient_secret = {{ env = "S" }}\n'
    text += '[[tokens.{}.sinks]]\ntype = "file"\npath = "x.json"\n'
    for name in ("named", "variable", "freshtoken"):
        (folder / f"{name}.toml").write_text(text.format(name, name))
    environ = variables(CONFIG="variable.toml", NAME="environment")
    assert list(load("named.toml", environ).tokens) == ["named"]
    assert list(load(None, environ).tokens) == ["variable"]
    assert list(load(None, environ | {"FRESHTOKEN_CONFIG": ""}).tokens) == ["freshtoken"]
    (folder / "freshtoken.toml").unlink()
    assert list(load(None, environ | {"FRESHTOKEN_CONFIG": ""}).tokens) == ["environment"]


def test_no_configuration_at_all_says_how_to_begin(folder: Path) -> None:
    """Without any configuration the cure is named: init, or --config."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"FRESHTOKEN_CLIENT_SECRET": HIDDEN, "FRESHTOKEN_CLIENT_ID": ""})
    assert caught.value.problems == (
        (
            "no configuration: neither freshtoken.toml nor /etc/freshtoken/freshtoken.toml is "
            "there, nor is FRESHTOKEN_CLIENT_ID set; write one with `freshtoken init`, "
            "or name one with --config"
        ),
    )
    assert caught.value.origin == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory); check the path and its permissions, "),
        (b"client_secret = hunter2hunter2", "is not TOML: Invalid value (at line 1, column 17)"),
        (b"a = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
        (b"a = " + b"[" * 5000, "is not TOML: maximum recursion depth exceeded"),
        (b'a = "hunter2hunter2 \xff"', "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem(
    folder: Path, content: bytes | None, problem: str
) -> None:
    """A file that can't be read or parsed is told by its name, and its content is not shown."""
    if content is not None:
        (folder / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load("x.toml", {})
    assert caught.value.problems[0].startswith(f"x.toml: {problem}")
    assert len(caught.value.problems) == 1
    assert HIDDEN not in str(caught.value)


# Settings


def test_defaults_give_way_to_the_preset_and_both_to_the_token() -> None:
    """A default gives way to the preset, and that to the token's own key, key by key."""
    raw: dict[str, Any] = {
        "defaults": {"min_validity": "1m", "auth_method": "client_secret_post", "timeout": "9s"},
        "tokens": {
            "preset": {**ONE, "provider": "tiki"},
            "own": {**ONE, "timeout": "3s", "sinks": [{"type": "file", "path": "own.json"}]},
        },
    }
    del raw["tokens"]["preset"]["token_url"]
    tokens = tokens_of(raw)
    found = {
        name: (token.token_url, token.auth_method, token.min_validity, token.timeout)
        for name, token in tokens.items()
    }
    assert found == {
        "preset": ("https://api.tiki.vn/sc/oauth2/token", "client_secret_basic", 60.0, 9.0),
        "own": ("https://as.example/token", "client_secret_post", 60.0, 3.0),
    }


def test_a_provider_may_be_a_default() -> None:
    """One provider for all tokens is named once."""
    token = {key: value for key, value in ONE.items() if key != "token_url"}
    tokens = tokens_of({"defaults": {"provider": "ebay"}, "tokens": {"one": token}})
    assert tokens["one"].token_url == presets()["ebay"].settings["token_url"]


@pytest.mark.parametrize("more", [{}, {"auth_method": "client_secret_post"}])
def test_the_tiki_preset_needs_id_secret_and_sink_only(more: dict[str, str]) -> None:
    """Tiki needs nothing else, and its other authentication method is one key."""
    token = {"provider": "tiki", "client_id": "1", "client_secret": {"file": "s"}}
    tiki = tokens_of({"tokens": {"tiki": {**token, "sinks": [FILE_SINK], **more}}})["tiki"]
    assert tiki.token_url == "https://api.tiki.vn/sc/oauth2/token"
    assert tiki.auth_method == more.get("auth_method", "client_secret_basic")


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        ({}, ("tokens: there is none; add one, such as [tokens.tiki]",)),
        ({"tokens": 1, "defaults": []}, ("defaults: must be a table", "tokens: must be a table")),
        (
            {"tokens": {"one": ONE}, "token": {}},
            ("token: unknown key; did you mean tokens?",),
        ),
        (
            {"tokens": {"one": ONE}, "zzz\n": 1},
            ('"zzz\\n": unknown key; see `freshtoken schema`',),
        ),
        (
            {"tokens": {"one": 5}},
            (
                "tokens.one: must be a table, such as [tokens.one]",
                (
                    "tokens.one.token_url: is missing; give it, an issuer, or a provider "
                    "(`freshtoken providers`)"
                ),
            ),
        ),
        (
            {"tokens": {"one": {**ONE, "token_url": 5}}},
            ("tokens.one.token_url: must be text in quotes",),
        ),
        (
            {"tokens": {"a b": {**ONE, "scop": []}}},
            (
                'tokens."a b".scop: unknown key; did you mean scope?',
                'tokens."a b": a name has letters, digits and . _ - only',
            ),
        ),
        (
            {"defaults": {"jitter": 0.4, "refresh_at": 0.3}, "tokens": {"one": ONE, "b": ONE}},
            (
                "defaults.jitter: must be less than refresh_at",
                "tokens.b.sinks[1]: is the same place as tokens.one.sinks[1]; give each its own",
            ),
        ),
        (
            {"tokens": {"one": {**ONE, "client_secret": {"env": 1, "aws_sceret": "x"}}}},
            (
                "tokens.one.client_secret.aws_sceret: unknown key; did you mean aws_secret?",
                "tokens.one.client_secret.env: must be text in quotes",
            ),
        ),
        (
            {"tokens": {"one": {**ONE, "sinks": ["x", {"type": "file"}, FILE_SINK]}}},
            (
                'tokens.one.sinks[1].type: must be "file" or "aws_secrets_manager"',
                "tokens.one.sinks[2].path: is missing; it must be text in quotes",
            ),
        ),
        (
            {"tokens": {"one": {**ONE, "headers": {"a": 1}, "jwt_expiry": 1, "max_age": [1]}}},
            (
                "tokens.one.headers: must be a table of texts in quotes",
                "tokens.one.max_age: must be text in quotes or a number",
                "tokens.one.jwt_expiry: must be true or false",
            ),
        ),
        (
            {"tokens": {"one": {**ONE, "auth_method": "password", "jitter": -1}}},
            (
                f"tokens.one.auth_method: must be {METHODS}",
                "tokens.one.jitter: must be a number at least 0 and at most 0.5",
            ),
        ),
    ],
)
def test_each_kind_of_mistake_has_its_line(
    raw: Mapping[str, Any], problems: tuple[str, ...]
) -> None:
    """A mistake is told once, at its place as TOML writes it, with what to do."""
    assert problems_of(raw) == problems


def test_a_secrets_variable_is_named_only_if_its_name_can_be_no_secret() -> None:
    """A secret that was put where a name belongs does not get into the message."""
    with pytest.raises(ConfigError) as caught:
        tokens_of({"tokens": {"one": {**ONE, "client_secret": {"env": HIDDEN}}}}, "", {})
    assert caught.value.problems == (
        (
            "tokens.one.client_secret.env: the variable named here is not set; "
            "set it for this process, or use { file = ... }"
        ),
    )


def test_a_problem_reads_as_place_and_text() -> None:
    """A problem is shown as its place, a colon and its text."""
    assert str(Problem("tokens.one.path", "is missing")) == "tokens.one.path: is missing"


# Anything that TOML can hold


def keys_of(*kinds: type) -> st.SearchStrategy[str]:
    """Give keys that are right for these tables, and some that are not."""
    names = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
    return st.sampled_from(sorted({*names, "type", "issuer", "nonsense"}))


telling = ("file", "aws_secrets_manager", "tiki", "5m", "https://as.example/t", "{", "template")
leaves = st.one_of(
    *(st.just(HIDDEN), st.sampled_from(telling), st.text(max_size=4), st.integers()),
    *(st.floats(), st.booleans(), st.dates(), st.times(), st.datetimes()),
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
sinks = st.dictionaries(keys_of(FileSinkSettings, SecretsManagerSinkSettings), anything)
secrets = st.dictionaries(keys_of(SecretSettings), anything, max_size=2)
tables = st.builds(
    lambda table, sinks, secret: {**ONE, **table, "sinks": sinks, "client_secret": secret},
    st.dictionaries(keys_of(TokenSettings), anything, max_size=4),
    st.lists(sinks | anything, max_size=2) | anything,
    secrets | anything,
)
files = st.fixed_dictionaries(
    {"tokens": st.dictionaries(st.text(max_size=3), tables | anything, max_size=2) | anything},
    optional={
        "defaults": st.dictionaries(keys_of(CommonSettings), anything, max_size=4) | anything,
        "other": anything,
    },
)


@settings(database=None, deadline=None, max_examples=100)
@given(files)
@pytest.mark.slow
def test_whatever_a_file_holds_gives_settings_or_problems(raw: Mapping[str, Any]) -> None:
    """No content of a file crashes, and no value of it is repeated in a message."""
    problems: tuple[str, ...] = ()
    tokens: Mapping[str, TokenSettings] = {}
    try:
        tokens = tokens_of(raw, "/etc", {})
    except ConfigError as error:
        problems = error.problems
    assert bool(problems) != bool(tokens)
    assert all(isinstance(token, TokenSettings) for token in tokens.values())
    assert HIDDEN not in "".join(problems)


def test_dates_are_no_texts() -> None:
    """A date, which only TOML has, is a mistake like any other type."""
    assert problems_of({"tokens": {"one": {**ONE, "audience": dt.date(2026, 1, 1)}}}) == (
        "tokens.one.audience: must be text in quotes",
    )


# The environment


def test_the_environment_describes_one_token_named_default(folder: Path) -> None:
    """Every variable of the contract stands for its key."""
    environ = variables(
        PROVIDER="tiki",
        AUTH_METHOD="client_secret_post",
        SCOPE="a b",
        AUDIENCE="aud",
        MIN_VALIDITY="90",
        SINK="file:/run/t.env, aws-secrets-manager:arn:aws:x:y",
        FORMAT="env",
        CLIENT_SECRET="s3cret",
    )
    expected = TokenSettings(
        provider="tiki",
        token_url="https://as.example/t",
        client_id="id",
        client_secret=SecretSettings(env="FRESHTOKEN_CLIENT_SECRET"),
        auth_method="client_secret_post",
        scope=("a", "b"),
        audience="aud",
        min_validity=Duration("90"),
        sinks=(
            FileSinkSettings(path=FilePath("/run/t.env"), format="env"),
            SecretsManagerSinkSettings(secret_id="arn:aws:x:y", format="env"),
        ),
    )
    loaded = load(None, environ, with_secrets=True)
    assert loaded == Config({"default": expected}, "the environment")


def test_the_environment_names_the_token_and_the_secrets_file(folder: Path) -> None:
    """FRESHTOKEN_NAME names the token; the secret's file wins over its variable."""
    environ = variables(NAME="tiki", CLIENT_SECRET="s3cret", CLIENT_SECRET_FILE="/run/secret")
    tokens = load(None, environ, with_secrets=True).tokens
    assert {name: token.client_secret for name, token in tokens.items()} == {
        "tiki": SecretSettings(file=FilePath("/run/secret"))
    }


def test_the_environment_fills_in_a_provider(folder: Path) -> None:
    """What is the user's own of a preset comes in pairs."""
    environ = variables(
        PROVIDER="keycloak", PROVIDER_PARAMS="host=sso.example:8443  realm=acme", TOKEN_URL=""
    )
    assert load(None, environ).tokens["default"].token_url == (
        "https://sso.example:8443/realms/acme/protocol/openid-connect/token"
    )
    told = load_problems(variables(PROVIDER="keycloak", PROVIDER_PARAMS="host", TOKEN_URL=""))
    assert [problem.partition(": is missing")[0] for problem in told] == [
        "FRESHTOKEN_PROVIDER_PARAMS",
        "FRESHTOKEN_PROVIDER_PARAMS",
    ]


def load_problems(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the configuration of the environment gets told."""
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    return caught.value.problems


def test_a_service_that_is_injected_as_variables_is_no_mistake(folder: Path) -> None:
    """Variables of a service named freshtoken, as Kubernetes sets them, are left alone."""
    injected = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "1", "PORT": "tcp://10.0.0.1:1"}
    injected |= {"PORT_9464_TCP": "tcp://10.0.0.1:1", "PORT_9464_TCP_PROTO": "tcp"}
    assert list(load(None, variables(**injected)).tokens) == ["default"]


def test_problems_of_the_environment_name_the_variable(folder: Path) -> None:
    """Whoever configures by variables reads variables, not keys of a file."""
    environ = {
        "FRESHTOKEN_ISSUER": "https://as.example?a=b",
        "FRESHTOKEN_AUTH_METHOD": "password",
        "FRESHTOKEN_SINK": "file:, s3:x, file:/a, file:/a",
        "FRESHTOKEN_SCOPES": "a",
        "FRESHTOKEN_SCOPE": 'a "b',
        "FRESHTOKEN_FORMAT": "template",
        "FRESHTOKEN_NAME": "a b: c",
        "FRESHTOKEN_MIN_VALIDITY": HIDDEN,
    }
    with pytest.raises(ConfigError) as caught:
        load(None, environ, with_secrets=True)
    assert caught.value.origin == "the environment"
    assert caught.value.problems == (
        f"FRESHTOKEN_AUTH_METHOD: must be {METHODS}",
        "FRESHTOKEN_MIN_VALIDITY: is not a duration; write 30s, 5m, 1h30m or a number of seconds",
        f"FRESHTOKEN_SINK: {SINK_TEXT}",
        "FRESHTOKEN_NAME: a name has letters, digits and . _ - only",
        "FRESHTOKEN_ISSUER: must not have a query (RFC 8414 section 2)",
        "FRESHTOKEN_CLIENT_ID: is missing",
        "FRESHTOKEN_SCOPE: one scope for each text, without spaces, quotes or backslashes",
        "FRESHTOKEN_FORMAT: must be json, raw, header or env",
        "FRESHTOKEN_SINK: names one place twice",
        "FRESHTOKEN_CLIENT_SECRET: is not set; set it, or FRESHTOKEN_CLIENT_SECRET_FILE",
        "FRESHTOKEN_SCOPES: unknown variable; did you mean FRESHTOKEN_SCOPE?",
    )


def test_a_variable_holds_text(folder: Path) -> None:
    """Bytes that are no UTF-8 could not be logged or hashed: they are a mistake."""
    with pytest.raises(ConfigError) as caught:
        load(None, variables(AUDIENCE=os.fsdecode(b"\xff")) | {"OTHER": os.fsdecode(b"\xff")})
    assert caught.value.problems == ("FRESHTOKEN_AUDIENCE: is not UTF-8 text",)


def test_a_client_without_a_secret_needs_no_variable_for_one(folder: Path) -> None:
    """`none` needs a client id alone; what only a file can say is told to be so."""
    loaded = load(None, variables(AUTH_METHOD="none"), with_secrets=True)
    assert loaded.tokens["default"].client_secret is None
    with pytest.raises(ConfigError) as caught:
        load(None, variables(AUTH_METHOD="tls_client_auth"), with_secrets=True)
    needs_a_file = "such a client needs a file; see `freshtoken init`"
    assert caught.value.problems == (f"FRESHTOKEN_AUTH_METHOD: {needs_a_file}",)


def test_a_provider_without_secrets_takes_none_from_the_environment(folder: Path) -> None:
    """A client secret in a variable is no use to a provider that wants a key, and that is told."""
    environ = variables(PROVIDER="github-app", PROVIDER_PARAMS="installation_id=1")
    del environ["FRESHTOKEN_TOKEN_URL"]
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    (problem,) = caught.value.problems
    assert problem.startswith("FRESHTOKEN_CLIENT_SECRET: goes with auth_method = ")


def test_the_environment_needs_a_sink(folder: Path) -> None:
    """A token without a sink is a mistake of FRESHTOKEN_SINK."""
    with pytest.raises(ConfigError) as caught:
        load(None, variables(SINK=" , "))
    assert caught.value.problems == (f"FRESHTOKEN_SINK: {SINK_TEXT}",)
