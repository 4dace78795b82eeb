"""The keys of the configuration: durations, types, and what the JSON Schema says of them."""

import re
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import tokens_of

from job.config.json_schema import json_schema
from job.config.settings import CommonSettings, ConfigFile, TokenSettings
from job.config.shape import tables_of
from job.core.errors import ConfigError
from job.credentials.settings import SecretSettings
from job.sinks.file import FileSinkSettings
from job.sinks.secrets_manager import SecretsManagerSinkSettings
from job.values import MAX_DURATION_S, Duration, value_reader

DURATION = "is not a duration; write 30s, 5m, 1h30m or a number of seconds"
many = settings(database=None, deadline=None, max_examples=100)

KINDS = (
    ConfigFile,
    CommonSettings,
    TokenSettings,
    SecretSettings,
    FileSinkSettings,
    SecretsManagerSinkSettings,
)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("1d2h3m4.5s", 93_784.5),
        ("0.5s", 0.5),
        ("0s", 0.0),
        (" 5m ", 300.0),
        ("90", 90.0),
        ("1.5", 1.5),
        (90, 90.0),
        (1.5, 1.5),
        (0, 0.0),
        ("3650d", float(MAX_DURATION_S)),
    ],
)
def test_a_duration_is_units_or_a_number_of_seconds(duration: str | float, expected: float) -> None:
    """30s, 5m, 1h30m, 2d and plain seconds, as text or number, are what they say."""
    assert Duration(duration) == expected


@pytest.mark.parametrize(
    "duration",
    [
        *("", " ", "m", "5 m", "1h5", "1m1h", "5M", "-1", "-5m", "1.5h", "٣", "soon", "1e3", "inf"),
        *(-1, -0.5, float("nan"), float("inf"), 10**400, "9" * 400, "3650d1s", MAX_DURATION_S + 1),
    ],
)
def test_anything_else_is_no_duration(duration: str | float) -> None:
    """What isn't a duration from zero to ten years is refused, and its text is not repeated."""
    with pytest.raises(ValueError, match=re.compile(rf"^{DURATION}$")):
        Duration(duration)


@many
@given(st.integers(0, 3649), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_units_add_up(days: int, hours: int, minutes: int, rest: int) -> None:
    """A duration is the sum of its parts, whichever of them are there."""
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    text = "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
    assert Duration(text) == ((days * 24 + hours) * 60 + minutes) * 60 + rest


@many
@given(st.text(max_size=8) | st.floats() | st.integers())
def test_every_value_is_a_duration_or_refused(value: str | float) -> None:
    """Whatever is written, the answer is a number that fits into a timer or a ValueError."""
    with suppress(ValueError):
        assert 0 <= Duration(value) <= MAX_DURATION_S


def schema_of(kind: type) -> Mapping[str, Any]:
    """Return the part of the JSON Schema that describes one table."""
    schema: Mapping[str, Any] = json_schema()["$defs"][kind.__name__]
    return schema


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_the_schema_has_the_keys_that_loading_has(kind: type) -> None:
    """The JSON Schema knows every key and no other, and requires what loading requires."""
    schema, fields = schema_of(kind), msgspec.structs.fields(kind)
    tag = {"type"} & schema["properties"].keys()
    assert schema["properties"].keys() - tag == {field.name for field in fields}
    assert set(schema["required"]) - tag == {field.name for field in fields if field.required}
    assert schema["additionalProperties"] is False


VALUES: Mapping[str, list[Any]] = {
    "string": ["", "text"],
    "integer": [0, 3],
    "number": [0.3],
    "boolean": [True],
    "array": [["text"], []],
    "object": [{"key": "text"}, {}],
}


def accepted(schema: Mapping[str, Any]) -> Iterator[object]:
    """Yield values that the schema of a simple key accepts; no value of TOML is null."""
    for option in schema.get("anyOf", ()):
        yield from accepted(option)
    yield from schema.get("enum", ())
    least, most = schema.get("exclusiveMinimum", schema.get("minimum")), schema.get("maximum", 1)
    if least is not None:
        middle = (least + schema.get("exclusiveMaximum", most)) / 2
        yield int(middle) if schema["type"] == "integer" else middle
    elif "type" in schema and "enum" not in schema:
        yield from VALUES.get(schema["type"], ())


@pytest.mark.parametrize("kind", [CommonSettings, FileSinkSettings, SecretsManagerSinkSettings])
@pytest.mark.slow
def test_loading_accepts_the_types_that_the_schema_accepts(kind: type) -> None:
    """Each type that the JSON Schema names for a simple key converts, and each other one fails."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, schema in schema_of(kind)["properties"].items():
        simple = name in hints and not any(tables_of(hints[name])) and not is_parsed(hints[name])
        right = list(accepted(schema)) if simple else []
        converted = [convert(value, hints[name]) for value in right]
        assert [list(c) if isinstance(c, tuple) else c for c in converted] == right
        if simple:
            every = [value for values in VALUES.values() for value in values]
            kinds = tuple(map(type, right))
            for wrong in (value for value in every if type(value) not in kinds):
                assert is_refused(wrong, hints[name]), (name, wrong)


def is_parsed(hint: object) -> bool:
    """Tell whether not every text of the type that the schema names is a value."""
    return any(
        kind in str(hint) for kind in ("Duration", "Lifetime", "Timeout", "Rate", "TokenAge")
    )


def convert(value: object, hint: object) -> object:
    """Convert a value as loading does."""
    return msgspec.convert(value, hint, dec_hook=value_reader(""))


def is_refused(value: object, hint: object) -> bool:
    """Tell whether a value doesn't convert. An integer may stand for any number."""
    try:
        convert(value, hint)
    except msgspec.ValidationError:
        return True
    return isinstance(value, int) and not isinstance(value, bool)


@pytest.mark.slow
def test_every_key_says_what_it_is() -> None:
    """Each key of every table has a description, which the schema and the reference show."""
    undescribed = [
        (kind.__name__, name)
        for kind in KINDS[1:]
        for name, schema in schema_of(kind)["properties"].items()
        if name != "type" and "description" not in str(schema)
    ]
    assert undescribed == []


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_what_goes_to_the_system_has_no_nul(text: str) -> None:
    """A NUL, which TOML can write, would end a path early or crash: it is a mistake."""
    sink = {"type": "file", "path": text}
    token = {"client_id": "c", "client_secret": {"file": text}, "ca_file": text, "sinks": [sink]}
    with pytest.raises(ConfigError) as caught:
        tokens_of({"tokens": {"one": token | {"token_url": "https://as.example/t"}}})
    assert caught.value.problems == (
        "tokens.one.ca_file: must be text in quotes",
        "tokens.one.client_secret.file: must be text in quotes",
        "tokens.one.sinks[1].path: must be text in quotes",
    )
