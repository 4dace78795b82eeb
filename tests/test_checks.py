"""What types can't tell about settings: each rule with its key and its cure."""

from typing import Any

import pytest

from job.config import checks
from job.config.settings import CommonSettings, TokenSettings
from job.config.shape import Cleaner
from job.core.errors import Problem
from job.credentials.settings import SecretSettings
from job.sinks.file import FileSinkSettings
from job.sinks.kinds import AnySinkSettings
from job.sinks.secrets_manager import SecretsManagerSinkSettings

PROVIDERS = {"tiki": 1, "twitch": 2, "ebay": 3}
FILE = FileSinkSettings(path="/run/one.json")
OTHER_FILE = FileSinkSettings(path="/run/other.json")
SECRET = SecretsManagerSinkSettings(secret_id="prod/one")
DURATION = "is not a duration; write 30s, 5m, 1h30m or a number of seconds"
SCOPE = "one scope for each text, without spaces, quotes or backslashes"
URL = "must be a URL: https:// and a host, without spaces"
TLS = "sends the secret without TLS; use https://, or set allow_http = true"
NO_URL = "is missing; give it, an issuer, or a provider (`freshtoken providers`)"
NAME = "a name has letters, digits and . _ - only"
ONE_SOURCE = "needs exactly one of env, file, credential, command, aws_secret and aws_parameter"
TEMPLATE = 'goes with format = "template", and only with it'


def token(**keys: Any) -> TokenSettings:  # noqa: ANN401  # settings are of many types
    """Make the settings of a token that is right but for these keys."""
    right: dict[str, Any] = {
        "token_url": "https://as.example/token",
        "client_id": "id",
        "client_secret": SecretSettings(env="ONE_SECRET"),
        "sinks": (FILE,),
    }
    return TokenSettings(**right | keys)


def found(name: str = "one", **keys: Any) -> list[tuple[str, str]]:  # noqa: ANN401  # as above
    """Return what is wrong with such a token."""
    return list(checks.of_token(name, token(**keys), PROVIDERS))


def of_sink(sink: AnySinkSettings) -> list[tuple[str, str]]:
    """Return what is wrong with a sink, without its place."""
    return [(key.removeprefix("sinks[1]."), text) for key, text in found(sinks=(sink,))]


@pytest.mark.parametrize("name", ["one", "0.a_b-C", "a"])
def test_a_token_that_is_right_has_no_problem(name: str) -> None:
    """Settings that are right, with names of every kind that is allowed, yield nothing."""
    assert found(name) == []


@pytest.mark.parametrize("name", ["", "a b", "-a", ".a", "ä", "a/b", "a\n"])
def test_a_name_can_stand_in_a_path_and_a_log_line(name: str) -> None:
    """Names that a shell, a path or a metric would trip over are refused."""
    assert found(name) == [("", NAME)]


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"provider": "tiki"}, []),
        ({"provider": "twich"}, [("provider", "unknown; did you mean twitch?")]),
        ({"provider": "zz"}, [("provider", "unknown; `freshtoken providers` lists them")]),
        (
            {"provider": "zz", "token_url": None},
            [("provider", "unknown; `freshtoken providers` lists them")],
        ),
        ({"refresh_at": 0.3, "jitter": 0.3}, [("jitter", "must be less than refresh_at")]),
    ],
)  # fmt: skip
def test_rules_of_the_schedule(keys: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Providers are known, and jitter leaves something of the life."""
    assert found(**keys) == problems


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"timeout": "0s"}, [("timeout", "must be at least 0.1s")]),
        ({"lifetime": "0.5s"}, [("lifetime", "must be at least 1s")]),
        ({"default_lifetime": 0, "max_age": 0}, [("max_age", "must be at least 1s"),
                                                 ("default_lifetime", "must be at least 1s")]),
        ({"fresh_window": "x"}, [("fresh_window", DURATION)]),
        ({"min_validity": 0, "retry_budget": 0, "min_interval": 0}, []),
        ({"max_age": "8d", "fresh_window": "5m", "lifetime": "1h"}, []),
    ],
)  # fmt: skip
def test_durations_have_bounds(keys: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Durations are durations, and a life is never zero."""
    cleaner = Cleaner()
    cleaner.table(keys, CommonSettings, "one")
    assert cleaner.problems == [Problem(f"one.{key}", text) for key, text in problems]


@pytest.mark.parametrize(
    ("url", "problems"),
    [
        ("https://as.example:8443/a/token?tenant=1", []),
        ("http://localhost:8080/token", []),
        ("http://127.9.9.9/token", []),
        ("http://[::1]:80/token", []),
        ("http://as.example/token", [TLS]),
        ("http://127.0.0.1.as.example/token", [TLS]),
        ("http://localhost.as.example/token", [TLS]),
        ("ftp://as.example/token", [URL]),
        ("as.example/token", [URL]),
        ("https://", [URL]),
        ("https:///token", [URL]),
        ("https://as.example:port/", [URL]),
        ("https://as.example:99999/", [URL]),
        ("https://[::1/token", [URL]),
        ("https://as .example/token", [URL]),
        ("https://as.example/token\n", [URL]),
        ("", [URL]),
        (None, [NO_URL]),
        ("https://as.example/#x", ["must not have a fragment (RFC 6749 section 3.2)"]),
        (
            "https://hunter2@as.example/",
            ["must not hold a user or password; they go to client_id and secret"],
        ),
        (
            "https://:hunter2@as.example/",
            ["must not hold a user or password; they go to client_id and secret"],
        ),
    ],
)
def test_rules_of_the_token_url(url: str | None, problems: list[str]) -> None:
    """The secret goes to a whole https URL only, or to this very machine."""
    assert found(token_url=url) == [("token_url", problem) for problem in problems]


def test_plain_http_can_be_allowed() -> None:
    """Whoever has TLS elsewhere says so."""
    assert found(token_url="http://as.example/token", allow_http=True) == []


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"client_id": " "}, [("client_id", "is empty")]),
        ({"client_secret": SecretSettings()}, [("client_secret", ONE_SOURCE)]),
        ({"client_secret": SecretSettings(env="")}, [("client_secret", ONE_SOURCE)]),
        (
            {"client_secret": SecretSettings(env="A", file="b")},
            [("client_secret", ONE_SOURCE)],
        ),
        ({"client_secret": SecretSettings(command=())}, [("client_secret", ONE_SOURCE)]),
        ({"client_secret": SecretSettings(command=("pass", "x"))}, []),
        ({"scope": ("a", "urn:x:y", "https://a/b.c")}, []),
        ({"scope": ("a b", 'a"', "a\\", "")}, [("scope", SCOPE)] * 4),
        ({"extra_params": {"organization": "x"}}, []),
        (
            {"extra_params": {"client_secret": "hunter2", "scope": "x"}},
            [
                ("extra_params.client_secret", "has a key of its own, or is set by freshtoken"),
                ("extra_params.scope", "has a key of its own, or is set by freshtoken"),
            ],
        ),
        ({"headers": {"User-Agent": "job/1", "x-merchant-id": "7"}}, []),
        (
            {"headers": {"AUTHORIZATION": "hunter2"}},
            [
                (
                    "headers.AUTHORIZATION",
                    "is made from client_id and client_secret by auth_method",
                )
            ],
        ),
        ({"headers": {"a b": "x"}}, [("headers.a b", "is not a header")]),
        ({"headers": {"a": "x\r\ny: z"}}, [("headers.a", "is not a header")]),
        ({"headers": {"a": "ä"}}, [("headers.a", "is not a header")]),
        ({"proxy": "http://user:hunter2@proxy.example:3128"}, []),
        ({"proxy": ""}, []),
        (
            {"proxy": "proxy.example:3128"},
            [("proxy", "must be a URL, such as http://proxy.example:3128; empty for none")],
        ),
    ],
)
def test_rules_of_the_request(keys: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """What can't be sent, or would be sent twice, is found before anything is sent."""
    assert found(**keys) == problems
    assert "hunter2" not in str(problems)


@pytest.mark.parametrize(
    ("sink", "problems"),
    [
        (FileSinkSettings(path=""), [("path", "must name a file")]),
        (FileSinkSettings(path="/run/"), [("path", "must name a file")]),
        (FileSinkSettings(path="a", mode="0640"), []),
        (FileSinkSettings(path="a", mode="640"), []),
        *(
            (
                FileSinkSettings(path="a", mode=mode),
                [("mode", 'must be permission bits in octal, such as "0640"')],
            )
            for mode in ("0680", "4755", "rw", "", "0o600")
        ),
        (SecretsManagerSinkSettings(secret_id=""), [("secret_id", "is empty")]),
        (
            SecretsManagerSinkSettings(secret_id="s", json_key=""),
            [("json_key", "is empty; leave it out to keep the whole secret")],
        ),
        (
            SecretsManagerSinkSettings(secret_id="s", endpoint_url="localhost:4566"),
            [("endpoint_url", "must be a URL: https:// and a host")],
        ),
        (
            SecretsManagerSinkSettings(
                secret_id="s", json_key="token", endpoint_url="http://127.0.0.1:4566"
            ),
            [],
        ),
        (FileSinkSettings(path="a", format="template"), [("template", TEMPLATE)]),
        (FileSinkSettings(path="a", template="{access_token}"), [("template", TEMPLATE)]),
        (
            FileSinkSettings(path="a", format="template", template="T={access_token}\n"),
            [],
        ),
        (
            SecretsManagerSinkSettings(secret_id="s", format="template", template="{scope}"),
            [("template", "lacks {access_token}")],
        ),
        (
            FileSinkSettings(path="a", format="template", template="{access_token} {expiry}"),
            [
                (
                    "template",
                    (
                        "unknown field {expiry}; known are access_token, token_type, expires_at, "
                        "obtained_at, scope, name"
                    ),
                )
            ],
        ),
        (
            FileSinkSettings(path="a", format="template", template='{"t": "{access_token}"'),
            [("template", "has an unmatched brace; write {{ and }} for braces")],
        ),
    ],
)
def test_rules_of_a_sink(sink: AnySinkSettings, problems: list[tuple[str, str]]) -> None:
    """A sink that could not be written as it is meant is found before a token is minted."""
    assert of_sink(sink) == problems


def secret(name: str = "s", **keys: str) -> SecretsManagerSinkSettings:
    """Make a sink in AWS."""
    return SecretsManagerSinkSettings(secret_id=name, **keys)  # type: ignore[arg-type]  # texts only


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (
            FileSinkSettings(path="/etc/job/a.json"),
            FileSinkSettings(path="/etc/job/./x/../a.json"),
            True,
        ),
        (
            FileSinkSettings(path="/etc/job/a.json"),
            FileSinkSettings(path="/etc/job/a.json"),
            True,
        ),
        (
            FileSinkSettings(path="a.json"),
            FileSinkSettings(path="b.json"),
            False,
        ),
        (FileSinkSettings(path="s"), secret(), False),
        (secret(), secret(), True),
        (secret(), secret("t"), False),
        (secret(), secret(region="eu-west-1"), False),
        (secret(profile="a"), secret(profile="b"), False),
        (secret(json_key="a"), secret(json_key="b"), False),
        (secret(json_key="a"), secret(json_key="a"), True),
        (secret(), secret(json_key="b"), True),
        (secret(json_key="a"), secret(), True),
    ],
)
def test_two_tokens_never_share_a_place(
    first: AnySinkSettings, second: AnySinkSettings, *, same: bool
) -> None:
    """Sinks that would overwrite each other are found, however their places are written."""
    tokens = {"one": token(sinks=(first,)), "t.o": token(sinks=(secret("else"), second))}
    expected = [
        ('tokens."t.o".sinks[2]', "is the same place as tokens.one.sinks[1]; give each its own")
    ]
    assert list(checks.of_places(tokens)) == (expected if same else [])


def test_a_place_that_three_share_is_told_twice() -> None:
    """Each sink but the first is told, so that one look at the list is enough."""
    sinks = (secret(json_key="a"), secret(json_key="b"), secret())
    text = "is the same place as tokens.one.sinks[1]; give each its own"
    assert list(checks.of_places({"one": token(sinks=(FILE, FILE, FILE))})) == [
        ("tokens.one.sinks[2]", text),
        ("tokens.one.sinks[3]", text),
    ]
    assert list(checks.of_places({"one": token(sinks=sinks)})) == [("tokens.one.sinks[3]", text)]


def test_secrets_of_the_environment_are_there() -> None:
    """A variable that is to hold a client secret must be set, and not be empty."""
    tokens = {
        "set": token(client_secret=SecretSettings(env="A_SECRET")),
        "empty": token(client_secret=SecretSettings(env="B_SECRET")),
        "pasted": token(client_secret=SecretSettings(env="aGVsbG8tc2VjcmV0")),
        "file": token(client_secret=SecretSettings(file="/run/secret")),
        "one of two": token(client_secret=(SecretSettings(env="C_S"), SecretSettings(file="s"))),
        "both": token(client_secret=(SecretSettings(env="C_S"), SecretSettings(env="D_S"))),
    }
    cure = "not set; set it for this process, or use { file = ... }"
    assert list(checks.of_environment(tokens, {"A_SECRET": "s3cret", "B_SECRET": ""})) == [
        ("tokens.empty.client_secret.env", f"B_SECRET is {cure}"),
        ("tokens.pasted.client_secret.env", f"the variable named here is {cure}"),
        ("tokens.both.client_secret[1].env", f"C_S is {cure}"),
        ("tokens.both.client_secret[2].env", f"D_S is {cure}"),
    ]


@pytest.mark.parametrize(
    ("key", "table", "place"),
    [
        ("one", "tokens", "tokens.one"),
        ("one", "", "one"),
        ("a.b", "tokens", 'tokens."a.b"'),
        ('a"\n\0ä', "x", 'x."a\\"\\n\\u0000ä"'),
        ("\x7f\x9b", "x", 'x."\\u007f\\u009b"'),
    ],
)
def test_a_place_is_written_as_in_toml(key: str, table: str, place: str) -> None:
    """The place of a problem can be searched for in the file, and is one line."""
    assert checks.place_of(key, table) == place


@pytest.mark.fault("revoking-provider-many-hosts")
@pytest.mark.parametrize(
    ("sinks", "single_writer", "is_refused"),
    [
        ((SECRET,), False, True),
        ((FILE, SECRET), False, True),
        ((FILE,), False, False),
        ((FILE, OTHER_FILE), False, False),
        ((SECRET,), True, False),
        ((FILE, SECRET), True, False),
    ],
)
def test_a_token_that_kills_the_one_before_has_one_writer(
    sinks: tuple[AnySinkSettings, ...], *, single_writer: bool, is_refused: bool
) -> None:
    """Where hosts could race for such a token, the operator has to say that there is one host."""
    keys = {"sinks": sinks, "single_writer": single_writer}
    problems = found(**keys, reissue="revokes_previous")
    assert [key for key, _ in problems] == ["reissue"] * is_refused
    assert all("set single_writer = true" in text for _, text in problems)
    assert found(**keys, reissue="independent") == []
