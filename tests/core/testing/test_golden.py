import pytest

from pollect.builtin.dummy import DummySource
from pollect.testing import Running, build_source, compare_with_file, format_samples


def test_samples_become_sorted_text() -> None:
    section = {"name": "my-name", "values": {"b": 1.5}, "value": 2.5, "count": 2}
    source = build_source(section, DummySource)
    with Running(source) as running:
        text = format_samples(source, running.probe())
    assert text.splitlines() == [
        "# HELP pollect_Dummy_my_name The value of the config.",
        "# TYPE pollect_Dummy_my_name gauge",
        "pollect_Dummy_my_name 2.5",
        "# HELP pollect_Dummy_my_name The number of the series plus the number of the probe.",
        "# TYPE pollect_Dummy_my_name gauge",
        'pollect_Dummy_my_name{i="0"} 1',
        'pollect_Dummy_my_name{i="1"} 2',
        "# HELP pollect_Dummy_my_name_b A value of the config.",
        "# TYPE pollect_Dummy_my_name_b gauge",
        "pollect_Dummy_my_name_b 1.5",
    ]


def test_a_change_is_shown_as_a_difference_and_renewed_on_request(tmp_path) -> None:
    file = tmp_path / "golden" / "rain.txt"
    with pytest.raises(AssertionError, match="run pytest with --renew-golden"):
        compare_with_file(file, "a\n")
    compare_with_file(file, "a\n", renew=True)
    compare_with_file(file, "a\n")
    with pytest.raises(AssertionError, match=r"(?s)-a\n\+b"):
        compare_with_file(file, "b\n")
