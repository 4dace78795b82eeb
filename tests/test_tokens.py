import json
from typing import Any

import pytest
from fakes import START, record, token
from hypothesis import given, settings
from hypothesis import strategies as st

from job.core.secret import Secret
from job.core.tokens import (
    END_OF_TIME,
    TEMPLATE_FIELDS,
    FormatName,
    OutputFormat,
    Receipt,
    Record,
    Token,
    is_ours,
    parse,
    record_of,
    render,
    render_receipt,
    request_key,
    unknown_template_fields,
)

JSON = OutputFormat("json", "tiki")
RAW = OutputFormat("raw", "tiki")
# RFC 6749 appendix A.12: an access token is visible ASCII.
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.integers(0, (END_OF_TIME - 1) // 2)
EXTRA = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers() | TEXTS, max_size=3)
RECORDS = st.builds(
    lambda value, token_type, scope, start, life, source, extra, key: record_of(
        Token(Secret(value), token_type, scope, start, start + life, source, extra=extra), key
    ),
    VALUES,
    st.sampled_from(["Bearer", "bearer", "DPoP"]),
    TEXTS,
    TIMES,
    TIMES,
    st.sampled_from(["expires_in", "jwt", "default"]),
    EXTRA,
    st.text("0123456789abcdef", min_size=16, max_size=16),
)
LITERALS = TEXTS.map(lambda text: text.replace("{", "{{").replace("}", "}}"))
FIELDS = st.sampled_from([f"{{{name}}}" for name in TEMPLATE_FIELDS])
TEMPLATES = st.lists(LITERALS | FIELDS).map(lambda parts: "{access_token}".join(["", *parts]))
LAYOUTS = st.builds(
    OutputFormat, st.sampled_from(["json", "raw", "header", "env"]), TEXTS
) | st.builds(OutputFormat, st.just("template"), TEXTS, TEMPLATES)


def round_trip(stored: Record, layout: OutputFormat) -> Record | None:
    """Write a record as texts and read it back."""
    return parse(render(stored, layout), layout, render_receipt(stored, layout))


@settings(deadline=None)
@given(RECORDS, LAYOUTS)
@pytest.mark.slow
def test_every_format_is_read_back(stored: Record, layout: OutputFormat) -> None:
    """What was rendered is parsed to the same record, whatever is in it and around it."""
    if "{access_token}" not in layout.template and layout.kind == "template":
        assert round_trip(stored, layout) is None
    else:
        assert round_trip(stored, layout) == stored


@settings(deadline=None)
@given(RECORDS, RECORDS, LAYOUTS)
@pytest.mark.slow
def test_a_receipt_knows_the_token_before(new: Record, old: Record, layout: OutputFormat) -> None:
    """While only one of text and receipt is replaced, a reader gets the record of the text."""
    receipt = render_receipt(new, layout, previous=old)
    if layout.kind == "template" and "{access_token}" not in layout.template:
        return
    if layout.kind != "json":
        found = parse(render(old, layout), layout, receipt)
        assert found is not None
        assert found.token.access_token == old.token.access_token
        assert parse(render(new, layout), layout, receipt) == new
    assert '"access_token":' not in receipt


@settings(deadline=None)
@given(st.text(), st.text(), LAYOUTS)
@pytest.mark.slow
def test_any_text_can_be_parsed(text: str, receipt: str, layout: OutputFormat) -> None:
    """Whatever a store holds, parsing it ends in a record of ours or in None."""
    assert parse(text, layout, receipt) is None
    assert not is_ours(text)


def test_the_document_is_the_contract() -> None:
    """The json format has exactly these members, in this order, and ends its line."""
    stored = record_of(token("tök", scope="a b", token_type="Bearer", extra={"tenant": 7}), "51b0")
    text = render(stored, JSON)

    assert text == (
        '{"access_token": "tök", "token_type": "Bearer", '
        f'"expires_at": {START + 3600}, "obtained_at": {START}, "scope": "a b", '
        '"extra": {"tenant": 7}, "freshtoken": {"name": "tiki", '
        f'"fingerprint": "{stored.receipt.fingerprint}", "request_key": "51b0", '
        '"expiry_source": "expires_in", "version": 1}}\n'
    )


@pytest.mark.parametrize(
    ("kind", "template", "expected"),
    [
        ("raw", "", "tok-1"),
        ("header", "", "Authorization: Bearer tok-1\n"),
        ("env", "", f"ACCESS_TOKEN=tok-1\nTOKEN_TYPE=Bearer\nEXPIRES_AT={START + 3600}\n"),
        (
            "template",
            "{name} {access_token} {token_type} {scope} {obtained_at} {expires_at} {{}}",
            f"tiki tok-1 Bearer  {START} {START + 3600} {{}}",
        ),
    ],
)
def test_the_other_texts(kind: FormatName, template: str, expected: str) -> None:
    """Readers without JSON get the very text that their format names."""
    assert render(record(), OutputFormat(kind, "tiki", template)) == expected


def test_env_values_are_safe_for_a_shell() -> None:
    """A token with a quote in it can be read by `.` in a shell and never runs anything."""
    text = render(record("a'$(b)\"c"), OutputFormat("env", "tiki"))

    assert text.startswith("""ACCESS_TOKEN='a'"'"'$(b)"c'\n""")


def test_a_receipt_holds_no_token() -> None:
    """A receipt is the document without the token, safe to store anywhere."""
    document = json.loads(render(record(), JSON))
    del document["access_token"]

    assert json.loads(render_receipt(record(), RAW)) == document
    assert json.loads(render_receipt(record(), RAW, record("tok-0"))).pop("previous") == (
        json.loads(render_receipt(record("tok-0"), RAW))
    )


@pytest.mark.parametrize(
    "edit",
    [
        {"access_token": ""},
        {"access_token": None},
        {"access_token": "another"},
        {"access_token": "two words"},
        {"access_token": "\ud800"},
        {"expires_at": START - 1},
        {"expires_at": "tomorrow"},
        {"expires_at": True},
        {"expires_at": 10**400},
        {"expires_at": END_OF_TIME},
        {"obtained_at": -1},
        {"obtained_at": 1.5},
        {"obtained_at": None},
        {"freshtoken": None},
        {"freshtoken": {}},
        {"freshtoken": {"fingerprint": "000000000000"}},
    ],
)
def test_an_edited_document_is_no_record(edit: dict[str, Any]) -> None:
    """A document that does not fit together proves nothing."""
    document = json.loads(render(record(), JSON)) | edit

    assert parse(json.dumps(document), JSON) is None


@pytest.mark.parametrize("edit", [{"extra": "x", "scope": 7}, {"freshtoken": {"version": 9}}])
def test_a_document_may_lack_what_proves_nothing(edit: dict[str, Any]) -> None:
    """What is neither token nor date nor fingerprint has a default: an old document is read."""
    document = json.loads(render(record(), JSON))
    document["freshtoken"] |= edit.pop("freshtoken", {})
    found = parse(json.dumps(document | edit), JSON)

    assert found is not None
    assert (found.receipt, dict(found.token.extra)) == (record().receipt, {})


@pytest.mark.parametrize(
    "text", ["", "tok-1", "null", "[]", "{", "[" * 100_000, '{"freshtoken": 1}']
)
def test_what_is_not_ours(text: str) -> None:
    """Only a document with our member in it is ours; nothing makes the question fail."""
    assert not is_ours(text)
    assert parse(text, JSON) is None
    assert parse(text, RAW, text) is None


def test_what_is_ours() -> None:
    """A document and a receipt of ours are known as such."""
    assert is_ours(render(record(), JSON))
    assert is_ours(render_receipt(record(), RAW))


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (RAW, "tok-2"),
        (RAW, "tok-1 "),
        (OutputFormat("header", "tiki"), "Authorization: Bearer tok-1"),
        (OutputFormat("env", "tiki"), "ACCESS_TOKEN='tok-1"),
        (OutputFormat("env", "tiki"), "TOKEN=tok-1"),
        (OutputFormat("template", "tiki", "{access_token} {access_token}"), "tok-1 tok-2"),
        (OutputFormat("template", "tiki", "{scope}"), "tok-1"),
    ],
)
def test_a_text_and_a_receipt_that_do_not_match(layout: OutputFormat, text: str) -> None:
    """A receipt vouches for one token in one text."""
    assert parse(text, layout, render_receipt(record(), layout)) is None


@pytest.mark.fault("foreign-file")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("receipt", ["", "{}", '{"freshtoken": {}}'])
def test_a_foreign_text_costs_no_time(receipt: str) -> None:
    """A text that only looks like a template is given up at once, however long it is."""
    template = "{token_type} {scope} {access_token} {expires_at} {obtained_at}\n"
    text = "a " * 500_000

    assert parse(text, OutputFormat("template", "tiki", template), receipt) is None
    assert parse(text, OutputFormat("env", "tiki"), receipt) is None


def test_a_receipt_of_a_few_tags_is_enough() -> None:
    """Where a receipt has the dates and the fingerprint only, the rest is found in the text."""
    layout = OutputFormat("template", "tiki", "{token_type}|{scope}|{access_token}|{expires_at}")
    stored = record()
    receipt = {
        "expires_at": START + 3600,
        "obtained_at": START,
        "freshtoken": {"fingerprint": stored.receipt.fingerprint, "request_key": "key"},
    }
    found = parse(render(stored, layout), layout, json.dumps(receipt))

    assert found is not None
    assert found.receipt == stored.receipt


def test_a_templates_fields_are_checked() -> None:
    """A field that can't be filled, or not be read back, is named as it was written."""
    fine = "".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    bad = "{token}{}{0}{name.x}{scope!r}{name:>9}{scope!s:^3}{{fine}}"

    assert unknown_template_fields(fine) == []
    expected = ["token", "", "0", "name.x", "scope!r", "name:>9", "scope!s:^3"]
    assert unknown_template_fields(bad) == expected
    with pytest.raises(ValueError, match="expected '}'"):
        unknown_template_fields("{access_token")


def test_a_record_is_its_tokens_receipt() -> None:
    """The receipt repeats what proves the token, and nothing secret."""
    made = record_of(token("tok-1", START, 60), "key")
    fingerprint = Secret("tok-1").fingerprint()

    assert made.receipt == Receipt(fingerprint, "key", START, START + 60)
    assert made.token.lifetime == 60
    assert "tok-1" not in repr(made)


BASE: dict[str, Any] = {
    "token_url": "https://id.example/token",
    "client_id": "me",
    "scope": ["a", "b"],
    "audience": "api",
    "resource": ["r", "s"],
    "extra_params": {"x": "1", "y": "2"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"token_url": "https://id.example/token/"},
        {"client_id": "you"},
        {"scope": ["a"]},
        {"scope": ["a b"]},
        {"audience": None},
        {"resource": ["s", "r"]},
        {"resource": ["r"]},
        {"extra_params": {"x": "1", "y": "3"}},
        {"extra_params": None},
    ],
)
def test_another_request_has_another_key(change: dict[str, Any]) -> None:
    """A stored token is never taken for the answer to a changed request."""
    assert request_key(**(BASE | change)) != request_key(**BASE)


@pytest.mark.parametrize(
    "change", [{}, {"scope": ("b", "a")}, {"extra_params": {"y": "2", "x": "1"}}]
)
def test_the_same_request_has_the_same_key(change: dict[str, Any]) -> None:
    """Order that means nothing to the server means nothing here; the key is stable."""
    assert request_key(**(BASE | change)) == request_key(**BASE)
    assert request_key("https://id.example/token", "me") == "b7b510844d89efcd"
