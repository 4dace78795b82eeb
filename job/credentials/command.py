"""Secrets that a command prints."""

import os
import subprocess  # it runs what the operator configured, without a shell
from dataclasses import dataclass

from job.core.secret import Secret
from job.credentials.base import CostlySource, Kind, secret_of, unavailable


@dataclass(frozen=True, slots=True)
class CommandSecret(CostlySource):
    """A secret that a command prints, such as a password manager's; it runs without a shell."""

    argv: tuple[str, ...]
    timeout_s: float = 10.0

    def resolve(self) -> Secret:
        """Run the command and return what it prints."""
        name = f"the command {self.argv[0]}"
        try:
            done = subprocess.run(  # noqa: S603  # the operator's own configuration names it
                self.argv, capture_output=True, timeout=self.timeout_s, check=False
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise unavailable(f"{name} cannot be run ({reason})", "check it") from None
        except subprocess.TimeoutExpired:
            raise unavailable(f"{name} took over {self.timeout_s:g} s", "make it faster") from None
        if done.returncode:
            raise unavailable(f"{name} ended with status {done.returncode}", "run it by hand")
        return secret_of(done.stdout, name)


KIND = Kind("command", lambda settings, *_: CommandSecret(settings.command or ()))
