import pytest

from pollect.support.filters import NameFilter


@pytest.mark.parametrize("nothing", [None, (), [], ""])
def test_empty_lists_keep_everything(nothing) -> None:
    assert NameFilter(nothing, nothing).accepts("eth0")


def test_plain_entry_must_equal_the_whole_name() -> None:
    names = NameFilter(include=["eth0"])
    assert names.accepts("eth0")
    assert not names.accepts("eth01")
    assert not names.accepts("veth0")
    assert not names.accepts("ETH0")


def test_single_text_is_one_entry_and_no_list_of_letters() -> None:
    names = NameFilter(include="eth0")
    assert names.accepts("eth0")
    assert not names.accepts("eth")


@pytest.mark.parametrize("entry", ["eth*", "eth?", "eth[0-9]"])
def test_entries_with_special_characters_are_shell_patterns(entry) -> None:
    names = NameFilter(include=[entry])
    assert names.accepts("eth0")
    assert not names.accepts("wlan0")


def test_dots_and_other_characters_of_regular_expressions_mean_themselves() -> None:
    names = NameFilter(include=["eth0.100", "a+b"])
    assert names.accepts("eth0.100")
    assert names.accepts("a+b")
    assert not names.accepts("eth0x100")
    assert not names.accepts("aab")


def test_exclude_wins_over_include() -> None:
    names = NameFilter(include=["eth*"], exclude=["eth1"])
    assert names.accepts("eth0")
    assert not names.accepts("eth1")


def test_letter_case_can_be_ignored() -> None:
    names = NameFilter(include=["CoreTemp-*"], ignore_case=True)
    assert names.accepts("coretemp-isa-0000")
