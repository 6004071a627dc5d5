"""Shells complete verbs and flags of dsetkit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsetkit.cli.main import SHELLS, main


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_code(shell: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--completion", shell])
    assert end.value.code == 0
    assert "dsetkit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("dsetkit gen", {"generate"}),
        ("dsetkit predict --check", {"--checkpoint"}),
        ("dsetkit cache data --si", {"--size"}),
    ],
)
def test_what_is_typed_is_completed(typed: str, expected: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    program = "from dsetkit.cli.main import entry_point; entry_point()"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | asked)
    assert done.returncode == 0
    assert {word.strip() for word in answer.read_text().splitlines()} == expected
