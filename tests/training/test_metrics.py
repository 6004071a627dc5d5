"""Metrics: values worked by hand, and torchmetrics wherever it has the same score."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.functional.regression import mean_absolute_percentage_error

from training.losses.specs import mask_loss
from training.scoring.metrics import DepthMetrics, MaskMetrics, crop_window
from training.scoring.published_scores import PUBLISHED

# ---- depth, by hand ----------------------------------------------------------------------------

# Image A: four valid pixels. Image B: two, and two invalid ones (0). In metres.
TARGET_M = [[1.0, 2.0, 4.0, 5.0], [2.0, 8.0, 0.0, 0.0]]
PREDICTION_M = [[1.0, 3.0, 4.0, 3.0], [2.2, 8.0, 9.0, 1.0]]


def shares(metres: list[list[float]]) -> torch.Tensor:
    return torch.tensor(metres)[:, None, None] / 10  # (N, 1, 1, W)


@pytest.fixture
def by_hand() -> dict[str, float]:
    metrics = DepthMetrics(10.0)
    metrics.update(shares(PREDICTION_M), shares(TARGET_M))
    return metrics.compute()


def test_rmse_both_ways(by_hand):
    # A: errors 0, 1, 0, -2: sqrt(5 / 4) = 1.118034. B: 0.2, 0: sqrt(0.04 / 2) = 0.141421
    assert by_hand["rmse_m_per_image"] == pytest.approx((1.118034 + 0.141421) / 2, rel=1e-5)
    # (5 + 0.04) / 6 = 0.84
    assert by_hand["rmse_m_pooled"] == pytest.approx(math.sqrt(0.84), rel=1e-5)
    assert by_hand["rmse_per_image"] == pytest.approx(0.0629728, rel=1e-5)
    assert by_hand["rmse_pooled"] == pytest.approx(math.sqrt(0.84) / 10, rel=1e-5)


def test_mae_both_ways(by_hand):
    # A: 3 / 4; B: 0.2 / 2
    assert by_hand["mae_m_per_image"] == pytest.approx((0.75 + 0.1) / 2, rel=1e-5)
    assert by_hand["mae_m_pooled"] == pytest.approx(3.2 / 6, rel=1e-5)


def test_abs_rel_both_ways(by_hand):
    # A: (1/2 + 2/5) / 4 = 0.225; B: (0.2/2) / 2 = 0.05
    assert by_hand["abs_rel_per_image"] == pytest.approx(0.1375, rel=1e-5)
    assert by_hand["abs_rel_pooled"] == pytest.approx((0.9 + 0.1) / 6, rel=1e-5)


def test_log10_both_ways(by_hand):
    # A: (log10 1.5 + log10 5/3) / 4 = (0.176091 + 0.221849) / 4; B: log10 1.1 / 2 = 0.041393 / 2
    assert by_hand["log10_per_image"] == pytest.approx((0.099485 + 0.0206963) / 2, rel=1e-4)
    assert by_hand["log10_pooled"] == pytest.approx(0.439333 / 6, rel=1e-4)


def test_deltas_both_ways(by_hand):
    # ratios, A: 1, 1.5, 1, 1.667; B: 1.1, 1. Limits 1.25, 1.5625, 1.953
    assert by_hand["delta_1_per_image"] == pytest.approx((0.5 + 1) / 2)
    assert by_hand["delta_1_pooled"] == pytest.approx(4 / 6)
    assert by_hand["delta_2_per_image"] == pytest.approx((0.75 + 1) / 2)
    assert by_hand["delta_2_pooled"] == pytest.approx(5 / 6)
    assert by_hand["delta_3_pooled"] == 1


def test_silog_both_ways(by_hand):
    # A: d = 0, 0.405465, 0, -0.510826: mean -0.026340, mean square 0.106336,
    #    sqrt(0.106336 - 0.026340^2) = 0.325027
    # B: d = 0.095310, 0: mean 0.047655, mean square 0.004542, sqrt(0.002271) = 0.047655
    assert by_hand["silog_per_image"] == pytest.approx(100 * (0.325027 + 0.047655) / 2, rel=1e-4)
    # all six: mean -0.001675, mean square 0.0724048, sqrt(0.0724020) = 0.269076
    assert by_hand["silog_pooled"] == pytest.approx(26.9076, rel=1e-4)


def test_counts(by_hand):
    assert (by_hand["images"], by_hand["pixels"]) == (2, 6)


# ---- depth, properties -------------------------------------------------------------------------


@pytest.fixture
def random_depths() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    target = torch.rand(5, 1, 12, 16, generator=rng) * 0.9 + 0.05
    return target * (0.7 + 0.6 * torch.rand(5, 1, 12, 16, generator=rng)), target


def test_depth_scores_agree_with_torchmetrics(random_depths):
    prediction, target = random_depths
    metrics = DepthMetrics(10.0)
    metrics.update(prediction, target)
    scores = metrics.compute()
    flat = prediction.clamp(max=1).flatten(), target.flatten()
    assert scores["rmse_pooled"] == pytest.approx(mean_squared_error(*flat, squared=False).item())
    assert scores["mae_pooled"] == pytest.approx(mean_absolute_error(*flat).item(), rel=1e-5)
    abs_rel = mean_absolute_percentage_error(*flat).item()
    assert scores["abs_rel_pooled"] == pytest.approx(abs_rel, rel=1e-5)
    each = [
        mean_squared_error(p.clamp(max=1), t, squared=False).item()
        for p, t in zip(prediction, target, strict=True)
    ]
    assert scores["rmse_per_image"] == pytest.approx(np.mean(each), rel=1e-5)


def test_scores_do_not_depend_on_the_batches(random_depths):
    whole, parts = DepthMetrics(10.0), DepthMetrics(10.0)
    whole.update(*random_depths)
    for rows in (slice(0, 2), slice(2, 5)):
        parts.update(*(x[rows] for x in random_depths))
    assert parts.compute() == pytest.approx(whole.compute())


def test_a_choice_of_images_is_scored_as_if_alone(random_depths):
    whole, alone = DepthMetrics(10.0), DepthMetrics(10.0)
    whole.update(*random_depths)
    chosen = np.array([True, False, False, True, False])
    alone.update(*(x[torch.from_numpy(chosen)] for x in random_depths))
    assert whole.compute(chosen) == pytest.approx(alone.compute())


def test_the_valid_range_is_open_at_both_ends_and_predictions_are_clipped_to_it():
    target = shares([[0.001, 10.0, 5.0, 5.0]])
    prediction = shares([[3.0, 3.0, 40.0, -7.0]])
    metrics = DepthMetrics(10.0)
    metrics.update(prediction, target)
    scores = metrics.compute()
    # two pixels count: |10 - 5| and |0.001 - 5|
    assert scores["pixels"] == 2
    assert scores["mae_m_pooled"] == pytest.approx((5 + 4.999) / 2, rel=1e-5)


def test_images_without_valid_pixels_do_not_count():
    metrics = DepthMetrics(10.0)
    metrics.update(shares([[2.0, 2.0], [2.0, 2.0]]), shares([[1.0, 3.0], [0.0, 0.0]]))
    scores = metrics.compute()
    assert scores["images"] == 1
    assert scores["rmse_m_per_image"] == pytest.approx(1)
    assert math.isnan(metrics.compute(np.array([False, True]))["rmse_m_per_image"])


def test_relative_depth_has_neither_metres_nor_ratios_and_counts_the_nearest_pixel():
    metrics = DepthMetrics(0.0, depth_kind="relative")
    metrics.update(torch.full((1, 1, 1, 3), 1.3), torch.tensor([[[[1.0, 0.5, 0.0]]]]))
    scores = metrics.compute()
    # clipped to 1: errors 0 and 0.5; the third pixel is invalid
    assert scores["rmse_pooled"] == pytest.approx(math.sqrt(0.125))
    assert set(scores) == {
        "rmse_per_image", "rmse_pooled", "mae_per_image", "mae_pooled",
        "ssim_per_image", "ssim_pooled", "images", "pixels",
    }  # fmt: skip


def test_a_smaller_prediction_is_brought_to_the_target_bilinearly():
    ramp = torch.linspace(0.1, 0.8, 8).expand(1, 1, 8, 8)
    half = torch.nn.functional.avg_pool2d(ramp, 2)
    metrics = DepthMetrics(10.0)
    metrics.update(half, ramp)
    # a ramp survives bilinear enlargement but for the first and last column, off by half a step
    expected = math.sqrt(2 * 0.05**2 / 8)
    assert metrics.compute()["rmse_pooled"] == pytest.approx(expected, rel=1e-4)


def test_an_extra_valid_mask_takes_pixels_away():
    metrics = DepthMetrics(10.0)
    target = shares([[1.0, 2.0]])
    metrics.update(shares([[1.0, 5.0]]), target, torch.tensor([[[[True, False]]]]))
    assert metrics.compute()["rmse_m_pooled"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "crop, size, window",
    [
        ("none", (240, 320), (0, 240, 0, 320)),
        ("toolbox", (240, 320), (17, 240, 13, 307)),
        ("toolbox", (480, 640), (34, 480, 26, 614)),
        ("toolbox", (120, 160), (8, 120, 6, 153)),
        ("toolbox-uncut", (480, 640), (45, 471, 41, 601)),
    ],
)
def test_crops_scale_with_the_picture(crop, size, window):
    rows, columns = crop_window(crop, *size)
    assert (rows.start, rows.stop, columns.start, columns.stop) == window


def test_pixels_outside_the_crop_do_not_count():
    target = torch.full((1, 1, 240, 320), 0.5)
    prediction = torch.zeros_like(target)
    prediction[..., 17:240, 13:307] = 0.5
    metrics = DepthMetrics(10.0, crop="toolbox")
    metrics.update(prediction, target)
    scores = metrics.compute()
    assert scores["rmse_pooled"] == 0
    assert scores["pixels"] == 223 * 294


# ---- depth, structural similarity --------------------------------------------------------------


def ssim_of(prediction: torch.Tensor, target: torch.Tensor, **settings) -> dict[str, float]:
    metrics = DepthMetrics(10.0, **settings)
    metrics.update(prediction, target)
    return metrics.compute()


def test_ssim_of_flat_maps_is_that_of_their_levels_a_mean_over_images_both_ways():
    target = torch.full((2, 1, 16, 16), 0.6)
    target[1, :, :, 4:] = 0  # few valid pixels, yet an image like the other
    prediction = torch.full((2, 1, 16, 16), 0.6)
    prediction[0] = 0.2
    scores = ssim_of(prediction, target)
    # the first: (2 * 0.12 + c1) / (0.04 + 0.36 + c1), c1 = 1e-4; the second: 1
    expected = ((0.24 + 1e-4) / (0.4 + 1e-4) + 1) / 2
    assert scores["ssim_per_image"] == pytest.approx(expected, rel=1e-4)
    assert scores["ssim_pooled"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("depth_kind", ["metric", "relative"])
def test_ssim_agrees_with_torchmetrics_but_for_the_border(depth_kind):
    smooth = torch.nn.functional.avg_pool2d
    rng = torch.Generator().manual_seed(3)
    target = smooth(torch.rand(3, 1, 196, 196, generator=rng), 5, stride=1) * 0.9
    prediction = 0.7 * target + 0.3 * smooth(torch.rand(3, 1, 196, 196, generator=rng), 5, stride=1)
    scores = ssim_of(prediction, target, depth_kind=depth_kind)
    # torchmetrics leaves out the 5 outermost pixels, where the window would be mirrored
    theirs = structural_similarity_index_measure(prediction, target, data_range=1.0)
    assert 0.3 < theirs < 0.95
    assert scores["ssim_per_image"] == pytest.approx(theirs.item(), abs=0.005)


def test_ssim_does_not_see_what_stands_at_invalid_pixels():
    rng = torch.Generator().manual_seed(4)
    target = torch.rand(2, 1, 24, 24, generator=rng) * 0.8 + 0.1
    prediction = target * 0.9
    target[..., 6:12, 6:12] = 0
    wild = prediction.clone()
    wild[..., 6:12, 6:12] = 1
    expected = ssim_of(prediction, target)["ssim_per_image"]
    assert ssim_of(wild, target)["ssim_per_image"] == pytest.approx(expected, rel=1e-6)


def test_ssim_of_an_image_without_valid_pixels_does_not_count():
    target = torch.full((2, 1, 16, 16), 0.6)
    target[1] = 0
    scores = ssim_of(torch.full((2, 1, 16, 16), 0.6), target)
    assert scores["ssim_per_image"] == pytest.approx(1, abs=1e-5)
    assert scores["ssim_pooled"] == pytest.approx(1, abs=1e-5)


# ---- masks -------------------------------------------------------------------------------------


def left_part(columns: int) -> torch.Tensor:
    """(1, 1, 16, 16) mask of the first columns: its boundary is the last of them, 16 pixels."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :columns] = 1
    return mask


def mask_scores(prediction: torch.Tensor, target: torch.Tensor, **settings) -> dict[str, float]:
    metrics = MaskMetrics(**settings)
    metrics.update(prediction, target)
    return metrics.compute()


def test_iou_and_dice_both_ways():
    prediction = torch.tensor([[[[0.9, 0.9, 0.9, 0.9, 0.1, 0.1]]], [[[0.0] * 6]]])
    target = torch.tensor([[[[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]], [[[0.0] * 6]]])
    scores = mask_scores(prediction, target)
    # first image: 2 in both, 6 in either: IoU 1/3, Dice 4/8; second: both empty, 1
    assert scores["iou_per_image"] == pytest.approx((1 / 3 + 1) / 2)
    assert scores["iou_pooled"] == pytest.approx(1 / 3)
    assert scores["dice_per_image"] == pytest.approx((0.5 + 1) / 2)
    assert scores["dice_pooled"] == pytest.approx(0.5)


def test_rmse_and_mae_use_the_soft_values():
    scores = mask_scores(torch.tensor([[[[0.5, 0.8]]]]), torch.tensor([[[[0.0, 1.0]]]]))
    # errors 0.5 and 0.2
    assert scores["rmse_pooled"] == pytest.approx(math.sqrt((0.25 + 0.04) / 2))
    assert scores["mae_per_image"] == pytest.approx(0.35)


def test_soft_dice_both_ways():
    prediction = torch.tensor([[[[0.5, 0.1]]], [[[0.2, 0.0]]], [[[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[0.1, 0.0]]], [[[0.0, 0.0]]]])
    scores = mask_scores(prediction, target)
    # 2 * 0.5 / (0.6 + 1) = 0.625; 2 * 0.02 / (0.2 + 0.1) = 0.133333; both empty: 1
    assert scores["dice_soft_per_image"] == pytest.approx((0.625 + 0.1333333 + 1) / 3)
    assert scores["dice_soft_pooled"] == pytest.approx(2 * 0.52 / 1.9)


def test_soft_dice_of_binary_masks_is_dice():
    rng = torch.Generator().manual_seed(5)
    prediction, target = (torch.rand(3, 1, 9, 11, generator=rng).round() for _ in range(2))
    scores = mask_scores(prediction, target)
    assert scores["dice_soft_per_image"] == pytest.approx(scores["dice_per_image"])
    assert scores["dice_soft_pooled"] == pytest.approx(scores["dice_pooled"])


def test_mask_scores_agree_with_torchmetrics():
    rng = torch.Generator().manual_seed(2)
    prediction = torch.rand(4, 1, 9, 11, generator=rng)
    target = (torch.rand(4, 1, 9, 11, generator=rng) > 0.6).float()
    scores = mask_scores(prediction, target, threshold=0.3)
    whole = prediction, target.int()
    iou = binary_jaccard_index(*whole, threshold=0.3)
    assert scores["iou_pooled"] == pytest.approx(iou.item(), rel=1e-5)
    dice = binary_f1_score(*whole, threshold=0.3)
    assert scores["dice_pooled"] == pytest.approx(dice.item(), rel=1e-5)
    each = binary_f1_score(*whole, threshold=0.3, multidim_average="samplewise")
    assert scores["dice_per_image"] == pytest.approx(each.mean().item(), rel=1e-5)
    rmse = mean_squared_error(prediction.flatten(), target.flatten(), squared=False)
    assert scores["rmse_pooled"] == pytest.approx(rmse.item(), rel=1e-5)


# ---- what others have published ----------------------------------------------------------------


def test_every_published_score_is_a_float_and_says_what_is_wrong_with_it():
    rng = torch.Generator().manual_seed(6)
    prediction, target = (torch.rand(3, 1, 16, 16, generator=rng) for _ in range(2))
    for score in PUBLISHED.values():
        assert isinstance(score(prediction, target), float)
        assert "What is wrong with it:" in score.__doc__


def test_thresholded_depth_calls_maps_alike_that_are_not_and_apart_that_are():
    iou = PUBLISHED["iou_of_thresholded_depth"]
    near, far = torch.full((1, 1, 4, 4), 0.51), torch.full((1, 1, 4, 4), 1.0)
    assert iou(near, far) == 1  # half of the depth apart
    assert iou(near, near - 0.02) == 0  # a fiftieth apart
    assert math.isnan(iou(near - 0.02, near - 0.02))  # exactly right


def test_loss_per_sample_is_a_batch_size_too_small():
    rng = torch.Generator().manual_seed(7)
    prediction, target = (torch.rand(96, 1, 12, 12, generator=rng) for _ in range(2))
    loss = mask_loss("ssim3", head="linear")(prediction, target)
    found = PUBLISHED["loss_per_sample"](prediction, target)
    assert found * 48 == pytest.approx(loss.item(), rel=1e-5)


def test_soft_dice_over_255_explains_a_dice_of_nought():
    dice = PUBLISHED["soft_dice_over_255"]
    target = torch.full((2, 1, 64, 64), 0.509)
    # 2 * 0.5 * 0.509 / 255 / (0.5 + 0.509 / 255) = 0.00398: their logs say .00394 to .00396
    assert dice(torch.full_like(target, 0.5), target) == pytest.approx(0.00398, abs=5e-6)
    binary = (torch.arange(64) < 20).float().expand(2, 1, 64, 64)
    assert dice(binary, binary) < 0.008  # a perfect answer


# ---- intervals ---------------------------------------------------------------------------------


def depth_metrics(errors: np.ndarray) -> DepthMetrics:
    """Metrics of images of one pixel with these errors [m]."""
    metrics = DepthMetrics(10.0)
    target = torch.full((len(errors), 1, 1, 1), 0.4)
    metrics.update(target + torch.from_numpy(errors).float()[:, None, None, None] / 10, target)
    return metrics


@pytest.mark.parametrize("count", [20, 400])
def test_an_interval_is_that_of_the_mean_of_images_drawn_anew(count):
    errors = np.random.default_rng(count).uniform(0.1, 2, count)
    metrics = depth_metrics(errors)
    low, high = metrics.intervals()["mae_m_per_image"]
    reach = 1.96 * errors.std() / math.sqrt(count)
    assert low == pytest.approx(errors.mean() - reach, abs=0.15 * reach)
    assert high == pytest.approx(errors.mean() + reach, abs=0.15 * reach)
    assert low < metrics.compute()["mae_m_per_image"] < high


def test_intervals_have_every_score_are_the_same_each_time_and_narrow_with_more_images():
    metrics = depth_metrics(np.linspace(0.1, 2, 90))
    found = metrics.intervals()
    assert found == metrics.intervals()
    assert set(found) == set(metrics.compute()) - {"images", "pixels"}
    assert all(low <= high for low, high in found.values())
    few = metrics.intervals(np.arange(0, 90, 9))
    assert all(
        few[name][1] - few[name][0] >= high - low
        for name, (low, high) in found.items()
        if name.startswith("mae")
    )


def test_one_image_has_no_spread_and_none_has_no_interval():
    metrics = depth_metrics(np.array([0.5, 1.0]))
    low, high = metrics.intervals(np.array([True, False]))["rmse_m_per_image"]
    assert low == high == pytest.approx(0.5, rel=1e-5)
    assert metrics.intervals(np.array([False, False])) == {}
