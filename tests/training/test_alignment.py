"""Protocols and alignment: values worked by hand, and numpy's own least squares."""

import argparse

import numpy as np
import pytest
import torch

from dsetkit.errors import RunError
from training.scoring.alignment import align, align_median, check_comparable
from training.scoring.metrics import DepthMetrics, crop_window
from training.scoring.protocols import ALIGNMENTS, PROTOCOLS, Protocol, add_protocol_arguments


def row(*values: float) -> torch.Tensor:
    """One image of one row: (1, 1, 1, W)."""
    return torch.tensor(values)[None, None, None]


def everywhere(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


# ---- alignment ---------------------------------------------------------------------------------


def test_median_multiplies_by_the_ratio_of_medians():
    prediction, target = row(1.0, 2.0, 4.0), row(3.0, 6.0, 7.0)
    # medians 2 and 6: times 3
    aligned = align(prediction, target, everywhere(target), how="median")
    assert aligned.flatten().tolist() == pytest.approx([3, 6, 12])


def test_the_median_of_an_even_count_is_the_mean_of_the_middle_two():
    prediction, target = row(1.0, 3.0, 5.0, 9.0), row(2.0, 2.0, 6.0, 8.0)
    # medians 4 and 4
    assert align_median(prediction, target, everywhere(target)).equal(prediction)


def test_only_valid_pixels_decide_and_all_are_changed():
    prediction, target = row(1.0, 2.0, 100.0), row(2.0, 4.0, 5.0)
    valid = torch.tensor([True, True, False]).view_as(target)
    for how in ("median", "scale-shift"):
        aligned = align(prediction, target, valid, how=how)
        assert aligned.flatten().tolist() == pytest.approx([2, 4, 200])


def test_each_image_has_a_scale_and_shift_of_its_own():
    target = torch.cat([row(1.0, 2.0, 4.0), row(5.0, 3.0, 1.0)])
    prediction = torch.cat([2 * target[:1] + 1, 0.5 * target[1:] - 3])
    aligned = align(prediction, target, everywhere(target), how="scale-shift")
    assert torch.allclose(aligned, target)


def test_scale_and_shift_by_hand():
    # p 0 1 2, t 1 1 4: means 1 and 2, covariance (-1)(-1) + 0 + (1)(2) = 3, variance 2:
    # scale 1.5, shift 2 - 1.5 = 0.5
    aligned = align(
        row(0.0, 1.0, 2.0), row(1.0, 1.0, 4.0), everywhere(row(0, 0, 0)), how=ALIGNMENTS[2]
    )
    assert aligned.flatten().tolist() == pytest.approx([0.5, 2.0, 3.5])


def test_scale_and_shift_are_those_of_numpy():
    rng = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(3, 1, 8, 9, generator=rng) for _ in range(2))
    valid = torch.rand(3, 1, 8, 9, generator=rng) > 0.3
    aligned = align(prediction, target, valid, how="scale-shift")
    for p, t, v, found in zip(prediction, target, valid, aligned, strict=True):
        scale, shift = np.polyfit(p[v].numpy(), t[v].numpy(), 1)
        assert torch.allclose(found, p * scale + shift, atol=1e-5)


@pytest.mark.parametrize("how", ALIGNMENTS)
def test_flat_and_empty_images_give_finite_answers(how):
    flat = torch.full((2, 1, 4, 4), 0.3)
    target = torch.linspace(1, 4, 16).view(1, 1, 4, 4).repeat(2, 1, 1, 1)
    valid = everywhere(target)
    valid[1] = False
    aligned = align(flat, target, valid, how=how)
    assert torch.allclose(aligned[1], flat[1])  # nothing to align to
    expected = 0.3 if how == "none" else 2.5  # median and mean of the target are the same here
    assert torch.allclose(aligned[0], torch.tensor(expected))


def test_a_prediction_below_zero_has_no_median_scale():
    prediction, target = row(-1.0, -2.0), row(1.0, 2.0)
    assert align_median(prediction, target, everywhere(target)).equal(prediction)


# ---- alignment in the scores -------------------------------------------------------------------


def scores(prediction_m: torch.Tensor, target_m: torch.Tensor, **settings) -> dict[str, float]:
    metrics = DepthMetrics(10.0, **settings)
    metrics.update(prediction_m / 10, target_m / 10)
    return metrics.compute()


def test_a_factor_costs_nothing_once_the_medians_are_aligned():
    target = row(1.0, 2.0, 4.0)
    assert scores(0.5 * target, target)["delta_1_pooled"] == 0
    aligned = scores(0.5 * target, target, align="median")
    assert aligned["rmse_m_pooled"] == pytest.approx(0, abs=1e-5)
    assert aligned["delta_1_pooled"] == 1


def test_metric_depth_is_aligned_in_depth_and_clipped_afterwards():
    # aligned by hand as above: 0.5, 2, 3.5 against 1, 1, 4 m
    found = scores(row(0.0, 1.0, 2.0), row(1.0, 1.0, 4.0), align="scale-shift")
    assert found["rmse_m_pooled"] == pytest.approx(np.sqrt((0.25 + 1 + 0.25) / 3), rel=1e-5)
    # 40 m would be clipped to 10 m before: a fifth of it is 8 m
    far = scores(row(5.0, 10.0, 40.0), row(1.0, 2.0, 8.0), align="median")
    assert far["rmse_m_pooled"] == pytest.approx(0, abs=1e-5)


def test_relative_depth_is_aligned_in_inverse_depth():
    target = row(1.0, 2.0, 5.0)
    metrics = DepthMetrics(10.0, align="scale-shift", prediction_kind="relative")
    metrics.update(0.7 * (1 / target) - 0.1, target / 10)
    assert metrics.compute()["rmse_m_pooled"] == pytest.approx(0, abs=1e-5)

    metrics = DepthMetrics(10.0, align="scale-shift", prediction_kind="relative")
    metrics.update(row(0.0, 1.0, 2.0), row(4.0, 2.0, 1.0) / 10)
    # inverse targets 0.25 0.5 1: means 1 and 0.583333, covariance 0.75, variance 2: scale 0.375;
    # inverse answers 0.208333, 0.583333, 0.958333 = 4.8, 1.714286, 1.043478 m
    expected = np.sqrt((0.8**2 + 0.285714**2 + 0.043478**2) / 3)
    assert metrics.compute()["rmse_m_pooled"] == pytest.approx(expected, rel=1e-4)


def test_inverse_depth_that_falls_below_that_of_the_limit_becomes_the_limit():
    metrics = DepthMetrics(10.0, align="scale-shift", prediction_kind="relative")
    # inverse targets 1, 1/9, 1/9; the fit at 0 is 1/9 - (1 - 1/9) / 6 < 0: beyond infinity
    metrics.update(row(3.0, 0.0, 1.0), row(1.0, 9.0, 9.0) / 10)
    found = metrics.compute()
    assert np.isfinite(list(found.values())).all()
    assert found["delta_1_pooled"] >= 1 / 3


def test_relative_targets_are_aligned_as_they_are():
    metrics = DepthMetrics(0.0, depth_kind="relative", align="scale-shift")
    target = row(0.2, 0.4, 0.9)
    metrics.update(0.5 * target + 0.3, target)
    assert metrics.compute()["rmse_pooled"] == pytest.approx(0, abs=1e-6)


def test_pixels_outside_the_crop_do_not_align():
    target = torch.full((1, 1, 240, 320), 5.0)
    prediction = torch.full_like(target, 100.0)
    prediction[..., 17:240, 13:307] = 2.5
    assert scores(prediction, target, crop="toolbox", align="median")["rmse_m_pooled"] < 1e-5


@pytest.mark.parametrize("how", ["none", "median"])
def test_relative_answers_to_metric_targets_need_scale_and_shift(how):
    with pytest.raises(RunError, match="predicts relative depth: .*--align scale-shift"):
        check_comparable("relative", "metric", how=how, where="nyu")
    with pytest.raises(ValueError, match="relative predictions"):
        DepthMetrics(10.0, align=how, prediction_kind="relative")
    check_comparable("relative", "metric", how="scale-shift", where="nyu")


@pytest.mark.parametrize("how", ALIGNMENTS)
def test_metric_answers_are_not_held_against_relative_targets(how):
    with pytest.raises(RunError, match="of that kind"):
        check_comparable("metric", "relative", how=how, where="photos")


# ---- protocols ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "crop, size, window",
    [
        ("eigen-uncut", (480, 640), (20, 460, 24, 616)),
        ("eigen", (240, 320), (4, 236, 4, 316)),
        ("eigen", (480, 640), (8, 472, 8, 632)),
    ],
)
def test_the_crop_of_eigen(crop, size, window):
    rows, columns = crop_window(crop, *size)
    assert (rows.start, rows.stop, columns.start, columns.stop) == window


@pytest.mark.parametrize("name, uncut", [("toolbox", "toolbox-uncut"), ("eigen", "eigen-uncut")])
def test_a_crop_keeps_the_same_pixels_of_cut_and_uncut_frames(name, uncut):
    # the cut frame is rows 12:468 and columns 16:624 of the whole one, shrunk to 240x320
    rows, columns = crop_window(name, 240, 320)
    whole_rows, whole_columns = crop_window(uncut, 480, 640)
    step = 456 / 240  # [px of the whole frame]
    assert 12 + rows.start * step == pytest.approx(whole_rows.start, abs=step)
    assert 12 + rows.stop * step == pytest.approx(min(whole_rows.stop, 468), abs=step)
    assert 16 + columns.start * step == pytest.approx(whole_columns.start, abs=step)
    assert 16 + columns.stop * step == pytest.approx(whole_columns.stop, abs=step)


def protocol(name: str, max_depth_m: float = 80.0, **settings) -> Protocol:
    kinds = {"depth_kind": "metric", "prediction_kind": "metric"}
    return Protocol(name=name, max_depth_m=max_depth_m, **kinds | settings)


@pytest.mark.parametrize("name, pixels", [("full", 3), ("nyu", 2), ("eigen", 2)])
def test_a_protocol_bounds_the_depth_that_counts(name, pixels):
    # three depths in the middle of the frame: 2 m, 8 m, 20 m
    target = torch.zeros(1, 1, 240, 320)
    target[0, 0, 100, 100:103] = torch.tensor([2.0, 8.0, 20.0]) / 80
    metrics = DepthMetrics(**protocol(name).options())
    metrics.update(torch.full_like(target, 40 / 80), target)
    found = metrics.compute()
    assert found["pixels"] == pixels
    errors = [38, 32, 20] if name == "full" else [8, 2]  # 40 m is clipped to 10 m
    assert found["mae_m_pooled"] == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize(
    "name, kept", [("full", 240 * 320), ("nyu", 223 * 294), ("eigen", 232 * 312)]
)
def test_a_protocol_counts_the_pixels_of_its_crop(name, kept):
    target = torch.full((1, 1, 240, 320), 0.5)
    metrics = DepthMetrics(**protocol(name, 10.0).options())
    metrics.update(target, target)
    assert metrics.compute()["pixels"] == kept


def test_a_crop_of_its_own_takes_the_place_of_the_protocols():
    whole = protocol("eigen", other_crop="eigen-uncut")
    assert (whole.crop, whole.valid_to_m) == ("eigen-uncut", 10.0)
    assert whole.lines((480, 640))["crop"] == (
        "eigen-uncut: rows 20:460, columns 24:616 of 480x640 px"
    )


def test_the_headline_names_every_choice():
    chosen = protocol("nyu", align="median", tta="flip")
    expected = "protocol nyu: crop toolbox, 0.001 m < target < 10 m, align median, tta flip"
    assert chosen.headline() == expected
    relative = protocol("full", 0.0, depth_kind="relative", prediction_kind="relative")
    assert relative.headline() == "protocol full: crop none, align none, tta none"


def test_a_dataset_that_ends_before_the_protocol_sets_the_limit():
    assert protocol("nyu", 5.0).valid_to_m == 5


def test_the_lines_tell_in_which_space_depth_was_aligned():
    lines = protocol("nyu", align="scale-shift").lines((240, 320))
    assert (
        lines["alignment"] == "scale-shift: scale and shift of each image's depth by least squares"
    )
    lines = protocol("nyu", align="scale-shift", prediction_kind="relative").lines((240, 320))
    assert "inverse depth" in lines["alignment"]


def test_the_flags_read_back_as_a_protocol():
    parser = argparse.ArgumentParser()
    add_protocol_arguments(parser)
    args = parser.parse_args([])
    assert (args.protocol, args.crop, args.align, args.tta) == ("full", None, "none", "none")
    assert set(PROTOCOLS) == {"nyu", "eigen", "full"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--protocol", "garg"])
