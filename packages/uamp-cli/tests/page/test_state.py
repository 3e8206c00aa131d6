from pathlib import Path

from uamp_cli.page.state import MOST_TABS, Tabs


def test_tabs_know_nothing_of_each_other(tmp_path: Path) -> None:
    tabs = Tabs(tmp_path, "nano", "uamp")
    one, two = tabs.of("one"), tabs.of("two")
    one.object_ids.append(2)
    one.drawing.of(0, 1).add_point(1, 1, 1)
    assert two.object_ids == [1]
    assert not two.drawing.frames()
    assert one.folder != two.folder
    assert tabs.of("one") is one
    tabs.close()
    assert not list(tmp_path.iterdir())


def test_a_reload_finds_its_work_and_a_closed_tab_leaves_nothing(tmp_path: Path) -> None:
    tabs = Tabs(tmp_path, "nano", "uamp")
    state = tabs.of("one", visit="a")
    tabs.of("one", visit="b")
    tabs.leave("a", grace=0)
    assert tabs.of("one") is state
    tabs.leave("b", grace=0)
    assert len(tabs) == 0
    assert not list(tmp_path.iterdir())
    tabs.leave("unknown", grace=0)


def test_what_is_done_before_the_tab_has_its_name_is_not_lost(tmp_path: Path) -> None:
    tabs = Tabs(tmp_path, "nano", "uamp")
    early = tabs.of("", visit="a")
    other = tabs.of("", visit="b")
    assert early is not other
    assert tabs.of("one", visit="a") is early
    assert tabs.of("", visit="a") is early
    tabs.leave("a", grace=0)
    assert len(tabs) == 1
    tabs.close()


def test_a_click_before_a_reload_has_its_name_again_leaves_nothing(tmp_path: Path) -> None:
    tabs = Tabs(tmp_path, "nano", "uamp")
    known = tabs.of("one", visit="a")
    tabs.leave("a", grace=120)
    tabs.of("", visit="b")
    assert tabs.of("one", visit="b") is known
    assert len(tabs) == 1
    assert list(tmp_path.iterdir()) == [known.folder]
    tabs.close()


def test_there_is_an_end_to_how_many_tabs_are_kept(tmp_path: Path) -> None:
    tabs = Tabs(tmp_path, "nano", "uamp")
    for number in range(MOST_TABS + 3):
        tabs.of(str(number))
    assert len(tabs) == MOST_TABS
    assert len(list(tmp_path.iterdir())) == MOST_TABS
    tabs.close()
