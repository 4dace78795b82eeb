import contextlib
import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws import (
    REGION,
    Faults,
    FaultyAws,
    answer,
    fail,
    lose_answer,
    lose_call,
    make_client,
    meanwhile,
    refuse,
)
from botocore import exceptions as aws_exceptions
from fakes import START, record, token
from sinks import secret_sink, secret_store

from job.aws.clients import Account, AwsClients
from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Conflict, Stored, Superseded
from job.core.secret import Secret
from job.core.tokens import (
    END_OF_TIME,
    OutputFormat,
    Record,
    parse,
    record_of,
    render,
    render_receipt,
)
from job.http.deadline import Sequential, Threads
from job.sinks.record_sink import RecordSink
from job.sinks.secret_text import SecretText
from job.sinks.secrets_manager import PENDING

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    Client = SecretsManagerClient

ROOT = Path(__file__).parent.parent
JSON = OutputFormat("json", "tiki")
RAW = OutputFormat("raw", "tiki")
ID = "prod/tiki"
T0, T1, T2, T3 = (record(f"tok-{n}", START + n) for n in range(4))


def sink_of(aws: "Client", layout: OutputFormat = JSON, **settings: object) -> RecordSink:
    """Make a sink, as one replica has it."""
    return secret_sink(ID, layout, lambda: aws, **settings)  # type: ignore[arg-type]


def stored(aws: "Client", layout: OutputFormat = JSON, **settings: object) -> RecordSink:
    """Make a sink on a secret that holds T0, and have it read that."""
    sink_of(aws, layout, create=True, **settings).write(T0)
    sink = sink_of(aws, layout, **settings)
    assert sink.read() is not None
    return sink


def stages(aws: "Client") -> dict[str, list[str]]:
    """Return which labels each version carries, by the token that it holds."""
    found = aws.describe_secret(SecretId=ID)["VersionIdsToStages"]
    return {text_of(aws, version): sorted(labels) for version, labels in found.items()}


def text_of(aws: "Client", version: str) -> str:
    """Return the token that a version holds, or all of its text."""
    text = aws.get_secret_value(SecretId=ID, VersionId=version)["SecretString"]
    return str(json.loads(text)["access_token"]) if text.startswith("{") else text


def current(aws: "Client") -> str:
    """Return the current text. The stage is named: moto's default is the last plain put."""
    return aws.get_secret_value(SecretId=ID, VersionStage="AWSCURRENT")["SecretString"]


def current_token(aws: "Client") -> object:
    """Return the token in the current document."""
    return json.loads(current(aws))["access_token"]


def put_by_hand(aws: "Client", text: str) -> None:
    """Make a text the current version, as an operator does.

    In two steps: moto's plain put takes AWSCURRENT from the version of the last plain put only.
    """
    versions = aws.describe_secret(SecretId=ID)["VersionIdsToStages"]
    old = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
    new = aws.put_secret_value(SecretId=ID, SecretString=text, VersionStages=["by hand"])
    aws.update_secret_version_stage(
        SecretId=ID,
        VersionStage="AWSCURRENT",
        MoveToVersionId=new["VersionId"],
        RemoveFromVersionId=old,
    )


def error_of(act: Callable[[], object]) -> SinkError:
    """Return the error that an action ends in."""
    with pytest.raises(SinkError) as caught:
        act()
    return caught.value


# Compare and swap


def test_a_refresh_moves_the_label(aws: "Client", faults: Faults) -> None:
    """The new token becomes current, the one before stays readable.

    That takes three calls; a process that starts makes one more, to find what a dead one left.
    """
    sink = stored(aws)
    three = ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"]
    for new, calls in ((T1, ["DescribeSecret", *three]), (T2, three)):
        faults.calls.clear()
        with sink.claim():
            sink.read()
            sink.write(new)
        assert faults.calls == calls

    labels = {"tok-0": [], "tok-1": ["AWSPREVIOUS"], "tok-2": ["AWSCURRENT", PENDING]}
    assert {token: stages(aws).get(token, []) for token in labels} == labels


def test_looking_costs_one_call(aws: "Client", faults: Faults) -> None:
    """A run with nothing due makes one call, for which a reader's rights are enough."""
    sink = stored(aws)
    faults.calls.clear()

    assert (sink.read(), faults.calls) == (T0, ["GetSecretValue"])


@pytest.mark.parametrize("moment", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_the_loser_of_a_race_gets_the_winner(aws: "Client", faults: Faults, moment: str) -> None:
    """A rival with a newer token is faster by a hair: its token stays, and the loser adopts it."""
    slow, fast = stored(aws), stored(aws)
    faults.plan(moment, meanwhile(lambda: fast.write(T2)))

    with pytest.raises(Superseded) as caught:
        slow.write(T1)
    assert (caught.value.winner, current_token(aws)) == (T2, "tok-2")
    assert sink_of(aws).read() == T2


def test_a_rival_with_an_older_token_is_overtaken(aws: "Client", faults: Faults) -> None:
    """A rival that was faster with an older token does not keep the newer one away."""
    slow, fast = stored(aws), stored(aws)
    faults.plan("PutSecretValue", meanwhile(lambda: fast.write(T1)))
    slow.write(T2)

    assert (sink_of(aws).read(), stages(aws)["tok-1"]) == (T2, ["AWSPREVIOUS"])


def test_a_rival_between_put_and_promote_is_helped(aws: "Client", faults: Faults) -> None:
    """Who meets a rival's unfinished version finishes it first: nobody waits for anybody."""
    ahead, behind = stored(aws), stored(aws)
    faults.plan("UpdateSecretVersionStage", meanwhile(lambda: lost(behind, T1)))
    ahead.write(T2)

    assert stages(aws) == {"tok-0": ["AWSPREVIOUS"], "tok-2": ["AWSCURRENT", PENDING]}


def lost(sink: RecordSink, mine: Record) -> None:
    """Write, and be superseded by T2."""
    with pytest.raises(Superseded) as caught:
        sink.write(mine)
    assert caught.value.winner == T2


@pytest.mark.parametrize("ours_first", [False, True])
def test_two_claims_at_once_end_with_the_newer_token(aws: "Client", *, ours_first: bool) -> None:
    """Both replicas read, both mint, both write: the newer token stays, whoever is first."""
    older, newer = stored(aws), stored(aws)
    with older.claim(), newer.claim():
        older.read()
        newer.read()
        if ours_first:
            older.write(T1)
            newer.write(T2)
        else:
            newer.write(T2)
            lost(older, T1)

    assert sink_of(aws).read() == T2


def test_a_first_write_meets_a_rivals_first_write(aws: "Client", faults: Faults) -> None:
    """Two replicas fill an empty secret: the newer token stays, and neither fails."""
    aws.create_secret(Name=ID)
    slow, fast = sink_of(aws), sink_of(aws)
    assert (slow.read(), fast.read()) == (None, None)
    faults.plan("PutSecretValue", meanwhile(lambda: fast.write(T2)))

    lost(slow, T1)
    assert sink_of(aws).read() == T2


def test_two_replicas_create_the_secret(aws: "Client", faults: Faults) -> None:
    """Both find no secret and create it: the loser goes on as if it had been there."""
    slow, fast = sink_of(aws, create=True), sink_of(aws, create=True)
    faults.plan("CreateSecret", meanwhile(lambda: fast.write(T1)))
    slow.write(T2)

    assert stages(aws) == {"tok-1": ["AWSPREVIOUS"], "tok-2": ["AWSCURRENT", PENDING]}


def test_endless_races_end_in_a_retry(aws: "Client", faults: Faults) -> None:
    """Whoever loses every race stops and comes back later, with the token still in hand."""
    sink = stored(aws)
    for n in range(3):
        older = render(record(f"old-{n}", START - 9), JSON)
        rival = meanwhile(lambda older=older: put_by_hand(aws, older))
        faults.plan("UpdateSecretVersionStage", rival, lambda _: None)
    error = error_of(lambda: sink.write(T1))

    assert (type(error), error.code) == (SinkUnavailable, "contended")
    assert current_token(aws) == "old-2"
    sink.write(T1)
    assert current_token(aws) == "tok-1"


# Crashes and lost answers


def crash(act: Callable[[], object]) -> None:
    """Let an action end as a killed process does."""
    with pytest.raises(KeyboardInterrupt):
        act()


def die() -> None:
    """Die here."""
    raise KeyboardInterrupt


@pytest.mark.fault("writer-dies-between-calls")
@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_crash_between_put_and_promote_is_resumed(
    aws: "Client", faults: Faults, layout: OutputFormat
) -> None:
    """The next claim promotes what a dead writer had put: no second exchange, no second version."""
    dying = stored(aws, layout)
    faults.plan("UpdateSecretVersionStage", meanwhile(die))
    crash(lambda: dying.write(T1))
    assert stages(aws) == {"tok-0": ["AWSCURRENT"], "tok-1": [PENDING]}

    sink = sink_of(aws, layout)
    before = sink.read()
    assert before is not None
    assert before.receipt == T0.receipt
    with sink.claim():
        found = sink.read()
        assert found is not None
        assert found.receipt == T1.receipt
        sink.write(T1)
    assert len(aws.describe_secret(SecretId=ID)["VersionIdsToStages"]) == 2


def test_a_version_with_an_older_token_is_not_promoted(aws: "Client", faults: Faults) -> None:
    """A paused writer's unfinished version never replaces a newer token; the next write passes."""
    sink = stored(aws)
    faults.plan("UpdateSecretVersionStage", meanwhile(die))
    crash(lambda: sink.write(record("old", START - 100)))

    with sink.claim():
        assert sink.read() == T0
        sink.write(T1)
    assert stages(aws) == {
        "old": [],
        "tok-0": ["AWSPREVIOUS"],
        "tok-1": ["AWSCURRENT", PENDING],
    }


def test_a_resumption_may_lose_its_race(aws: "Client", faults: Faults) -> None:
    """Two claims promote the same version: the second finds it done."""
    dying, other = stored(aws), sink_of(aws)
    faults.plan("UpdateSecretVersionStage", meanwhile(die))
    crash(lambda: dying.write(T1))

    faults.plan("UpdateSecretVersionStage", meanwhile(lambda: other.claim().__enter__()))
    sink = sink_of(aws)
    with sink.claim():
        assert sink.read() == T1


def test_a_value_put_by_hand_is_not_undone(aws: "Client") -> None:
    """Our last version, which an operator has replaced, is not taken for an unfinished one."""
    sink = stored(aws)
    sink.write(T1)
    for text in (render(T2, JSON), render(T3, JSON)):
        put_by_hand(aws, text)

    with sink.claim():
        assert sink.read() == T3


def test_a_rollback_by_hand_is_written_over(aws: "Client") -> None:
    """An operator moves AWSCURRENT back: it stays so until the next token, which then arrives."""
    sink = stored(aws)
    sink.write(T1)
    versions = aws.describe_secret(SecretId=ID)["VersionIdsToStages"]
    new = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
    old = next(version for version, labels in versions.items() if "AWSPREVIOUS" in labels)
    aws.update_secret_version_stage(
        SecretId=ID, VersionStage="AWSCURRENT", MoveToVersionId=old, RemoveFromVersionId=new
    )

    with sink.claim():
        assert sink.read() == T0
        sink.write(T2)
    assert sink_of(aws).read() == T2


@pytest.mark.parametrize("settings", [{}, {"json_key": "tiki"}, {"compare_and_swap": False}])
@pytest.mark.parametrize("layout", [JSON, RAW])
@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_a_lost_answer_makes_no_second_version(
    aws: "Client",
    faults: Faults,
    operation: str,
    layout: OutputFormat,
    settings: dict[str, Any],
) -> None:
    """The call was carried out, its answer lost: the same write again makes exactly one version."""
    sink = stored(aws, layout, **settings)
    faults.calls.clear()
    faults.plan(operation, lose_answer)
    with contextlib.suppress(SinkUnavailable):
        sink.write(T1)
    sink.write(T1)

    found = sink_of(aws, layout, **settings).read()
    assert found is not None
    assert found.receipt == T1.receipt
    assert len(aws.describe_secret(SecretId=ID)["VersionIdsToStages"]) == 2


@pytest.mark.fault("sink-answer-lost")
@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_lost_answer_to_a_creation_is_harmless(
    aws: "Client", faults: Faults, layout: OutputFormat
) -> None:
    """The secret was created, the answer lost: the same write again finds its own record."""
    sink = sink_of(aws, layout, create=True)
    faults.plan("CreateSecret", lose_answer)
    assert error_of(lambda: sink.write(T1)).code == "unreachable"
    sink.write(T1)

    assert stages(aws) == {"tok-1": ["AWSCURRENT"]}


def test_a_version_not_yet_visible_is_tried_again(aws: "Client", faults: Faults) -> None:
    """Secrets Manager is eventually consistent: a new version may not be found at once."""
    sink = stored(aws)
    faults.plan("UpdateSecretVersionStage", refuse("ResourceNotFoundException"))
    sink.write(T1)

    assert stages(aws) == {"tok-0": ["AWSPREVIOUS"], "tok-1": ["AWSCURRENT", PENDING]}


def test_a_stale_answer_never_lets_an_older_token_win(aws: "Client", faults: Faults) -> None:
    """What was read was out of date: the write is refused by AWS and the newer token adopted."""
    sink = stored(aws)
    versions = aws.describe_secret(SecretId=ID)["VersionIdsToStages"]
    stale = aws.get_secret_value(SecretId=ID, VersionId=next(iter(versions)))
    stored_now = sink_of(aws)
    stored_now.write(T2)
    stale["CreatedDate"] = START  # type: ignore[typeddict-item]  # as it is on the wire
    del stale["ResponseMetadata"]  # type: ignore[misc]
    faults.plan("GetSecretValue", answer(json.dumps(stale).encode()))
    assert sink.read() == T0

    lost(sink, T1)


def test_only_what_was_loaded_last_is_replaced(aws: "Client", faults: Faults) -> None:
    """A text may be joined to what was read last only; anything else is a conflict, at no call."""
    stored(aws)
    store = secret_store(ID, lambda: aws)
    store.load()
    faults.calls.clear()
    with pytest.raises(Conflict):
        store.replace(Secret("any"), "", Stored(revision="another"))
    assert faults.calls == []


# Missing, empty, foreign


def test_a_missing_secret_names_its_cure(aws: "Client") -> None:
    """Without `create` nothing is created; the message holds both ways out."""
    sink = sink_of(aws)
    for act in (sink.read, lambda: sink.write(T1), lambda: sink.claim().__enter__()):
        error = error_of(act)
        assert (error.code, error.exit_code) == ("not_found", 74)
        assert "`create = true`" in error.message
        assert "aws secretsmanager create-secret --name prod/tiki" in error.message


@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_secret_is_created_when_asked(aws: "Client", layout: OutputFormat) -> None:
    """The new secret has the key and the tags of the configuration, and the token at once."""
    sink = sink_of(aws, layout, create=True, kms_key_id="alias/mine", tags={"team": "payments"})
    with sink.claim():
        assert sink.read() is None
        sink.write(T1)

    described = aws.describe_secret(SecretId=ID)
    tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    assert (described["KmsKeyId"], tags.pop("team")) == ("alias/mine", "payments")
    assert tags == {}
    assert stages(aws) == {"tok-1": ["AWSCURRENT"]}


@pytest.mark.parametrize("layout", [JSON, RAW])
def test_an_empty_secret_is_filled(aws: "Client", layout: OutputFormat) -> None:
    """A secret without a value, as infrastructure tools make it, is no error and nobody's."""
    aws.create_secret(Name=ID)
    sink = sink_of(aws, layout)
    with sink.claim():
        assert sink.read() is None
        sink.write(T1)

    found = sink_of(aws, layout).read()
    assert found is not None
    assert found.receipt == T1.receipt


def test_a_binary_secret_is_foreign(aws: "Client") -> None:
    """A secret may hold bytes instead of text; they are not ours."""
    aws.create_secret(Name=ID, SecretBinary=b"\xff\x00")

    assert error_of(sink_of(aws).read).code == "foreign_secret"
    sink_of(aws, overwrite=True).write(T1)
    assert sink_of(aws).read() == T1


def test_a_foreign_value_is_not_promoted_over(aws: "Client") -> None:
    """A claim on a secret that somebody else has written since changes nothing."""
    sink = stored(aws)
    sink.write(T1)
    for text in ("precious", "more precious"):
        put_by_hand(aws, text)

    error = error_of(lambda: sink.claim().__enter__() or sink.read())
    assert (error.code, current(aws)) == ("foreign_secret", "more precious")


def test_a_bare_token_put_by_hand_is_foreign(aws: "Client") -> None:
    """A version whose id is not of our making was put by somebody else, whatever its text."""
    sink = stored(aws, RAW)
    put_by_hand(aws, "tok-0")

    assert error_of(sink.read).code == "foreign_secret"
    sink_of(aws, RAW, overwrite=True).write(T1)
    assert current(aws) == "tok-1"


def test_a_receipt_of_another_token_gives_none(aws: "Client") -> None:
    """A version whose id tells of another token than it holds is no record, nor foreign."""
    stored(aws, RAW)
    old = next(iter(aws.describe_secret(SecretId=ID)["VersionIdsToStages"]))
    mixed = old.replace(T0.receipt.fingerprint, T1.receipt.fingerprint)
    aws.put_secret_value(SecretId=ID, SecretString="edited", ClientRequestToken=mixed)

    sink = sink_of(aws, RAW)
    assert sink.read() is None
    sink.write(T1)
    assert sink.read() is not None


@pytest.mark.parametrize("life", [1, 3600, END_OF_TIME - START - 2])
def test_an_id_with_a_receipt_is_one_that_aws_takes(life: int) -> None:
    """An id has 32 to 64 characters (PutSecretValue), however long the token lives."""
    long = record_of(token("tok", END_OF_TIME - life - 1, life), "0123456789abcdef")
    text = SecretText(ID)
    version_id = text.version_id(render_receipt(long, RAW), "the one before")

    assert 32 <= len(version_id) <= 64
    value, receipt = text.parts("tok", version_id)
    found = parse(value, RAW, receipt)
    assert found is not None
    assert found.receipt == long.receipt


def test_a_document_in_the_place_of_a_bare_token_is_ours(aws: "Client") -> None:
    """The format of a secret may be changed from json."""
    stored(aws, JSON)
    sink = sink_of(aws, RAW)
    assert sink.read() is None

    sink.write(T1)
    assert current(aws) == "tok-1"


# json_key


OTHERS = {"password": "p", "number": 1.5, "list": [1, {"a": None}], "é": "ü"}
EXACT = '"big":1e400,"long":0.12345678901234567890123,"spaced":{"a" : [1, 2]},"escaped":"\\u00e9"'


@pytest.mark.parametrize("layout", [JSON, RAW])
@pytest.mark.parametrize("swap", [False, True])
def test_the_other_keys_are_left_alone(aws: "Client", layout: OutputFormat, *, swap: bool) -> None:
    """The token goes under its key, the receipt beside it; all other keys stay as they are."""
    aws.create_secret(Name=ID, SecretString=json.dumps(OTHERS))
    sink = sink_of(aws, layout, json_key="tiki", compare_and_swap=swap)
    assert sink.read() is None
    sink.write(T1)

    ours: dict[str, Any] = {"tiki": json.loads(render(T1, JSON))}
    if layout is RAW:
        ours = {"tiki": "tok-1", "tiki_freshtoken": json.loads(render_receipt(T1, RAW))}
    assert json.loads(current(aws)) == OTHERS | ours
    assert (sink.read(), aws.describe_secret(SecretId=ID).get("Tags", [])) == (T1, [])


@pytest.mark.parametrize("swap", [False, True])
def test_the_other_keys_stay_to_the_last_digit(aws: "Client", *, swap: bool) -> None:
    """What other programs have written is copied as it was written, not read and written anew."""
    aws.create_secret(Name=ID, SecretString=f"{{{EXACT}}}")
    sink = sink_of(aws, RAW, json_key="tiki", compare_and_swap=swap)
    sink.write(T1)
    before = current(aws)
    sink.write(T1)

    assert before.startswith(f"{{{EXACT},")
    assert (current(aws), sink.read()) == (before, T1)
    assert len(aws.describe_secret(SecretId=ID)["VersionIdsToStages"]) == 2


def test_a_lost_race_merges_again(aws: "Client", faults: Faults) -> None:
    """Somebody changes another key while we write: both changes are there at the end."""
    aws.create_secret(Name=ID, SecretString=json.dumps(OTHERS))
    sink = sink_of(aws, json_key="tiki")
    sink.read()
    changed = json.dumps(OTHERS | {"password": "new"})
    faults.plan(
        "UpdateSecretVersionStage",
        meanwhile(lambda: put_by_hand(aws, changed)),
    )
    sink.write(T1)

    ours = {"password": "new", "tiki": json.loads(render(T1, JSON))}
    assert json.loads(current(aws)) == OTHERS | ours


def test_two_tokens_share_a_secret(aws: "Client") -> None:
    """Each token has its key; neither write loses the other's."""
    one = sink_of(aws, create=True, json_key="one")
    two = sink_of(aws, create=True, json_key="two")
    one.read()
    two.read()
    one.write(T1)
    two.write(T2)

    assert (one.read(), two.read()) == (T1, T2)


@pytest.mark.parametrize("moment", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_two_tokens_meet_in_a_secret(aws: "Client", faults: Faults, moment: str) -> None:
    """Two writers of different keys at the same moment: both tokens are there at the end."""
    aws.create_secret(Name=ID, SecretString=json.dumps(OTHERS))
    one, two = sink_of(aws, json_key="one"), sink_of(aws, json_key="two")
    one.read()
    two.read()
    faults.plan(moment, meanwhile(lambda: two.write(T2)))
    one.write(T1)

    assert (one.read(), two.read()) == (T1, T2)
    assert json.loads(current(aws)).items() >= OTHERS.items()


@pytest.mark.parametrize("text", ["precious", "[]", "{", "1", "[" * 10_000, '{"a":' + "[" * 10_000])
def test_a_secret_that_is_no_json_object_is_refused(aws: "Client", text: str) -> None:
    """There is nothing to merge into, and nothing is lost."""
    aws.create_secret(Name=ID, SecretString=text)
    sink = sink_of(aws, json_key="tiki", overwrite=True)
    for act in (sink.read, lambda: sink.write(T1)):
        assert error_of(act).code == "not_json"
    assert aws.get_secret_value(SecretId=ID)["SecretString"] == text


@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_key_of_somebody_else_is_refused(aws: "Client", layout: OutputFormat) -> None:
    """A key that holds another value is not ours to replace, unless it is an empty placeholder."""
    aws.create_secret(Name=ID, SecretString=json.dumps({"a": "password", "b": {"c": 1}, "d": None}))
    for key in ("a", "b"):
        assert error_of(sink_of(aws, layout, json_key=key).read).code == "foreign_secret"

    sink_of(aws, layout, json_key="d").write(T1)
    assert sink_of(aws, layout, json_key="d").read() == T1


def test_a_text_that_is_too_large_is_not_sent(aws: "Client", faults: Faults) -> None:
    """AWS takes 65 536 bytes: more is refused with the arithmetic, before any call."""
    sink = stored(aws, RAW)
    with sink.claim():
        sink.read()
        faults.calls.clear()
        error = error_of(lambda: sink.write(record("x" * 65_537, START + 9)))

    assert (error.code, faults.calls) == ("too_large", [])
    assert "65537" in error.message
    sink.write(record("x" * 65_536, START + 9))


# Plain puts


@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_put_only_principal_can_write(
    aws: "Client", faults: Faults, layout: OutputFormat
) -> None:
    """One right is enough: what may not be read reads as None, and one call writes."""
    stored(aws, layout)
    sink = sink_of(aws, layout, compare_and_swap=False)
    faults.calls.clear()
    faults.plan("GetSecretValue", refuse("AccessDeniedException"))
    with sink.claim():
        assert sink.read() is None
        sink.write(T1)

    assert faults.calls == ["GetSecretValue", "PutSecretValue"]
    assert stages(aws) == {"tok-0": ["AWSPREVIOUS"], "tok-1": ["AWSCURRENT"]}


def test_a_plain_put_that_fails_is_reported(aws: "Client", faults: Faults) -> None:
    """Only a lack of the right to read is taken for nothing stored."""
    sink = sink_of(aws, compare_and_swap=False)
    assert error_of(sink.read).code == "not_found"
    faults.plan("GetSecretValue", refuse("ThrottlingException"))
    assert error_of(sink.read).code == "throttled"


# Errors


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, ("access_denied", SinkRejected, 77)),
        ("UnrecognizedClientException", 400, ("no_credentials", SinkRejected, 77)),
        ("ExpiredTokenException", 400, ("no_credentials", SinkRejected, 77)),
        ("InvalidSignatureException", 400, ("clock_or_credentials", SinkRejected, 77)),
        ("SignatureDoesNotMatch", 403, ("clock_or_credentials", SinkRejected, 77)),
        ("RequestExpired", 400, ("clock_or_credentials", SinkRejected, 77)),
        ("InvalidRequestException", 400, ("invalid_request", SinkRejected, 74)),
        ("InvalidParameterException", 400, ("invalid_parameter", SinkRejected, 74)),
        ("LimitExceededException", 400, ("version_limit", SinkRejected, 74)),
        ("EncryptionFailure", 400, ("kms_failure", SinkRejected, 74)),
        ("DecryptionFailure", 400, ("kms_failure", SinkRejected, 74)),
        ("KMSDisabledException", 400, ("kms_failure", SinkRejected, 74)),
        ("KMSNotFoundException", 400, ("kms_failure", SinkRejected, 74)),
        ("KMSInvalidStateException", 400, ("kms_failure", SinkRejected, 74)),
        ("KeyUnavailableException", 400, ("kms_unavailable", SinkUnavailable, 74)),
        ("DependencyTimeoutException", 400, ("kms_unavailable", SinkUnavailable, 74)),
        ("ThrottlingException", 400, ("throttled", SinkUnavailable, 74)),
        ("TooManyRequestsException", 429, ("throttled", SinkUnavailable, 74)),
        ("InternalServiceError", 500, ("service_error", SinkUnavailable, 74)),
        ("SomethingNew", 503, ("service_error", SinkUnavailable, 74)),
        ("SomethingNew", 400, ("refused", SinkRejected, 74)),
        ("s3cret and more", 400, ("refused", SinkRejected, 74)),
    ],
)
def test_every_answer_of_aws_has_a_meaning(
    aws: "Client",
    faults: Faults,
    code: str,
    status: int,
    expected: tuple[str, type[SinkError], int],
) -> None:
    """AWS's error codes say who has to act; its texts, which may quote us, go nowhere."""
    sink = stored(aws)
    faults.plan("PutSecretValue", refuse(code, "the text says s3cret", status))
    error = error_of(lambda: sink.write(T1))

    assert (error.code, type(error), error.exit_code) == expected
    assert (ID in error.message, "s3cret" in str(error)) == (True, False)
    assert (error.__cause__, current_token(aws)) == (None, "tok-0")


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("DescribeSecret", "secretsmanager:DescribeSecret"),
        ("GetSecretValue", "secretsmanager:GetSecretValue"),
        ("PutSecretValue", "secretsmanager:PutSecretValue"),
        ("UpdateSecretVersionStage", "secretsmanager:UpdateSecretVersionStage"),
    ],
)
def test_a_denial_names_the_missing_right(
    aws: "Client", faults: Faults, operation: str, action: str
) -> None:
    """The message holds the very IAM action to allow."""
    sink = stored(aws)
    faults.plan(operation, refuse("AccessDeniedException"))

    def refresh() -> None:
        with sink.claim():
            sink.read()
            sink.write(T1)

    error = error_of(refresh)
    assert (error.code, f"allow {action} " in error.message) == ("access_denied", True)
    refresh()


def test_a_deleted_secret_names_its_cure(aws: "Client") -> None:
    """A secret that waits for its deletion is said to do so, with the command that restores it."""
    sink = stored(aws)
    aws.delete_secret(SecretId=ID, RecoveryWindowInDays=7)
    error = error_of(sink.read)

    assert (type(error), error.code) == (SinkRejected, "scheduled_for_deletion")
    assert error.message.endswith("aws secretsmanager restore-secret --secret-id prod/tiki")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (aws_exceptions.NoCredentialsError(), ("no_credentials", SinkRejected, 77)),
        (
            aws_exceptions.CredentialRetrievalError(provider="p", error_msg="s3cret"),
            ("no_credentials", SinkRejected, 77),
        ),
        (
            aws_exceptions.UnauthorizedSSOTokenError(),
            ("no_credentials", SinkRejected, 77),
        ),
        (
            aws_exceptions.ParamValidationError(report="s3cret"),
            ("invalid_parameter", SinkRejected, 74),
        ),
        (
            aws_exceptions.EndpointConnectionError(endpoint_url="s3cret"),
            ("unreachable", SinkUnavailable, 74),
        ),
        (
            aws_exceptions.ReadTimeoutError(endpoint_url="s3cret"),
            ("unreachable", SinkUnavailable, 74),
        ),
        (
            aws_exceptions.SSLError(endpoint_url="s3cret", error="s3cret"),
            ("tls_failure", SinkUnavailable, 74),
        ),
        (RuntimeError("s3cret"), ("aws_failure", SinkUnavailable, 74)),
    ],
)
def test_every_exception_of_botocore_has_a_meaning(
    aws: "Client",
    faults: Faults,
    raised: Exception,
    expected: tuple[str, type[SinkError], int],
) -> None:
    """Nothing that boto3 raises, nor its text, comes through."""
    sink = stored(aws)
    faults.plan("PutSecretValue", fail(raised))
    error = error_of(lambda: sink.write(T1))

    assert (error.code, type(error), error.exit_code) == expected
    assert "s3cret" not in str(error)
    assert error.__suppress_context__


def test_a_lost_call_is_made_again(aws: "Client", faults: Faults) -> None:
    """A connection that breaks before the call was carried out costs nothing but time."""
    sink = stored(aws)
    faults.plan("PutSecretValue", lose_call)
    assert error_of(lambda: sink.write(T1)).code == "unreachable"

    sink.write(T1)
    assert stages(aws) == {"tok-0": ["AWSPREVIOUS"], "tok-1": ["AWSCURRENT", PENDING]}


def test_an_answer_that_is_no_answer_is_tried_again(aws: "Client", faults: Faults) -> None:
    """What a proxy says in AWS's place is not taken for a secret."""
    sink = stored(aws)
    faults.plan("GetSecretValue", answer(b"<html>please log in</html>"), answer(b"{}"))
    for _ in range(2):
        error = error_of(sink.read)
        assert (type(error), error.code) == (SinkUnavailable, "aws_failure")


def test_a_method_ends_at_its_deadline(aws: "Client", faults: Faults) -> None:
    """When the time is over no further call is made; the write is repeated later."""
    sink = stored(aws)
    late = sink_of(aws, deadline_s=-1)
    faults.calls.clear()
    for act in (late.read, lambda: late.write(T1), lambda: late.claim().__enter__()):
        error = error_of(act)
        assert (type(error), error.code) == (SinkUnavailable, "timeout")
    assert faults.calls == []
    sink.write(T1)


@pytest.mark.fault("aws-silent")
def test_a_silent_endpoint_is_left_in_time(aws: "Client", faulty_aws: FaultyAws) -> None:
    """A call ends by the client's own timeout, and the next one works."""
    stored(aws)
    client = make_client(faulty_aws.url, read_timeout=1.5)
    sink = secret_sink(ID, JSON, lambda: client)
    faulty_aws.faults.plan("GetSecretValue", faulty_aws.stay_silent)
    error = error_of(sink.read)

    assert (type(error), error.code) == (SinkUnavailable, "unreachable")
    assert (sink.read(), faulty_aws.faults.calls.count("GetSecretValue")) == (T0, 2)
    client.close()


@pytest.mark.fault("aws-drips")
def test_a_dripping_endpoint_is_left_in_time(aws: "Client", faulty_aws: FaultyAws) -> None:
    """An answer that never ends holds one thread, however often the store is asked."""
    stored(aws)
    client = make_client(faulty_aws.url)
    calls = Sequential(Threads(keep_s=0.0))
    sink = secret_sink(ID, JSON, lambda: client, calls=calls, deadline_s=0.2)
    faulty_aws.faults.plan("GetSecretValue", faulty_aws.drip)
    errors = [error_of(sink.read) for _ in range(3)]

    assert [(type(error), error.code) for error in errors] == [(SinkUnavailable, "timeout")] * 3
    assert faulty_aws.faults.calls.count("GetSecretValue") == 1
    client.close()


@pytest.mark.fault("aws-silent")
def test_a_slow_call_is_the_last_one(aws: "Client", faults: Faults) -> None:
    """When the time is over after a call, no other one follows; the next write finishes it."""
    stored(aws)
    clock = iter([0.0, 1.0, 2.0, 31.0, *[40.0] * 20])
    store = secret_store(ID, lambda: aws, monotonic=lambda: next(clock))
    before, beside = store.load(), ""
    faults.calls.clear()
    text = Secret(render(T1, JSON))
    with pytest.raises(SinkUnavailable, match=r"30 s were over at UpdateSecretVersionStage"):
        store.replace(text, beside, before)
    assert faults.calls == ["PutSecretValue"]

    with store.lock():
        assert store.load().text == text
    assert stages(aws) == {"tok-0": ["AWSPREVIOUS"], "tok-1": ["AWSCURRENT", PENDING]}


def test_no_token_shows_in_an_error_or_a_repr(aws: "Client", faults: Faults) -> None:
    """The token that is being written appears in no text, whatever goes wrong."""
    value = secrets.token_urlsafe()
    store = secret_store(ID, lambda: aws, create=True)
    sink = RecordSink(store, JSON)
    texts = [sink.label, repr(sink)]
    for effect in (refuse("ThrottlingException", value), lose_call, fail(ValueError(value))):
        faults.plan("PutSecretValue", effect)
        error = error_of(lambda: sink.write(record(value, START + 1)))
        kept = [getattr(sink, name) for name in sink.__slots__]
        texts += [str(error), repr(error), repr(vars(store)), repr(kept)]

    assert [text for text in texts if value in text] == []


def test_an_odd_scope_does_not_stop_its_token(aws: "Client") -> None:
    """A server's scope with half a character in it, which no store can encode, is replaced."""
    odd = record_of(token("tok-1", START + 1, scope="a\ud800"), "key")
    sink = stored(aws, OutputFormat("template", "tiki", "{access_token} {scope}"))
    sink.write(odd)

    assert current(aws) == "tok-1 a?"


# The client


def test_the_client_is_made_once(
    moto_url: str, aws: "Client", aws_environ: pytest.MonkeyPatch
) -> None:
    """All sinks and threads share one client, with our own timeouts and boto3's credentials."""
    stored(aws)
    client = AwsClients().secrets_manager(Account(REGION, moto_url))
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(client())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert secret_sink(ID, JSON, client).read() == T0
    config = client().meta.config
    assert [each is client() for each in made] == [True] * 4
    assert (config.connect_timeout, config.read_timeout, config.region_name) == (3, 10, REGION)
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
    client().close()


@pytest.mark.parametrize(
    ("arguments", "environ", "code"),
    [
        ((None, None, None), {}, "no_region"),
        (("no region!", None, None), {}, "aws_configuration"),
        ((REGION, "nonsense", None), {}, "aws_configuration"),
        ((REGION, None, "no-such-profile"), {}, "unknown_profile"),
        ((REGION, None, None), {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no_cr"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_with_the_aws_settings_is_named(
    aws_environ: pytest.MonkeyPatch,
    arguments: tuple[str | None, str | None, str | None],
    environ: dict[str, str],
    code: str,
) -> None:
    """A wrong region, endpoint or profile, or no credentials, is a refusal with its cure."""
    for name, value in environ.items():
        aws_environ.setenv(name, value)
    client = AwsClients().secrets_manager(Account(*arguments))
    error = error_of(secret_sink(ID, JSON, client).read)

    assert isinstance(error, SinkRejected)
    assert error.code.startswith(code)


@pytest.mark.slow
def test_boto3_loads_with_the_first_call() -> None:
    """A command that only checks the configuration does not pay for boto3."""
    code = """
import sys
from job.aws.clients import Account, AwsClients
AwsClients().secrets_manager(Account())
print([name for name in ("boto3", "botocore") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"
