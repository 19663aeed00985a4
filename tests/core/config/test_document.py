"""A config file becomes plain data, and every part of it is known by line and column."""

import os
import threading
import tracemalloc
from pathlib import Path

import pytest
import yaml

from pollect.config import files
from pollect.config.document import Document, Place
from pollect.config.reading import read_document
from pollect.config.yaml_reader import YamlReader
from pollect.errors import ConfigError

YAML = """\
# comment
tickTime: 5
writer: {type: Prometheus, "port": 8000}
executors:
  - collection: pollect
    sources:
      - type: LoadAvg
        labels: &labels
          a.b: x
      - type: Http
        url:
          - http://a
          - http://b
        labels: *labels
"""
JSON = """{
\t"tickTime": 5,
\t"writer": {"type": "Prometheus", "port": 8000},
\t"executors": [
\t\t{"collection": "pollect", "sources": [
\t\t\t{"type": "LoadAvg", "labels": {"a.b": "x"}},
\t\t\t{"type": "Http", "url": ["http://a", "http://b"], "labels": {"a.b": "x"}}
\t\t]}
\t]
}
"""
DATA = {
    "tickTime": 5,
    "writer": {"type": "Prometheus", "port": 8000},
    "executors": [
        {
            "collection": "pollect",
            "sources": [
                {"type": "LoadAvg", "labels": {"a.b": "x"}},
                {"type": "Http", "url": ["http://a", "http://b"], "labels": {"a.b": "x"}},
            ],
        }
    ],
}


def read(tmp_path: Path, text: str, name: str = "config.yml") -> Document:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return read_document(file)


def failure(tmp_path: Path, text: str, name: str = "config.yml") -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, name)
    assert "geheim" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize("name", ["config.yml", "config.yaml", "config"])
def test_yaml_knows_the_place_of_every_key_and_item(tmp_path: Path, name: str) -> None:
    document = read(tmp_path, YAML, name)
    assert document.data == DATA
    assert document.place_of("tickTime") == Place(2, 1)
    assert document.place_of("writer.port") == Place(3, 28)
    assert document.place_of("executors[0]") == Place(5, 5)
    assert document.place_of("executors[0].sources[0].labels.a.b") == Place(9, 11)
    assert document.place_of("executors[0].sources[1].url[1]") == Place(13, 13)


@pytest.mark.parametrize("name", ["config.json", "config"])
def test_json_with_tabs_knows_the_place_of_every_key_and_item(tmp_path: Path, name: str) -> None:
    document = read(tmp_path, JSON, name)
    assert document.data == DATA
    assert document.place_of("tickTime") == Place(2, 2)
    assert document.place_of("writer.port") == Place(3, 35)
    assert document.place_of("executors[0]") == Place(5, 3)
    assert document.place_of("executors[0].sources[1].url[1]") == Place(7, 41)


def test_json_is_yaml_too_if_the_name_says_so(tmp_path: Path) -> None:
    assert read(tmp_path, JSON.replace("\t", " ")).data == DATA


def test_place_of_something_absent_is_where_it_should_be(tmp_path: Path) -> None:
    document = read(tmp_path, YAML)
    assert document.place_of("executors[0].sources[1].timeout") == Place(10, 9)
    assert document.place_of("executors[0].sources[1].metrics[3].oid") == Place(10, 9)
    assert document.place_of("threads") == Place(1, 1)


def test_loader_without_c_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read(tmp_path, YAML)
    monkeypatch.delattr(yaml, "CSafeLoader")
    slow = YamlReader(tmp_path / "config.yml", YAML).read()
    assert slow == fast


def test_scalars_are_what_yaml_says_and_texts_as_they_are_written(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "a: 0123\nb: 1.10\nc: yes\nd: 12:30\ne: 2026-11-22\nf: 1e3\ng: ~\nh: '5'\n"
        "i: true\nj: 7\nk: =\nl: !!str 8\nm: !!int x\n",
    )
    assert document.data == {
        "a": 83, "b": 1.1, "c": True, "d": 750, "e": "2026-11-22", "f": "1e3", "g": None,
        "h": "5", "i": True, "j": 7, "k": "=", "l": "8", "m": "x",
    }  # fmt: skip
    assert document.texts == {"a": "0123", "b": "1.10", "c": "yes", "d": "12:30"}
    assert read(tmp_path, '{"a": 1.10, "b": true, "c": 1}', "c.json").texts == {"a": "1.10"}


def test_keys_are_names_even_if_yaml_sees_a_boolean(tmp_path: Path) -> None:
    assert read(tmp_path, "on: 1\n1.10: 2\n7: 3\n~: 4\n").data == {
        "on": 1, "1.10": 2, 7: 3, "~": 4,
    }  # fmt: skip


def test_merging_is_no_repetition_even_when_seen_twice(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &a {x: 1}\nb: &b\n  x: 2\n  <<: *a\nc: *b\nd:\n  <<: [*b, *a]\n")
    assert document.data["c"] == document.data["d"] == {"x": 2}
    assert document.duplicates == []


@pytest.mark.parametrize("loader", ["in C", "in Python"])
@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("<<: [*a, *b]", {"x": 1, "y": 2, "z": 3}),
        ("<<: [*b, *a]", {"x": 2, "y": 2, "z": 3}),
        ("<<: *b\n  y: 9", {"x": 2, "y": 9, "z": 3}),
        ("y: 9\n  <<: [*b, {y: 7, w: 8}]", {"x": 2, "y": 9, "z": 3, "w": 8}),
        ("<<: *a\n  <<: *b", {"x": 2, "y": 2, "z": 3}),
        ("<<: {<<: *b, z: 5}", {"x": 2, "y": 2, "z": 5}),
        ("'<<': 1", {"<<": 1}),
    ],
)
def test_merging_keeps_own_keys_and_then_those_of_the_earlier_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str, text: str, merged: object
) -> None:
    if loader == "in Python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    anchors = "a: &a {x: 1}\nb: &b\n  x: 2\n  <<: &c {y: 2, z: 3, x: 4}\n"
    assert read(tmp_path, f"{anchors}d: *b\ne:\n  {text}\n").data["e"] == merged


def test_merge_keys_work_and_their_places_are_those_of_the_anchor(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  y: 3\n  <<: *a\n")
    assert document.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    assert document.place_of("b.x") == Place(1, 8)
    assert document.place_of("b.y") == Place(3, 3)
    assert document.duplicates == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yml", "a: 1\nb:\n  x: 1\n  y: 2\n  x: 3\n",
         "c.yml:5:3: b.x: is defined twice, first in line 3 (the last one counts)"),
        ("c.json", '{"a": 1,\n "b": 2, "a": 3}',
         "c.json:2:10: a: is defined twice, first in line 1 (the last one counts)"),
    ],
)  # fmt: skip
def test_key_written_twice_is_reported_and_the_last_one_counts(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    document = read(tmp_path, text, name)
    assert [str(d).removeprefix(f"{tmp_path}/") for d in document.duplicates] == [message]
    assert document.data in ({"a": 1, "b": {"x": 3, "y": 2}}, {"a": 3, "b": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: ${X}}\n",
         '1:9: ${...} without quotes between brackets (write "${NAME}")'),
        ("a:\n\tb: 1\n", "2:1: a tab where YAML needs spaces"),
        ("a: *geheim\n",
         "1:4: no anchor of the name after * (a text that starts with * needs quotes)"),
        ("a: %geheim\n", "1:4: a value cannot start with this character (put it in quotes)"),
        ("a: !geheim x\n", "1:4: an unknown tag (a text that starts with ! needs quotes)"),
        ("a: b: c\n", "1:5: an unexpected ':' (check the indentation and quotes)"),
        ("a: 1\n b: 2\n", "2:3: an unexpected ':' (check the indentation and quotes)"),
        ("a:\n  - 1\n b: 2\n",
         "3:2: this does not belong to the lines above (check indentation and quotes)"),
        ("a: 'x'y\n",
         "1:7: this does not belong to the lines above (check indentation and quotes)"),
        ("- 1\na: 2\n",
         "2:1: this does not belong to the list above (check the indentation)"),
        ("a: - b\n", "1:4: a list cannot start on this line (start it on the next one)"),
        ("a: 'geheim\nb: 1\n", "1:4: a quote that is not closed"),
        ("x: 1\na: [1, 2\nb: 3\n",
         "3:2: a missing ',' or closing bracket (the bracket was opened in line 2)"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document starts here (a file contains one config)"),
        ("a: &x 1\nb: &x 2\n",
         "2:4: an anchor of this name is there already (give it another name)"),
        ("a: &x [1, *x]\n", "1:4: an anchor that contains itself"),
        ("b: ü€\na: \x01\n",
         "2:4: a control character, which YAML does not allow"),
        ("[a]: 1\n", "1:1: a key must be plain text"),
        ("a: !!str [1]\n", "1:4: an unknown tag (a text that starts with ! needs quotes)"),
        ("a: !!map x\n", "1:4: an unknown tag (a text that starts with ! needs quotes)"),
        ("a:\n  <<: 1\n",
         "2:7: << takes a mapping or a list of mappings (a key of this name needs quotes)"),
        ("a: &x {<<: *x}\n", "1:4: an anchor that contains itself"),
        ("a: {b: [}\n",
         "1:9: a value is missing here (a value with a special character needs quotes)"),
        ("a: @geheim\n", "1:4: a value cannot start with this character (put it in quotes)"),
        ("a: {b: 1}c\n",
         "1:10: this does not belong to the lines above (check indentation and quotes)"),
        ("ab: c\ngeheim\nd: e\n", "3:1: a key without ':' (or a text not indented enough)"),
        ("a: |geheim\n",
         "1:5: a block of text starts here (a text that starts with | or > needs quotes)"),
        ("a: & b\n", "1:5: an anchor without a name (a text that starts with & or * needs quotes)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("parser", ["in C", "in Python"])
def test_text_that_is_not_yaml_is_explained_in_plain_words_by_either_parser(
    tmp_path: Path, text: str, message: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parser == "in Python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    assert failure(tmp_path, text) == f"config.yml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "2:6: is not valid JSON: expecting ':' delimiter"),
        ('{"a": 1}\n}', "2:1: is not valid JSON: extra data"),
        ('{"a": "geheim\n"}', "1:14: is not valid JSON: invalid control character at"),
        ("", "1:1: is not valid JSON: expecting value"),
    ],
)
def test_json_that_is_none_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert failure(tmp_path, text, "config.json") == f"config.json:{message}"


@pytest.mark.parametrize("loader", ["in C", "in Python"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", "[" * 100_000),
        ("c.json", "[" * 101 + "]" * 101),
        ("c.json", '{"a":' * 101 + "1" + "}" * 101),
        ("c.yml", "[" * 101 + "]" * 101),
        ("c.yml", "[" * 100_000),  # with the composer of PyYAML 6.0.1 the end of the process
        ("c.yml", "\n".join(" " * depth + "a:" for depth in range(2000))),
        ("c.yml", "a0: &a0 x\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 500))),
    ],
    ids=["json-open", "json-lists", "json-mappings", "lists", "open", "mappings", "anchors"],
)
def test_nesting_beyond_reason_is_an_error_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str, name: str, text: str
) -> None:
    if loader == "in Python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    assert failure(tmp_path, text, name) == f"{name}: is nested too deeply"


def test_nesting_within_reason_is_read(tmp_path: Path) -> None:
    for name in ("c.yml", "c.json"):
        assert read(tmp_path, "[" * 100 + "]" * 100, name).data[0][0][0] != []


@pytest.mark.parametrize(
    ("operator", "place", "megabytes"), [("", "7:5", 20), ("<<: ", "502:7", 200)]
)
def test_anchors_that_multiply_are_refused_before_they_fill_the_memory(
    tmp_path: Path, operator: str, place: str, megabytes: int
) -> None:
    """Nine anchors of nine aliases each stand for 387 million values."""
    nine = ", ".join(f"k{i}: x" for i in range(9))
    lines = [f"a0: &a0 {{{nine}}}"]
    for level in range(1, 9):
        items = ", ".join(f"k{i}: *a{level - 1}" for i in range(9))
        lines.append(f"a{level}: &a{level} {{{items}}}")
    if operator:  # the same mapping merged again and again, wider each time
        lines = ["a0: &a0 {" + ", ".join(f"k{i}: x" for i in range(2000)) + "}"]
        lines += [f"b{i}: {{<<: *a0}}" for i in range(600)]
    message = f"c.yml:{place}: stands for more than 1,000,000 values (anchors of anchors multiply)"
    tracemalloc.start()
    try:
        assert failure(tmp_path, "\n".join(lines), "c.yml") == message
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1_000_000
    finally:
        tracemalloc.stop()


def test_file_larger_than_any_config_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "big.yml", "wb") as file:
        file.truncate(5_000_000_000)
    with pytest.raises(ConfigError, match=r"big\.yml: cannot be read: it is larger than 8 MB$"):
        read_document(tmp_path / "big.yml")


def test_device_is_refused_and_a_pipe_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: expected a file, got a device$"):
        read_document(Path("/dev/zero"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("a: 1\n"))
    writer.start()
    assert read_document(pipe).data == {"a": 1}
    writer.join()


def test_pipe_that_gives_nothing_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.01)
    os.mkfifo(tmp_path / "pipe")
    silent = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(ConfigError, match="a pipe that nothing was written to"):
        read_document(tmp_path / "pipe")
    os.close(silent)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml: cannot be read: No such file or directory"):
        read_document(tmp_path / "none.yml")
    (tmp_path / "latin.yml").write_bytes(b"a: 1\nb: f\xfcnf\n")
    with pytest.raises(ConfigError, match=r"latin\.yml:2: is not UTF-8 text"):
        read_document(tmp_path / "latin.yml")


def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(tmp_path / "c.yml").data == {"a": 1}
