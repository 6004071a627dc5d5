"""Presets change defaults; what the command line gives wins; a resumed run keeps its own."""

from pathlib import Path

import pytest

import train_depth
import train_joint
import train_mask
from models import MODELS
from training.cli import parse_run
from training.presets import SMALL, defaults_of

SCRIPTS = (train_depth, train_mask, train_joint)
RUN = ["--data", "d", "--output", "o"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_small_sets_flags_that_the_script_has(script) -> None:
    args = vars(parse_run(script.build_parser(), [*RUN, "--preset", "small"]))
    changed = defaults_of(SMALL, script=script.SCRIPT)
    assert changed and changed.items() <= args.items()
    assert args["arch"] in MODELS and len(args["img_sizes"]) == len(args["epochs"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_reference_is_the_default_and_changes_nothing(script) -> None:
    plain, named = (
        vars(parse_run(script.build_parser(), [*RUN, *words]))
        for words in ([], ["--preset", "reference"])
    )
    assert plain == named


def test_given_flags_win_over_the_preset() -> None:
    words = [*RUN, "--preset", "small", "--lr", "0.25", "--epochs", "2"]
    args = parse_run(train_mask.build_parser(), words)
    assert (args.lr, args.epochs) == (0.25, [2])
    assert args.arch == "mask_lite"
    words = [*RUN, "--arch", "unet", "--preset", "small"]
    assert parse_run(train_mask.build_parser(), words).arch == "unet"


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_augmentation_follows_what_the_network_sees(script) -> None:
    alone, both = (["--inputs", "composite"], ["--inputs", "background", "composite"])

    def augment(*words: str) -> str:
        return parse_run(script.build_parser(), [*RUN, *words]).augment

    assert augment(*alone) == "flip"
    assert augment(*both) == "flip+camera"
    assert augment(*both, "--augment", "none") == "none"


@pytest.mark.parametrize("script", [train_mask, train_joint])
def test_small_mask_networks_train_for_a_real_camera(script) -> None:
    words = [*RUN, "--preset", "small"]
    assert parse_run(script.build_parser(), words).augment == "flip+camera"


def test_an_unknown_preset_is_one_line(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        parse_run(train_mask.build_parser(), [*RUN, "--preset", "huge"])
    assert len(capsys.readouterr().err.splitlines()) == 1
