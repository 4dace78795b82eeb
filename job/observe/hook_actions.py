"""What a hook can do: run a command, call a webhook, signal a process."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import urlsplit

from job.core.errors import ExchangeError, SecretUnavailable
from job.core.ports import SecretSource
from job.http.transport import Transport
from job.oauth.request import json_request
from job.observe.hooks import HookError, Occasion

KEPT_OUTPUT = 4096
MAX_PID_LENGTH = 32
OK_STATUSES = range(200, 300)


@dataclass(frozen=True)
class CommandHook:
    """Runs a command, without a shell and in a process group of its own.

    Its environment is `environ` and the facts of the occasion, as FRESHTOKEN_EVENT,
    FRESHTOKEN_TOKEN and so on; its standard input is the facts as one JSON object. After
    `timeout_s` the whole group is killed.
    """

    argv: tuple[str, ...]
    timeout_s: float
    environ: Mapping[str, str] = field(repr=False)

    @property
    def label(self) -> str:
        """Return what the log calls it."""
        return f"command:{os.path.basename(self.argv[0])}"

    def run(self, occasion: Occasion) -> str:
        """Run it and return the beginning of what it printed; raises HookError."""
        facts = occasion.facts()
        named = {f"FRESHTOKEN_{key.upper()}": str(value or "") for key, value in facts.items()}
        # Files in memory instead of pipes: a grandchild that keeps one open can't delay us.
        with _scratch(json.dumps(facts).encode()) as given, _scratch(b"") as output:
            status = self._run(given, output, {**self.environ, **named})
            output.seek(0)
            printed = " ".join(output.read(KEPT_OUTPUT).decode(errors="replace").split())
        if status is None:
            raise HookError(f"it took over {self.timeout_s:g} s and was killed: {printed}")
        if status:
            raise HookError(f"it ended with status {status}: {printed}")
        return printed

    def _run(self, given: IO[bytes], output: IO[bytes], environ: Mapping[str, str]) -> int | None:
        """Return how the command ended, or None if it did not in time."""
        try:
            process = subprocess.Popen(  # noqa: S603  # the operator's own configuration names it
                self.argv,
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            what = f"{self.argv[0]} cannot be run ({error.strerror}); check it"
            raise HookError(what) from None
        try:
            return process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class WebhookHook:
    """Posts the facts of the occasion as JSON; any 2xx is a success.

    With a `secret` the request carries `Freshtoken-Signature: t=SECONDS,v1=HEX`: the HMAC-SHA256
    (RFC 2104) of the seconds, a dot and the body. The log shows only the host.
    """

    url: str = field(repr=False)
    transport: Transport
    secret: SecretSource | None = None

    @property
    def label(self) -> str:
        """Return what the log calls it."""
        return f"webhook:{urlsplit(self.url).hostname}"

    def run(self, occasion: Occasion) -> str:
        """Post, and return the status; raises HookError."""
        body = json.dumps(occasion.facts()).encode()
        try:
            request = json_request(self.url, body, self._signature(occasion.at, body))
            status = self.transport.send(request).status
        except SecretUnavailable as error:
            raise HookError(f"nothing was sent: {error.message}") from None
        except ExchangeError as error:
            raise HookError(f"no answer [{error.code}]") from None
        if status not in OK_STATUSES:
            raise HookError(f"the answer is HTTP {status}")
        return f"HTTP {status}"

    def _signature(self, at: int, body: bytes) -> dict[str, str]:
        if self.secret is None:
            return {}
        key = self.secret.resolve().reveal().encode()
        mac = hmac.new(key, b"%d." % at + body, hashlib.sha256).hexdigest()
        return {"Freshtoken-Signature": f"t={at},v1={mac}"}


@dataclass(frozen=True)
class SignalHook:
    """Sends a signal to the process whose number is in a file, such as a server that reloads."""

    pidfile: str
    number: signal.Signals

    @property
    def label(self) -> str:
        """Return what the log calls it."""
        return f"signal:{os.path.basename(self.pidfile)}"

    def run(self, occasion: Occasion) -> str:  # noqa: ARG002  # a signal carries nothing
        """Send it; raises HookError where there is no such process."""
        try:
            with open(self.pidfile, encoding="ascii") as file:
                number = int(file.read(MAX_PID_LENGTH))
        except OSError as error:
            what = f"{self.pidfile} can't be read ({error.strerror}); check the path"
            raise HookError(what) from None
        except ValueError:
            raise HookError(f"{self.pidfile} holds no process number; check the path") from None
        if number <= 1:
            what = f"{self.pidfile} holds {number}, and no process of that number may be signalled"
            raise HookError(what)
        try:
            os.kill(number, self.number)
        except OSError as error:
            raise HookError(f"process {number} of {self.pidfile}: {error.strerror}") from None
        return f"{self.number.name} to {number}"


def _scratch(content: bytes) -> IO[bytes]:
    """Return a file in memory that holds this, at its start."""
    file = open(os.memfd_create("hook"), "w+b")  # noqa: SIM115  # the caller closes it
    file.write(content)
    file.seek(0)
    return file
