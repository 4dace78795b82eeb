import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aws import REGION
from stored import document

from freshtoken_reader import TokenAuth, TokenUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    auth = TokenAuth.from_file(str(tmp_path / "none.json"))
    with pytest.raises(TokenUnavailable, match=r"none\.json: FileNotFoundError; see"):
        auth.header()


@pytest.mark.parametrize(
    ("stored", "json_key"),
    [
        (document("tok-1", 4e9), None),
        ("tok-1", None),
        (json.dumps({"tiki": "tok-1", "other": 1}), "tiki"),
        (json.dumps({"tiki": {"access_token": "tok-1", "expires_at": 4e9}}), "tiki"),
    ],
)
def test_a_secret(
    aws: "SecretsManagerClient",
    moto_url: str,
    aws_environ: pytest.MonkeyPatch,
    stored: str,
    json_key: str | None,
) -> None:
    """The current version of a secret is used, the whole of it or one key."""
    del aws_environ  # it has set the credentials
    aws.create_secret(Name="prod/tiki", SecretString=stored)
    auth = TokenAuth.from_secrets_manager(
        "prod/tiki", json_key=json_key, region=REGION, endpoint_url=moto_url
    )
    assert auth.header() == "Bearer tok-1"
