"""The settings that all kinds of sink share, and the questions that each kind answers."""

import string
from collections.abc import Iterator
from typing import ClassVar

import msgspec

from job.core.tokens import TEMPLATE_FIELDS, FormatName, OutputFormat, unknown_template_fields
from job.values import Table

Place = tuple[str | None, ...]
"""Where a sink writes, from the general to the particular."""


class SinkSettings(Table, frozen=True, kw_only=True, tag_field="type"):
    """A place where readers find a token. A kind gives its `tag` and, below, what differs."""

    title: ClassVar[str]
    """What people call the kind."""
    variable: ClassVar[str]
    """How the variable FRESHTOKEN_SINK names one: a word, a colon and a key in capitals."""
    read_interval_s: ClassVar[float] = 30.0
    """How often a watcher may read one; by default as for a request, which may cost."""
    max_versions_per_day: ClassVar[int | None] = None
    """How many writes a day the kind takes, if it keeps every version for a day."""
    lock_reaches_all_writers: ClassVar[bool] = False
    """Whether its lock keeps every other writer from minting (docs/decisions/0007)."""

    format: FormatName = "json"
    """The layout of the text."""
    template: str | None = None
    """For format template: as for a file."""
    overwrite: bool = False
    """Replace a value that freshtoken has not written."""

    @property
    def place(self) -> Place:
        """Return what it writes to, by default all that must be given.

        Two sinks collide if one's place is the beginning of the other's, or the same.
        """
        given = (field.name for field in msgspec.structs.fields(self) if field.required)
        return (str(self.__struct_config__.tag), *(str(getattr(self, name)) for name in given))

    @property
    def local_path(self) -> str | None:
        """Return the local file that it writes, if any; other files may be put beside it."""
        return None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what types can't tell is wrong: the key, and what to do."""
        if (self.format == "template") != (self.template is not None):
            yield "template", 'goes with format = "template", and only with it'
        if self.template is None:
            return
        try:
            unknown = unknown_template_fields(self.template)
            fields = [name for _, name, _, _ in string.Formatter().parse(self.template)]
        except ValueError:
            yield "template", "has an unmatched brace; write {{ and }} for braces"
            return
        if unknown:
            known = ", ".join(TEMPLATE_FIELDS)
            yield "template", f"unknown field {{{unknown[0]}}}; known are {known}"
        elif "access_token" not in fields:
            yield "template", "lacks {access_token}"

    def unwritable(self) -> str | None:
        """Return what would prevent a write, and what to do, as far as a look can tell."""
        return None

    def layout(self, name: str) -> OutputFormat:
        """Return how the token of a name is laid out."""
        return OutputFormat(self.format, name, self.template or "")
