"""From settings to sources of secrets, and what is wrong with such settings."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aws import REGION
from fakes import FakeClock
from loading import tokens_of
from places import example

from job.aws.clients import AwsClients
from job.compose.tools import Tools
from job.config.shape import Cleaner
from job.core.errors import ConfigError, Problem, SecretUnavailable
from job.core.secret import Secret
from job.credentials.aws import WebIdentityToken
from job.credentials.kinds import kind_of, problems_of
from job.credentials.settings import AssertionSettings, IdentityLifetime, SecretSettings
from job.values import value_reader

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

ONE_OF = "needs exactly one of env, file, credential, command, aws_secret and aws_parameter"
OR_IDENTITY = (
    "needs exactly one of env, file, credential, command, aws_secret, aws_parameter and "
    "aws_web_identity"
)


def table(folder: Path | str = "", /, **keys: Any) -> SecretSettings:  # noqa: ANN401  # settings are of many types
    """Make the settings of one source, as a file in `folder` has them."""
    return msgspec.convert(keys, SecretSettings, dec_hook=value_reader(str(folder)))


def tools(environ: dict[str, str] | None = None) -> Tools:
    """Make what builds sources, with this environment."""
    return Tools(environ or {}, "host", FakeClock())


def test_each_source_gives_what_is_there(tmp_path: Path) -> None:
    """A variable, a file beside the configuration, a credential of systemd, and a command."""
    (tmp_path / "secret").write_text("from-file\n")
    (tmp_path / "handed").mkdir()
    (tmp_path / "handed" / "name").write_text("from-systemd\n")
    environ = {"VARIABLE": "from-variable", "CREDENTIALS_DIRECTORY": str(tmp_path / "handed")}
    tables = [
        table(env="VARIABLE"),
        table(tmp_path, file="secret"),
        table(credential="name"),
        table(command=[sys.executable, "-c", "print('from-command')"]),
    ]
    built = tools(environ)

    found = [built.secret(each).resolve().reveal() for each in tables]

    assert found == ["from-variable", "from-file", "from-systemd", "from-command"]


def test_the_source_of_the_guide(tmp_path: Path) -> None:
    """docs/extending.md shows a source that gives what is there, and says what is wrong."""
    kind = example(1, {"__name__": "netrc_source"})["KIND"]
    source = kind.source(SimpleNamespace(netrc="as.test"), {"HOME": str(tmp_path)}, AwsClients())
    with pytest.raises(SecretUnavailable, match=r"as\.test in ~/\.netrc cannot be read; check"):
        source.resolve()
    (tmp_path / ".netrc").write_text("machine as.test login me password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert source.resolve() == Secret("s3cret")
    (tmp_path / ".netrc").write_text("machine other.test login me password s3cret\n")
    with pytest.raises(SecretUnavailable, match=r"as\.test in ~/\.netrc gives nothing"):
        source.resolve()


def test_sources_in_aws(
    aws: "SecretsManagerClient", aws_environ: pytest.MonkeyPatch, moto_url: str
) -> None:
    """A secret, a key of a JSON secret, and an encrypted parameter, with region and endpoint."""
    aws.create_secret(Name="plain", SecretString="from-secret")
    aws.create_secret(Name="json", SecretString=json.dumps({"id": 1, "client_secret": "from-key"}))
    import boto3  # noqa: PLC0415  # heavy, for this test alone
    from botocore.config import Config  # noqa: PLC0415  # the same

    # The first call of SSM has moto load its tables, which takes a busy machine longer than our
    # own clients wait.
    patient = Config(read_timeout=60)
    ssm = boto3.client("ssm", region_name=REGION, endpoint_url=moto_url, config=patient)
    ssm.put_parameter(Name="/one/secret", Value="from-parameter", Type="SecureString")
    where = {"region": REGION, "endpoint_url": moto_url}
    tables = [
        table(aws_secret="plain", **where),
        table(aws_secret="json", key="client_secret", **where),
        table(aws_parameter="/one/secret", **where),
    ]
    built = tools()

    found = [built.secret(each).resolve().reveal() for each in tables]

    assert found == ["from-secret", "from-key", "from-parameter"]


def test_a_list_is_tried_in_its_order() -> None:
    """Several secrets take turns: one whose turn it is does not touch the others."""
    watched = tools({"A": "a"}).secret((table(env="A"), table(env="B")))

    assert (watched.count, watched.position, watched.resolve()) == (2, 1, Secret("a"))
    assert watched.live == [Secret("a")]


def test_an_identity_token_is_asked_for_as_the_settings_say() -> None:
    """The audience and the life go to AWS; nothing is asked before a token is needed."""
    settings = AssertionSettings(
        aws_web_identity="https://as.example", duration=IdentityLifetime("2m")
    )
    source = kind_of(settings).source(settings, {}, AwsClients())

    assert isinstance(source, WebIdentityToken)
    assert (source.audience, source.duration_s, source.algorithm) == (
        "https://as.example",
        120,
        "RS256",
    )


def test_a_list_of_secrets_is_checked_one_by_one() -> None:
    """Each mistake has its place in the list; a secret that was pasted is not repeated."""
    raw = {"token_url": "https://as.example/token", "client_id": "id", "timeout": "x"}
    raw |= {"sinks": [{"type": "file", "path": "one.json"}]}
    raw |= {"client_secret": [{"env": "A"}, "hunter2", {"fiel": "x"}, {"env": "A", "file": "b"}]}
    forms = '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'
    with pytest.raises(ConfigError) as caught:
        tokens_of({"tokens": {"one": raw}})
    raw["client_secret"] = [{"env": "A"}, {"env": "A", "file": "b"}]
    with pytest.raises(ConfigError) as later:
        tokens_of({"tokens": {"one": raw}})
    raw |= {"client_secret": [], "timeout": "1s"}
    with pytest.raises(ConfigError) as empty:
        tokens_of({"tokens": {"one": raw}})

    assert caught.value.problems[1:3] == (
        f"tokens.one.client_secret[2]: must say where the secret is, not hold it: {forms}",
        "tokens.one.client_secret[3].fiel: unknown key; did you mean file?",
    )
    assert f"tokens.one.client_secret[2]: {ONE_OF}" in later.value.problems
    assert empty.value.problems


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        (table(env="A"), []),
        (table(credential="name"), []),
        (table(aws_secret="id", key="k", region="r", profile="p"), []),
        (table(aws_parameter="/p", endpoint_url="https://vpce.example"), []),
        (AssertionSettings(aws_web_identity="aud", region="r"), []),
        (table(), [("s", ONE_OF)]),
        (table(env="", region="r"), [("s", ONE_OF)]),
        (table(env="A", aws_secret="b"), [("s", ONE_OF)]),
        (AssertionSettings(), [("s", OR_IDENTITY)]),
        (AssertionSettings(file="f", aws_web_identity="a"), [("s", OR_IDENTITY)]),
        (table(env="A", key="k"), [("s.key", "goes with aws_secret only; leave it out")]),
        (
            table(aws_secret="A", key=""),
            [("s.key", "is empty; leave it out if the whole secret is meant")],
        ),
        (
            table(credential="../name"),
            [("s.credential", "must be a name, without a folder")],
        ),
        (
            table(file="f", region="r", profile="p", endpoint_url="x"),
            [
                ("s.region", "goes with a secret in AWS only; leave it out"),
                ("s.profile", "goes with a secret in AWS only; leave it out"),
                ("s.endpoint_url", "goes with a secret in AWS only; leave it out"),
            ],
        ),
        (
            table(aws_secret="A", endpoint_url="vpce.example"),
            [("s.endpoint_url", "must be a URL: https:// and a host")],
        ),
    ],
)
def test_a_source_names_one_place(
    settings: SecretSettings, problems: list[tuple[str, str]]
) -> None:
    """Each mistake is told with its key and its cure, and never with a value."""
    assert list(problems_of("s", settings)) == problems


@pytest.mark.parametrize("duration", ["59s", "2h", "soon", -1])
def test_the_life_of_an_identity_token_has_bounds(duration: str | int) -> None:
    """AWS gives such a token for a minute to an hour."""
    cleaner = Cleaner()
    cleaner.table({"file": "f", "duration": duration}, AssertionSettings, "s")
    assert cleaner.problems == [Problem("s.duration", "must be from 1m to 1h")]
