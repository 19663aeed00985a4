from pollect.support.distinct import Named, shorten_apart, tell_apart


def test_first_of_a_name_keeps_it_and_the_next_adds_its_identity() -> None:
    fans = [Named("Fan", 7), Named("Pump", 8), Named("Fan", 9)]
    assert tell_apart(fans) == ["Fan", "Pump", "Fan_9"]


def test_thing_never_loses_its_own_name_to_the_second_of_another() -> None:
    assert tell_apart([Named("A", 2), Named("A", 2), Named("A_2")]) == ["A", "A_2_2", "A_2"]


def test_things_without_identity_are_numbered_from_two() -> None:
    assert tell_apart([Named("x")] * 4) == ["x", "x_2", "x_3", "x_4"]


def test_names_differ_within_their_group_only() -> None:
    things = [Named("x", 1, "a"), Named("x", 2, "b"), Named("x", 3, "a")]
    assert tell_apart(things) == ["x", "x", "x_3"]


def test_a_caller_decides_what_a_name_of_its_own_looks_like() -> None:
    things = [Named("A", 1), Named("A 2", 2), Named("A", 2), Named("A", 3)]
    assert tell_apart(things, "{} {}".format) == ["A", "A 2", "A 2 2", "A 3"]


def test_all_of_one_name_get_their_identity_where_no_order_lasts() -> None:
    things = [Named("A", 1), Named("B", 2), Named("A", 3), Named("A (3)", 4)]
    for order in (things, things[::-1]):
        names = dict(
            zip(order, tell_apart(order, "{} ({})".format, first_keeps=False), strict=True)
        )
        assert [names[thing] for thing in things] == ["A (1)", "B", "A (3) (2)", "A (3)"]


def test_many_things_of_one_name_are_told_apart_in_linear_time() -> None:
    assert len(set(tell_apart([Named("", "")] * 50_000))) == 50_000


def test_short_form_goes_to_the_name_that_looks_like_it() -> None:
    def shorten(name: str) -> str:
        return name.replace(".", "_")

    assert shorten_apart(["eth0.1", "eth0_1", "eth1.2", "a.b_c", "a_b.c"], shorten) == {
        "eth0.1": "eth0.1",
        "eth0_1": "eth0_1",
        "eth1.2": "eth1_2",
        "a.b_c": "a_b_c",
        "a_b.c": "a_b.c",
    }
