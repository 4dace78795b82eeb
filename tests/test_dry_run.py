"""What `check` tells of a client's proof before it is used."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair, client_certificate
from fakes import START, FakeClock
from loading import tokens_of

from job.compose import dry_run as dry_runs
from job.compose.dry_run import DryRun
from job.compose.tools import Tools
from job.core.errors import SecretUnavailable

NOW = dt.datetime.fromtimestamp(START, dt.UTC)
PAIR = client_certificate("client", NOW + dt.timedelta(days=90))
ENVIRON = {"PLAIN": "s3cret-_.~", "UGLY": "s3cret+%"}
OTHER_WAY = (
    "characters that some servers decode and some don't: if yours answers invalid_client, set "
    'basic_encoding = "{}", or use client_secret_post where that is allowed'
)


def dry_run(folder: Path, **keys: Any) -> DryRun:  # noqa: ANN401  # settings are of many types
    """Make what `check` asks, for one token."""
    sinks = [{"type": "file", "path": "one.json"}]
    table = {"token_url": "https://as.test/token", "client_id": "id", "sinks": sinks} | keys
    settings = tokens_of({"tokens": {"one": table}}, str(folder))["one"]
    return dry_runs.dry_run(settings, Tools(ENVIRON, "host", FakeClock()))


def warnings(folder: Path, **keys: Any) -> list[str]:  # noqa: ANN401  # as above
    """Return what is told without being online."""
    return list(dry_run(folder, **keys).warnings(run=True))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"client_secret": {"env": "PLAIN"}}, []),
        ({"client_secret": {"env": "PLAIN"}, "client_id": "a:b"}, ["client_id has form"]),
        ({"client_secret": {"env": "UGLY"}}, ["client_secret has form"]),
        (
            {"client_secret": {"env": "UGLY"}, "client_id": "a b"},
            ["client_id and client_secret have form"],
        ),
        ({"client_secret": {"env": "UGLY"}, "basic_encoding": "raw"}, ["client_secret has raw"]),
        ({"client_secret": {"env": "UGLY"}, "auth_method": "client_secret_post"}, []),
        ({"client_secret": {"env": "NOT_SET"}}, []),
        ({"client_secret": {"command": ["printf", "s3cret+"]}}, []),
        ({"client_secret": [{"env": "PLAIN"}, {"env": "UGLY"}]}, []),
    ],
)
def test_a_secret_that_servers_read_in_two_ways_is_told(
    tmp_path: Path, keys: Mapping[str, Any], expected: list[str]
) -> None:
    """Only where form and raw differ, and only what needs no command; the value is not shown."""
    others = {"form": "raw", "raw": "form"}
    texts = [text.rpartition(" ") for text in expected]
    assert warnings(tmp_path, **keys) == [
        f"{start} {OTHER_WAY.format(others[way])}" for start, _, way in texts
    ]


def test_a_secret_in_a_file_is_looked_at(tmp_path: Path) -> None:
    """A file costs nothing to read: what it holds is tried, and that it is missing is told."""
    keys = {"client_secret": {"file": "secret"}}
    (warning,) = warnings(tmp_path, **keys)
    assert warning.startswith(f"no secret: the file {tmp_path}/secret cannot be read")
    (tmp_path / "secret").write_text("s3cret+")
    assert warnings(tmp_path, **keys) == [f"client_secret has {OTHER_WAY.format('raw')}"]


def test_a_key_is_tried(tmp_path: Path) -> None:
    """`check` signs a request that it doesn't send: a locked key is found before the night."""
    keys = {"auth_method": "private_key_jwt", "private_key": {"file": "client.key"}}
    PAIR.write(tmp_path)
    assert warnings(tmp_path, **keys) == []
    (tmp_path / "client.key").write_bytes(PAIR.locked())
    assert warnings(tmp_path, **keys) == [
        (
            "private_key is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and guard "
            "the file"
        )
    ]
    assert list(dry_run(tmp_path, **keys).warnings(run=False)) == []


def test_a_short_secret_is_told(tmp_path: Path) -> None:
    """A secret that can't sign is found before the server is asked."""
    (tmp_path / "secret").write_text("short")
    keys = {"auth_method": "client_secret_jwt", "client_secret": {"file": "secret"}}
    assert warnings(tmp_path, **keys)[0].startswith("the client secret is too short to sign")


TLS = {"certificate_file": "client.pem", "key_file": "client.key"}


@pytest.mark.parametrize(
    ("days", "method", "expected"),
    [
        (15, "tls_client_auth", []),
        (13, "tls_client_auth", ["the certificate in {0} expires on {1}; renew it"]),
        (
            -1,
            "tls_client_auth",
            [
                (
                    "no client certificate: the certificate in {0} expired on {1}; renew it, or "
                    "correct this machine's clock"
                )
            ],
        ),
        (-1, "self_signed_tls_client_auth", ["the certificate in {0} expired on {1}; renew it"]),
    ],
)
def test_a_certificate_that_ends_is_told(
    tmp_path: Path, days: int, method: str, expected: list[str]
) -> None:
    """Two weeks before its end, and afterwards; once, with the date."""
    end = NOW + dt.timedelta(days=days)
    client_certificate("client", end).write(tmp_path)
    told = [text.format(tmp_path / "client.pem", f"{end:%Y-%m-%d}") for text in expected]
    assert warnings(tmp_path, auth_method=method, **TLS) == told


def test_a_certificate_of_an_assertion_is_looked_at(tmp_path: Path) -> None:
    """The certificate that names the key ends too, and one that can't be read is told."""
    keys = {
        "auth_method": "private_key_jwt",
        "private_key": {"command": ["cat", f"{tmp_path}/client.key"]},
        "certificate_file": "client.pem",
    }
    Pair(b"nothing", PAIR.key).write(tmp_path)
    (warning,) = warnings(tmp_path, **keys)
    assert warning.startswith(
        f"no client certificate: the file {tmp_path}/client.pem is not a readable cert"
    )
    PAIR.write(tmp_path)
    assert warnings(tmp_path, **keys) == []
    dry_run(tmp_path, **keys).run()


def test_a_certificate_beside_another_proof_is_tried(tmp_path: Path) -> None:
    """A key that is not the certificate's is found, whatever else proves the client."""
    PAIR.write(tmp_path)
    keys = {"client_secret": {"env": "PLAIN"}, **TLS}
    assert warnings(tmp_path, **keys) == []
    (tmp_path / "client.key").write_bytes(client_certificate("other").key)
    (warning,) = warnings(tmp_path, **keys)
    assert "is not the key of the certificate in" in warning


@pytest.mark.parametrize(
    ("keys", "subject"),
    [
        ({"client_secret": {"env": "PLAIN"}}, "client secret"),
        ({"client_secret": [{"env": "PLAIN"}, {"env": "UGLY"}]}, "client secret"),
        ({"client_secret": {"env": "PLAIN"}, **TLS}, "client secret"),
        ({"auth_method": "private_key_jwt", "private_key": {"file": "k"}}, "private key"),
        (
            {"auth_method": "client_assertion", "client_assertion": {"file": "t"}},
            "client assertion",
        ),
        ({"auth_method": "tls_client_auth", **TLS}, "certificate"),
        ({"auth_method": "none"}, ""),
    ],
)
def test_what_is_tried_has_a_name(tmp_path: Path, keys: Mapping[str, Any], subject: str) -> None:
    """`check --online` says what it has tried."""
    assert dry_run(tmp_path, **keys).subject == subject


def test_what_cannot_be_signed_is_raised(tmp_path: Path) -> None:
    """`check --online` tells the reason of a failure."""
    with pytest.raises(SecretUnavailable):
        dry_run(tmp_path, client_secret={"env": "NOT_SET"}).run()


def test_each_secret_of_a_list_is_tried(tmp_path: Path) -> None:
    """`check --online` finds the second secret's place wrong before a rotation needs it."""
    both = dry_run(tmp_path, client_secret=[{"env": "PLAIN"}, {"env": "UGLY"}])
    both.run()
    assert both.client.proof.position == 1

    with pytest.raises(SecretUnavailable, match="variable NOT_SET is not set"):
        dry_run(tmp_path, client_secret=[{"env": "PLAIN"}, {"env": "NOT_SET"}]).run()
