"""Control characters in names are seen and not obeyed."""

from hypothesis import given
from hypothesis import strategies as st
from uamp_eval.visible import visible


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert visible("bell\a\x1b[31mred\r\n\x7f\x9b2J") == r"bell\x07\x1b[31mred\r\n\x7f\x9b2J"
    assert visible("a\tb\n\x1b", keep="\t\n") == "a\tb\n" + r"\x1b"


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_other_names_stay_as_they_are(name: str) -> None:
    assert visible(name) == name
