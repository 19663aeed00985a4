import os
import stat
import threading
from pathlib import Path

import pytest

from pollect.support.private_files import read_private, write_private


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_is_private_from_its_first_byte(tmp_path, open_umask) -> None:
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for file in tmp_path.iterdir():
                try:
                    seen.add(mode_of(file))
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(50):
        write_private(tmp_path / "token.json", b"x" * number)
    done.set()
    watcher.join()
    assert seen == {0o600}


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_over(tmp_path) -> None:
    file = tmp_path / "folder" / "token.json"
    write_private(file, b"first")
    with file.open("rb") as reader:
        write_private(file, b"second", durable=False)
        assert reader.read() == b"first"
    assert read_private(file) == b"second"
    assert [found.name for found in file.parent.iterdir()] == ["token.json"]
    assert mode_of(file.parent) == 0o700


def test_what_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch) -> None:
    file = tmp_path / "token.json"
    write_private(file, b"first")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_private(file, b"second")
    assert file.read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["token.json"]


def test_what_others_may_do_with_a_file_is_taken_away_and_said(tmp_path, caplog) -> None:
    file = tmp_path / "token.json"
    file.write_bytes(b"left by 1.x")
    file.chmod(0o644)
    assert read_private(file) == b"left by 1.x"
    assert mode_of(file) == 0o600
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: others could read it; its mode is 0600 now"
    ]


def test_links_pipes_folders_and_large_files_are_not_read(tmp_path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    link = tmp_path / "link"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="is a symbolic link, expected a file"):
        read_private(link)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="expected a regular file"):
        read_private(pipe)
    with pytest.raises(OSError):
        read_private(tmp_path)
    with pytest.raises(OSError, match="is larger than 5 bytes"):
        read_private(secret, max_bytes=5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_the_file_to_the_owner_of_the_folder(tmp_path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12_345, 12_346)
    write_private(folder / "token.json", b"x")
    facts = (folder / "token.json").stat()
    assert (facts.st_uid, facts.st_gid) == (12_345, 12_346)
