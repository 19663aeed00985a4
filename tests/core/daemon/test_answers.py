"""Answers of inventories that no config names any more do not stay for good."""

import os
from pathlib import Path

import pytest

from pollect.daemon.answers import OLD_SECONDS, TOUCH_SECONDS, answer_file, remove_old_answers

NOW = 2_000_000_000.0


def write(file: Path, age: float) -> Path:
    file.write_text("[]")
    os.utime(file, (NOW - age, NOW - age))
    return file


def test_an_old_answer_that_is_not_used_is_removed_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    used = write(answer_file(tmp_path, "", "http://a/"), OLD_SECONDS + 1)
    old = write(answer_file(tmp_path, "", "http://b/"), OLD_SECONDS + 1)
    # Of another daemon with this state folder, which touches it once a day.
    fresh = write(answer_file(tmp_path, "me", "http://a/"), 2 * TOUCH_SECONDS)
    remove_old_answers(tmp_path, {used}, NOW)
    assert set(tmp_path.iterdir()) == {used, fresh}
    assert [record.getMessage() for record in caplog.records] == [
        f"removed {old}: no inventory has used it for 30 days"
    ]


@pytest.mark.parametrize("name", ["targets.json", "targets-00.json", "token.json"])
def test_files_of_another_name_stay_however_old(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, 10 * OLD_SECONDS)
    remove_old_answers(tmp_path, (), NOW)
    assert file.exists()


def test_only_regular_files_are_removed(tmp_path: Path) -> None:
    answer_file(tmp_path, "", "folder").mkdir()
    aim = write(tmp_path / "aim", OLD_SECONDS + 1)
    link = answer_file(tmp_path, "", "link")
    link.symlink_to(aim)
    for path in (answer_file(tmp_path, "", "folder"), link):
        os.utime(path, (0, 0), follow_symlinks=False)
    before = set(tmp_path.iterdir())
    remove_old_answers(tmp_path, (), NOW)
    assert set(tmp_path.iterdir()) == before


def test_a_state_folder_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    remove_old_answers(tmp_path / "absent", (), NOW)
