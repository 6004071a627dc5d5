"""The faults that spoiled the reference systems' results cannot be written here by accident.

One test for each; where a longer test stands elsewhere, it is named.
"""

import inspect
from pathlib import Path

import pytest
import torch

from dsetkit import SampleDataset
from models import create_model
from models.heads import answer
from tests.helpers.worlds import tiny_dataset
from training import cli, loop
from training.losses.specs import depth_loss, mask_loss
from training.schedule import Plateau, make_schedule
from training.scoring.metrics import DepthMetrics, MaskMetrics


def defaults_of(script) -> dict:
    return vars(script.build_parser().parse_args([]))


def test_000_the_plateau_cannot_watch_a_loss_for_its_rise() -> None:
    assert "mode" not in inspect.signature(Plateau).parameters
    falling, rising = (Plateau(patience=0, gamma=0.1) for _ in range(2))
    for score in (3.0, 2.0, 1.0):
        falling.update(score)
        rising.update(4 - score)
    assert falling.factor == 1
    assert rising.factor == pytest.approx(0.01)


def test_002_depth_of_1_is_full_scale_not_225_of_255(tmp_path: Path) -> None:
    # images that were stored by that slip are read with their true scale: test_import_images
    data = SampleDataset(tiny_dataset(tmp_path / "d"), split=None, size=None, fields=("depth",))
    farthest = max(float(data[i]["depth"].max()) for i in range(20))
    assert 0.5 <= farthest < 0.55  # the far end of that world is 5 to 5.4 m of 10 m


def test_002_a_mask_learnt_through_depth_alone_is_never_the_default() -> None:
    import train_mask

    assert defaults_of(train_mask)["loss"] == "bce+dice"


def test_002_fields_of_a_sample_belong_together_by_one_key(tmp_path: Path) -> None:
    """They lie in one record: no two listings whose orders could differ."""
    path = tiny_dataset(tmp_path / "d")
    together = SampleDataset(path, split=None, size=None, fields=("composite", "mask", "depth"))
    for name in together[0]:
        alone = SampleDataset(path, split=None, size=None, fields=(name,))
        assert all(torch.equal(alone[i][name], together[i][name]) for i in (0, 7, 100))


def test_003_targets_are_scaled_to_0_1_once_whatever_is_done_twice(tmp_path: Path) -> None:
    data = SampleDataset(tiny_dataset(tmp_path / "d"), split=None, fields=("composite", "mask"))
    batch = {name: torch.stack([data[i][name] for i in range(8)]) for name in ("composite", "mask")}
    once = loop.prepare_batch(batch, torch.device("cpu"))
    assert once["mask"].max() == 1
    twice = loop.prepare_batch(once, torch.device("cpu"))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_003_each_map_is_scored_against_its_own_target() -> None:
    """A network that answers both maps rightly scores fully in both, and swapped in neither."""
    net = create_model("shared_unet", in_channels=6)
    mask = (torch.rand(2, 1, 32, 32) > 0.5).float()
    depth = torch.rand(2, 1, 32, 32) * 0.8 + 0.1
    outputs = {"mask": torch.logit(mask, eps=1e-6), "depth": torch.logit(depth)}
    masks, depths = MaskMetrics(), DepthMetrics(10.0)
    masks.update(answer(net, outputs, "mask"), mask)
    depths.update(answer(net, outputs, "depth"), depth)
    assert masks.compute()["iou_pooled"] == 1
    assert depths.compute()["rmse_pooled"] < 1e-4
    valid = torch.ones_like(mask, dtype=torch.bool)
    right = depth_loss("l1", head="logits")(outputs["depth"], depth, valid)
    crossed = depth_loss("l1", head="logits")(outputs["depth"], mask, valid)
    assert right < 1e-4 < crossed
    assert mask_loss("dice", head="logits")(outputs["mask"], mask) < 1e-2


def test_004_the_rate_does_not_die_after_two_epochs() -> None:
    import train_joint

    given = defaults_of(train_joint)
    steps = 100  # per epoch
    share = make_schedule(
        "step",
        total_steps=10 * steps,
        warmup_steps=0,
        gamma_steps=given["step_epochs"] * steps,
        gamma=given["step_gamma"],
    )
    assert share(9 * steps) == 1


def test_004_scores_come_from_samples_that_were_not_trained_on(tmp_path: Path) -> None:
    import evaluate_depth
    import evaluate_mask

    for script in (evaluate_depth, evaluate_mask):
        given = script.build_parser().parse_args(["--data", "d", "--checkpoint", "c"])
        assert given.split == "test"
    path = tiny_dataset(tmp_path / "d")
    train, test = (set(SampleDataset(path, split=s).indices) for s in ("train", "test"))
    assert train and test and not train & test


def test_004_a_loss_is_never_divided_by_a_number_of_batches_or_samples_twice() -> None:
    progress = loop.Progress(loss_sum=48 * 2.5, samples=48)
    assert progress.loss == 2.5


def test_a_resume_cannot_forget_the_schedule() -> None:
    """The rate is a function of the step; only plateau has a state, and it is saved."""
    assert Plateau(patience=1, gamma=0.5, factor=0.25).state_dict()["factor"] == 0.25
    assert "sched" not in cli.FREE_ON_RESUME
