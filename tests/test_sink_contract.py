"""What every sink promises (job/core/ports.py), in every format, whatever store is below it."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping

import pytest
from fakes import START, record, token
from places import ExamplePlace, FilePlace, JsonKeyPlace, Place, PlainPutPlace, SecretPlace

from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Conflict, Sink, Superseded
from job.core.secret import Secret
from job.core.tokens import FormatName, Record, record_of

LATER = START + 2000

STORES: Mapping[str, type[Place]] = {
    "file": FilePlace,
    "secret": SecretPlace,
    "json_key": JsonKeyPlace,
    "plain": PlainPutPlace,
    "example": ExamplePlace,
}
PLACES = [(where, kind) for where, place in STORES.items() for kind in place.formats]
ORDERING = [one for one in PLACES if STORES[one[0]].orders_writers]


def cases(places: Iterable[tuple[str, FormatName]]) -> list[pytest.ParameterSet]:
    """Return the places to run a test with; those in AWS need a server."""
    return [
        pytest.param(
            place,
            id="-".join(place),
            marks=[pytest.mark.slow] * issubclass(STORES[place[0]], SecretPlace),
        )
        for place in places
    ]


@pytest.fixture(params=cases(PLACES))
def place(request: pytest.FixtureRequest) -> Place:
    """Run the test with each kind of store, in each format."""
    where, kind = request.param
    return STORES[where](request, kind)


def shown(place: Place, stored: Record) -> Record:
    """Return what a place gives back of a record: some have the receipt alone."""
    if place.keeps_all:
        return stored
    bare = token(
        stored.token.access_token.reveal(),
        stored.token.requested_at,
        stored.token.lifetime,
        expiry_source="",
    )
    return record_of(bare, stored.receipt.request_key)


def test_an_empty_place_reads_as_none(place: Place) -> None:
    """Nothing stored is no error: it is None, and reading leaves it so."""
    assert place.sink().read() is None
    assert place.value() is None


def test_what_is_written_is_read(place: Place) -> None:
    """A record comes back as it was, to the writer and to a process that starts later."""
    stored = record_of(token(secrets.token_urlsafe(), scope="a b", token_type="Bearer"), "key")
    if not place.keeps_all:
        stored = record(stored.token.access_token.reveal())
    sink = place.sink()

    with sink.claim():
        sink.read()
        sink.write(stored)

    assert (sink.read(), place.sink().read()) == (shown(place, stored), shown(place, stored))


def test_readers_find_the_token_in_its_format(place: Place) -> None:
    """The place holds the very text that the format promises."""
    place.sink().write(record("tok-1"))

    value, kind = place.value(), place.layout.kind
    if kind == "json":
        document = json.loads(value) if isinstance(value, str) else value
        assert (document["access_token"], document["expires_at"]) == ("tok-1", START + 3600)
    else:
        assert (
            value
            == {
                "raw": "tok-1",
                "header": "Authorization: Bearer tok-1\n",
                "env": f"ACCESS_TOKEN=tok-1\nTOKEN_TYPE=Bearer\nEXPIRES_AT={START + 3600}\n",
                "template": f'{{"bearer": "tok-1", "kind": "Bearer", "until": {START + 3600}}}\n',
            }[kind]
        )


def test_writing_twice_is_writing_once(place: Place) -> None:
    """A repeated write changes nothing, whoever repeats it."""
    sink = place.sink()
    sink.write(record())
    before = place.generation()

    sink.write(record())
    place.sink().write(record())
    reader = place.sink()
    reader.read()
    reader.write(record())

    assert place.generation() == before


def test_a_newer_record_replaces(place: Place) -> None:
    """The newest token is what readers find."""
    sink = place.sink()
    sink.write(record("tok-1"))
    with sink.claim():
        sink.read()
        sink.write(record("tok-2", LATER))

    assert place.sink().read() == shown(place, record("tok-2", LATER))


def test_a_failing_write_leaves_the_old_token(place: Place) -> None:
    """A store that can't take the record keeps the one it had, and takes the new one later."""
    sink = place.sink()
    sink.write(record("tok-1"))
    before = place.value()
    sink.read()

    with place.full(), pytest.raises(SinkUnavailable) as caught:
        sink.write(record("tok-2", LATER))
    assert (place.value(), caught.value.retryable, caught.value.exit_code) == (before, True, 74)

    sink.write(record("tok-2", LATER))
    assert place.sink().read() == shown(place, record("tok-2", LATER))


def test_a_refusal_names_its_place_and_its_cure(place: Place) -> None:
    """What an operator has to cure is SinkRejected, with a code, a place and something to do."""
    sink = place.sink()
    sink.write(record())
    with place.refusing(), pytest.raises(SinkRejected) as caught:
        sink.write(record("tok-2", LATER))

    code, cure = place.refusal
    assert (caught.value.code, cure in caught.value.message) == (code, True)
    assert sink.label.partition(":")[2] in caught.value.message


def test_a_foreign_value_is_never_overwritten(place: Place) -> None:
    """What freshtoken has not written stays, unless `overwrite` says otherwise."""
    place.put_foreign("precious")
    actions: list[Callable[[Sink], object]] = [lambda s: s.read(), lambda s: s.write(record())]
    for act in actions:
        with pytest.raises(SinkRejected) as caught:
            act(place.sink())
        assert caught.value.code.startswith("foreign_")
        assert "overwrite = true" in caught.value.message
    assert place.value() == "precious"

    sink = place.sink(overwrite=True)
    assert sink.read() is None
    sink.write(record())
    assert place.sink().read() == shown(place, record())


@pytest.mark.parametrize("place", cases(ORDERING), indirect=True)
def test_a_store_replaces_only_what_it_has_loaded(place: Place) -> None:
    """A text that a rival has stored in the meantime is a Conflict, and stays."""
    place.sink().write(record("tok-0"))
    slow, fast = place.store(), place.store()
    before = slow.load()
    with fast.lock():
        fast.replace(Secret("rival"), "", fast.load())

    with slow.lock(), pytest.raises(Conflict):
        slow.replace(Secret("mine"), "", before)
    assert slow.load().text == Secret("rival")


def test_an_older_record_never_replaces_a_rivals_newer_one(place: Place) -> None:
    """Of two writers the newer token wins; the loser gets it, once, and is then free again."""
    slow, fast = place.sink(), place.sink()
    slow.write(record("tok-0", START - 10))
    slow.read()
    fast.write(record("tok-2", START + 2))

    with pytest.raises(Superseded) as caught:
        slow.write(record("tok-1", START + 1))
    assert caught.value.winner == shown(place, record("tok-2", START + 2))
    assert place.sink().read() == shown(place, record("tok-2", START + 2))

    # A clock that was ahead must not block the place for ever.
    slow.write(record("tok-1", START + 1))
    assert place.sink().read() == shown(place, record("tok-1", START + 1))


def test_what_was_read_may_be_replaced_whatever_its_date(place: Place) -> None:
    """A record from a clock that was ahead is no obstacle to a writer that has seen it."""
    place.sink().write(record("tok-1", START + 10**6))
    sink = place.sink()
    sink.read()
    sink.write(record("tok-2", START))

    assert place.sink().read() == shown(place, record("tok-2", START))


def test_nothing_beside_the_value_is_secret(place: Place) -> None:
    """Labels, reprs, sidecars, tags, lock files and errors show no token."""
    first, second = secrets.token_urlsafe(), secrets.token_urlsafe()
    sink = place.sink()
    sink.write(record(first))
    with place.full(), pytest.raises(SinkError) as caught:
        sink.write(record(second, LATER))
    sink.write(record(second, LATER))
    error = caught.value

    texts = [sink.label, repr(sink), place.beside(), str(error), repr(error), repr(vars(error))]
    assert [text for text in texts if first in text or second in text] == []
    assert error.__cause__ is None
