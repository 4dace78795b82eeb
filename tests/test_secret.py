import base64
import copy
import json
import logging
import os
import pickle
import secrets
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from job.core.errors import SecretUnavailable
from job.core.ports import SecretSource
from job.core.secret import MASK, Secret, mask
from job.credentials.base import MAX_SECRET_BYTES
from job.credentials.command import CommandSecret
from job.credentials.environment import EnvironmentSecret
from job.credentials.file import CredentialSecret, FileSecret
from job.credentials.watched import WatchedSecret

VALUE = secrets.token_urlsafe()


def unavailable(source: SecretSource) -> SecretUnavailable:
    """Return the error of a source that has no secret to give."""
    with pytest.raises(SecretUnavailable) as caught:
        source.resolve()
    assert (caught.value.code, caught.value.exit_code) == ("client_secret_unavailable", 78)
    return caught.value


# Secret


def test_nothing_shows_a_secret() -> None:
    """No way to print a value that people use by accident shows it."""
    secret = Secret(VALUE)
    log = logging.makeLogRecord({"msg": "%s %r", "args": (secret, secret)})
    texts = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        repr({"a": [secret]}),
        repr([getattr(secret, name, None) for name in ("__dict__", "__doc__")]),
        log.getMessage(),
    ]

    assert [text for text in texts if VALUE in text] == []
    assert (str(secret), repr(secret)) == (MASK, f"Secret({MASK})")
    assert secret.reveal() == VALUE


def test_a_secret_does_not_leave_the_process() -> None:
    """Pickling, copying and JSON are refused, without the value in the refusal."""
    secret = Secret(VALUE)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            leave(secret)
        assert VALUE not in str(caught.value)


def test_secrets_are_compared_by_value() -> None:
    """A secret that was read again is the same secret; a string is none."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_fingerprint_is_short_and_stable() -> None:
    """Operators match it across logs and stores; it is the start of a SHA-256 in hex."""
    assert Secret("abc").fingerprint() == "ba7816bf8f01"


# mask

ODD = 'a"b\\c/é€😀 +%&\n\t' + VALUE


@pytest.mark.parametrize(
    "form",
    [
        ODD,
        quote_plus(ODD),
        quote(ODD, safe=""),
        base64.b64encode(ODD.encode()).decode(),
        json.dumps(ODD),
        json.dumps(ODD, ensure_ascii=False),
    ],
    ids=["plain", "form", "percent", "base64", "json-ascii", "json"],
)
def test_a_masked_text_shows_no_form_of_a_secret(form: str) -> None:
    """However a library has encoded the value, it is replaced, and nothing else is."""
    masked = mask(f"before {form} after", [Secret(ODD)])

    assert VALUE not in masked
    assert masked.strip('=" ').replace('"', "").replace("=", "") == f"before {MASK} after"


def test_a_secret_inside_another_is_masked_whole() -> None:
    """The order of the secrets does not matter: the longest form goes first."""
    short, long = Secret("s3cret"), Secret("s3cret-and-more")

    assert mask("x s3cret-and-more s3cret", [short, long]) == f"x {MASK} {MASK}"


def test_a_secret_that_only_decoding_shows_is_masked() -> None:
    """Servers escape what need not be escaped: the text comes back decoded, without the value."""
    assert mask("client=%73%33cret+x", [Secret("s3cret")]) == f"client={MASK}+x"


def test_what_is_no_utf_8_is_masked() -> None:
    """A hostile server's JSON can hold half a character; that is a value like any other."""
    assert mask("a \ud800b c", [Secret("\ud800b")]) == "a *** c"


def test_there_may_be_nothing_to_mask() -> None:
    """No secret, an empty one, or none in the text: the text stays."""
    assert mask("text", []) == "text"
    assert mask("text", [Secret(""), Secret(VALUE)]) == "text"


# Sources


def test_a_variable_is_read_each_time() -> None:
    """The environment may change under a process that reads its own mapping."""
    environ = {"ID_SECRET": "one"}
    source = EnvironmentSecret("ID_SECRET", environ)
    first = source.resolve()
    environ["ID_SECRET"] = "two\n"

    assert (first, source.resolve()) == (Secret("one"), Secret("two"))


@pytest.mark.parametrize("environ", [{}, {"ID_SECRET": ""}])
def test_a_variable_that_is_not_set_is_named(environ: dict[str, str]) -> None:
    """The message has the variable's name and what to do."""
    error = unavailable(EnvironmentSecret("ID_SECRET", environ))

    assert "the environment variable ID_SECRET is not set; set it" in error.message


def test_a_variable_that_is_no_text_is_refused() -> None:
    """Bytes that are no UTF-8 would fail in the middle of an exchange: they are named here."""
    value = os.fsdecode(b"\xff" + VALUE.encode())
    error = unavailable(EnvironmentSecret("ID_SECRET", {"ID_SECRET": value}))

    assert "ID_SECRET does not give UTF-8 text" in error.message
    assert VALUE not in str(error)


@pytest.mark.parametrize("content", ["{}", "{}\n", "{}\r\n", "\n{}"])
def test_a_file_is_read_without_its_newline(tmp_path: Path, content: str) -> None:
    """Editors and `echo` end a line; a secret has no line."""
    path = tmp_path / "secret"
    path.write_bytes(content.format(VALUE + " é").encode())

    assert FileSecret(str(path)).resolve() == Secret(VALUE + " é")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "gives nothing"),
        (b"\r\n", "gives nothing"),
        (b"\xff", "does not give UTF-8 text"),
        (b"x" * (MAX_SECRET_BYTES + 1), "gives over 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """An empty, binary or huge file is a mistake, named with its path."""
    path = tmp_path / "secret"
    path.write_bytes(content)

    assert f"the file {path} {problem}" in unavailable(FileSecret(str(path))).message


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "No such file or directory"), ("", "Is a directory")]
)
def test_a_file_that_cant_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    """The message has the path, the system's reason and what to do."""
    path = str(tmp_path / name)
    message = unavailable(FileSecret(path)).message

    assert f"the file {path} cannot be read ({reason}); check the path" in message


def test_a_credential_of_systemd_is_a_file_of_its_own(tmp_path: Path) -> None:
    """LoadCredential= puts a file into $CREDENTIALS_DIRECTORY, which is read each time."""
    (tmp_path / "client-secret").write_text(VALUE + "\n")
    source = CredentialSecret("client-secret", {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert source.resolve() == Secret(VALUE)
    (tmp_path / "client-secret").unlink()
    assert f"the file {tmp_path}/client-secret cannot be read" in unavailable(source).message


def test_a_credential_outside_of_a_service_says_so() -> None:
    """Without the variable there is no service manager that could have handed it over."""
    assert unavailable(CredentialSecret("client-secret", {})).message == (
        "no secret: there is no $CREDENTIALS_DIRECTORY to hold the credential client-secret; "
        "run as a systemd service with LoadCredential=client-secret:PATH"
    )


def test_a_command_prints_the_secret() -> None:
    """A password manager's command runs without a shell, and its line end is dropped."""
    command = (sys.executable, "-c", "import sys; print(sys.argv[1])", f"$HOME {VALUE}")

    assert CommandSecret(command).resolve() == Secret(f"$HOME {VALUE}")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", "gives nothing"),
        ("print('s3cret'); raise SystemExit(3)", "ended with status 3"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "does not give UTF-8 text"),
        ("print('s3cret', flush=True); import signal; signal.pause()", "took over 0.5 s"),
    ],
)
@pytest.mark.slow
def test_a_command_that_gives_no_secret_is_named(code: str, problem: str) -> None:
    """What went wrong is said; what the command has printed is not."""
    error = unavailable(CommandSecret((sys.executable, "-c", code), timeout_s=0.5))

    assert f"the command {sys.executable} {problem}" in error.message
    assert "s3cret" not in str(error)
    assert error.__suppress_context__ or error.__context__ is None


def test_a_command_that_cant_be_run_is_named() -> None:
    """A wrong path says so."""
    message = unavailable(CommandSecret(("/nonexistent",))).message

    assert "the command /nonexistent cannot be run (No such file or directory)" in message


def test_a_change_of_the_source_is_noticed() -> None:
    """A rotated secret ends the wait of a rejected client; a source that fails is no change."""
    environ = {"ID_SECRET": "one"}
    watched = WatchedSecret(EnvironmentSecret("ID_SECRET", environ))
    assert (watched.live, watched.resolve(), watched.live) == ([], Secret("one"), [Secret("one")])
    assert not watched.changed()

    environ["ID_SECRET"] = "two"
    assert watched.changed()
    assert watched.live == [Secret("one")]

    del environ["ID_SECRET"]
    assert not watched.changed()


def test_a_command_is_not_run_to_look_for_a_change(tmp_path: Path) -> None:
    """A password manager may ask a person: it runs for an exchange only."""
    code = f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); print('s3cret')"
    watched = WatchedSecret(CommandSecret((sys.executable, "-c", code)))

    assert (watched.resolve(), watched.changed()) == (Secret("s3cret"), False)
    assert (tmp_path / "runs").read_text() == "x"


def test_a_source_that_comes_back_has_changed(tmp_path: Path) -> None:
    """A secret that could not be read and is there again is worth another try at once."""
    path = tmp_path / "secret"
    path.write_text("s3cret")
    watched = WatchedSecret(FileSecret(str(path)))
    watched.resolve()
    path.unlink()
    with pytest.raises(SecretUnavailable):
        watched.resolve()
    gone = watched.changed()
    path.write_text("s3cret")
    assert (gone, watched.changed()) == (False, True)


def test_secrets_take_turns() -> None:
    """Each source has its turn, and all that has been read is known to be live."""
    environ = {"A": "a", "B": "b"}
    watched = WatchedSecret(EnvironmentSecret("A", environ), EnvironmentSecret("B", environ))
    assert (watched.count, watched.position, watched.live) == (2, 1, [])
    first = watched.resolve()
    watched.next()

    assert (first, watched.position, watched.live) == (Secret("a"), 2, [Secret("a")])
    assert watched.resolve() == Secret("b")
    assert watched.live == [Secret("a"), Secret("b")]
    watched.next()
    assert watched.position == 1


def test_a_change_of_any_secret_that_was_used_is_noticed() -> None:
    """Whichever secret of a list is rotated ends the slow lane; one that was not tried does not."""
    environ = {"A": "a", "B": "b", "C": "c"}
    watched = WatchedSecret(*(EnvironmentSecret(name, environ) for name in environ))
    watched.resolve()
    watched.next()
    watched.resolve()
    environ["C"] = "new"
    unused = watched.changed()
    environ["B"] = "new"

    assert (unused, watched.changed()) == (False, True)


def test_nothing_has_changed_before_the_first_use() -> None:
    """A look is a comparison with what was used."""
    assert not WatchedSecret(EnvironmentSecret("A", {"A": "a"})).changed()


def test_what_a_failing_source_means_for_the_program() -> None:
    """What passes is tried again soon, what lacks a permission exits as such, the rest as 78."""
    made = [
        SecretUnavailable("c", "m"),
        SecretUnavailable("c", "m", permission=True),
        SecretUnavailable("c", "m", passing=True),
    ]
    assert [(error.retryable, error.exit_code) for error in made] == [
        (False, 78),
        (False, 77),
        (True, 75),
    ]
