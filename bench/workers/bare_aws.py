"""The least that can be called a refresh into Secrets Manager: a post, and the calls by hand."""

import json
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING

import boto3
import requests

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRET_ID = "bench/bare"  # noqa: S105  # a name, not a secret


def fetch(url: str) -> str:
    """Ask for a token."""
    credentials = ("client-0", os.environ["BENCH_SECRET"])
    form = {"grant_type": "client_credentials"}
    answer = requests.post(url, data=form, auth=credentials, timeout=15)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def put(aws: "SecretsManagerClient", token: str) -> None:
    """Store the token blindly."""
    aws.put_secret_value(SecretId=SECRET_ID, SecretString=token)


def swap(aws: "SecretsManagerClient", token: str) -> None:
    """Store the token with the three calls of a compare-and-swap."""
    current = aws.get_secret_value(SecretId=SECRET_ID, VersionStage="AWSCURRENT")
    version_id = str(uuid.uuid4())
    aws.put_secret_value(
        SecretId=SECRET_ID,
        SecretString=json.dumps({"access_token": token}),
        ClientRequestToken=version_id,
        VersionStages=["bench_pending"],
    )
    aws.update_secret_version_stage(
        SecretId=SECRET_ID,
        VersionStage="AWSCURRENT",
        MoveToVersionId=version_id,
        RemoveFromVersionId=current["VersionId"],
    )


def main(url: str, endpoint: str, way: str, count: int) -> None:
    """Refresh `count` times; print the CPU seconds of all but the first, which loads the rest."""
    aws = boto3.client("secretsmanager", endpoint_url=endpoint)
    store = {"put": put, "swap": swap}[way]
    if not aws.list_secrets(Filters=[{"Key": "name", "Values": [SECRET_ID]}])["SecretList"]:
        aws.create_secret(Name=SECRET_ID, SecretString="-")
    store(aws, fetch(url))
    before = time.process_time()
    for _ in range(count):
        store(aws, fetch(url))
    print(time.process_time() - before)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
