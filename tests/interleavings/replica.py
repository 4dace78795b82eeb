"""A replica of the production code, as a function from the answers it has got to its next call.

The code is deterministic, so it can be run from its start on recorded answers up to the first call
that has none yet. No thread and no clock is needed to stop a replica between any two calls, and
two orders of events after which all has been answered alike need to be looked at only once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError
from fakes import START, FakeClock, token
from sinks import secret_sink

from interleavings.secret import Call, Refused, SharedSecret
from job.core.errors import EndpointUnavailable
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import FormatName, OutputFormat, Token, record_of
from job.sinks.record_sink import RecordSink

ASK = "ask for a token"
MINT = "get the token"
DUE = START + 3000
"""A token requested at START, that lives an hour, is past its refresh time and still valid."""
STEPS = 8
LOST = Refused("the connection was lost")
AT_WORK = "at work"
"""The first answer of a replica that has refreshed before: it no longer looks for what dead ones
left, unless a write of its own fails."""
REQUEST_KEY = "0123456789abcdef"


class Paused(BaseException):
    """Ends a run at the first call that has no answer yet."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.call = call


@dataclass(frozen=True)
class Done:
    """How a replica ended: with this token, which is in the secret as far as it knows."""

    token: str


@dataclass(frozen=True)
class Setting:
    """How the sink is set up."""

    format: FormatName = "json"
    json_key: str | None = None
    create: bool = False
    compare_and_swap: bool = True

    def sink(self, client: Any) -> RecordSink:  # noqa: ANN401  # a stand-in for boto3's
        """Build the sink under test."""
        return secret_sink(
            "prod/tiki",
            OutputFormat(self.format, "tiki"),
            lambda: client,
            json_key=self.json_key,
            create=self.create,
            compare_and_swap=self.compare_and_swap,
        )

    def next_of(self, answers: tuple[object, ...]) -> Call | Done:
        """Return the first call of a replica without an answer, or how it ended."""
        is_at_work = answers[:1] == (AT_WORK,)
        nothing_left = ((),) if is_at_work else ()
        world, clock = World((*nothing_left, *answers[is_at_work:])), FakeClock(DUE)
        sink, plan = self.sink(world), Plan(Policy(), "host")
        refresher = Refresher("tiki", world, [sink], plan, REQUEST_KEY, clock)
        if is_at_work:
            with sink.claim():
                pass
        try:
            for _ in range(STEPS):
                refresher.step()
                if refresher.is_current():
                    return Done(refresher.live_secrets()[0].reveal())
                clock.advance(max(refresher.wait_s(), 0.0))
        except Paused as paused:
            return paused.call
        raise AssertionError(f"not current after {STEPS} steps")

    def holding(self, value: str) -> SharedSecret:
        """Return a secret that holds a token which is due."""
        stored = token(value)
        secret, answers = SharedSecret(), ()
        while True:
            try:
                self.sink(World(answers)).write(record_of(stored, REQUEST_KEY))
            except Paused as paused:
                secret, answer = secret.carry_out(paused.call)
                answers = (*answers, answer)
            else:
                return secret


class AwsClient:
    """boto3's client, as far as the sink uses it; `carry_out` answers each call."""

    def __init__(self, carry_out: Callable[[Call], Any]) -> None:
        self._carry_out = carry_out

    def describe_secret(self, **asked: Any) -> Mapping[str, Any]:  # noqa: ANN401  # boto3's ways
        labels = self._aws("DescribeSecret", asked)
        return {"VersionIdsToStages": {version: list(names) for version, names in labels}}

    def get_secret_value(self, **asked: Any) -> Mapping[str, Any]:  # noqa: ANN401  # boto3's ways
        version_id, text = self._aws("GetSecretValue", asked)
        return {"VersionId": version_id, "SecretString": text}

    def put_secret_value(self, **asked: Any) -> Mapping[str, Any]:  # noqa: ANN401  # boto3's ways
        self._aws("PutSecretValue", asked | {"VersionStages": tuple(asked["VersionStages"])})
        return {}

    def update_secret_version_stage(self, **asked: Any) -> Mapping[str, Any]:  # noqa: ANN401  # boto3's ways
        self._aws("UpdateSecretVersionStage", asked)
        return {}

    def create_secret(self, **asked: Any) -> Mapping[str, Any]:  # noqa: ANN401  # boto3's ways
        self._aws("CreateSecret", asked | {"Tags": tuple(asked["Tags"])})
        return {}

    def _aws(self, operation: str, asked: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any answer
        answer = self._carry_out(Call(operation, tuple(sorted(asked.items()))))
        if answer is LOST:
            raise ConnectionClosedError(endpoint_url="https://secretsmanager.invalid")
        if isinstance(answer, Refused):
            refusal: Any = {"Error": {"Code": answer.code}, "ResponseMetadata": {}}
            raise ClientError(refusal, operation)
        return answer


class World(AwsClient):
    """The authorization server and boto3's client, as far as they have answered yet."""

    def __init__(self, answers: tuple[object, ...]) -> None:
        super().__init__(self._answer)
        self._answers = iter(answers)

    def fetch(self) -> Token:
        asked = self._answer(Call(ASK))
        value = self._answer(Call(MINT, (("asked", asked),)))
        if value is LOST:
            raise EndpointUnavailable("connection_failed", "the answer was lost")
        return token(value, DUE + asked)

    def changed(self) -> bool:
        return False

    def _answer(self, call: Call) -> Any:  # noqa: ANN401  # any answer
        for answer in self._answers:
            return answer
        raise Paused(call)
