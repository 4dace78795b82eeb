from job.observe.status_board import WORST_FIRST
from job.observe.wording import NEEDS_PEOPLE, WORDS, badness, many


def test_the_page_and_the_terminal_have_one_order() -> None:
    """What is worst on the page is worst in the terminal."""
    assert tuple(sorted(WORST_FIRST, key=badness)) == WORST_FIRST
    assert set(WORDS) == {*WORST_FIRST, "unreadable"}
    assert sorted(map(badness, NEEDS_PEOPLE)) == [0, 1, 2, 3]


def test_words_differ_where_states_do() -> None:
    """No state is told by a colour or a mark alone."""
    assert len({word for _, word in WORDS.values()}) == len(WORDS)


def test_counts() -> None:
    """One is not many."""
    assert [many(1), many(2), many(3, "sink")] == ["1 token", "2 tokens", "3 sinks"]
