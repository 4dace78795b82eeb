"""Secrets in files: a file of their own, or a credential of systemd."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from job.core.secret import Secret
from job.credentials.base import MAX_SECRET_BYTES, Kind, secret_of, unavailable
from job.credentials.settings import SecretSettings


@dataclass(frozen=True, slots=True)
class FileSecret:
    """A secret in a file of its own, without the newline that editors put at its end."""

    path: str

    def resolve(self) -> Secret:
        """Return the file's content."""
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            what = f"the file {self.path} cannot be read ({os.strerror(error.errno or 0)})"
            raise unavailable(what, "check the path and its permissions") from None
        return secret_of(content, f"the file {self.path}")


@dataclass(frozen=True, slots=True)
class CredentialSecret:
    """A credential that systemd hands to a service (LoadCredential=, systemd.exec(5))."""

    name: str
    environ: Mapping[str, str]

    def resolve(self) -> Secret:
        """Return the content of the credential's file."""
        folder = self.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            what = f"there is no $CREDENTIALS_DIRECTORY to hold the credential {self.name}"
            cure = f"run as a systemd service with LoadCredential={self.name}:PATH"
            raise unavailable(what, cure)
        return FileSecret(os.path.join(folder, self.name)).resolve()


def _name_problems(settings: SecretSettings) -> Iterator[tuple[str, str]]:
    if "/" in (settings.credential or ""):
        yield "credential", "must be a name, without a folder"


KIND = Kind(
    "file", lambda settings, *_: FileSecret(settings.file or ""), is_free=True, is_file=True
)
CREDENTIAL = Kind(
    "credential",
    lambda settings, environ, _: CredentialSecret(settings.credential or "", environ),
    problems=_name_problems,
)
