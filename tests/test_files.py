"""Files that are written whole or not at all."""

import json
from pathlib import Path
from typing import BinaryIO

import pytest

from dsetkit.errors import DsetkitError
from dsetkit.files import replacing, write_json, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_and_its_folder_is_made(sync: bool, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    write_whole(path, b"one", sync=sync)
    write_whole(path, lambda file: file.write(b"two"), sync=sync)
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["a.bin"]


@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("a bug"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_no_temporary_one(
    error: BaseException, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"new")
        raise error

    expected = DsetkitError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DsetkitError, match=r"cannot write .*a\.bin: the disk is full; make room"):
        write_whole(tmp_path / "a.bin", fail, advice="make room")


def test_a_place_that_is_no_folder_is_one_error(tmp_path: Path) -> None:
    """Removing the temporary file fails there too, which must not hide the first error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DsetkitError, match="cannot write .*a.bin: "):
        write_whole(tmp_path / "file" / "a.bin", b"x")


def test_another_action_is_named(tmp_path: Path) -> None:
    with pytest.raises(DsetkitError, match="cannot copy a to b: No such file"):
        with replacing(tmp_path / "b", action="copy a to b") as temporary:
            temporary.write_bytes((tmp_path / "a").read_bytes())


def test_json_ends_with_a_new_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"one": [1, 2]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"one": [1, 2]}
    assert text.endswith("}\n")
