"""Losses: values worked by hand, and what holds for every one of them."""

import math

import pytest
import torch
import torch.nn.functional as F

from training.errors import RunError
from training.losses import DEPTH_LOSSES, MASK_LOSSES, depth_loss, mask_loss

LOG_LOSSES = ("log_l1", "silog", "grad")


def depth_map(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows)[None, None]  # (1, 1, H, W)


def everywhere(depth: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(depth, dtype=torch.bool)


@pytest.fixture
def random_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(3, 1, 24, 20, generator=rng) * 0.9 + 0.05
    prediction = torch.rand(3, 1, 24, 20, generator=rng) * 0.9 + 0.05
    valid = torch.rand(3, 1, 24, 20, generator=rng) > 0.1
    return prediction, target, valid


# ---- values worked by hand ---------------------------------------------------------------------


def test_l1_is_the_mean_absolute_difference_of_valid_pixels():
    prediction = depth_map([[0.5, 0.2, 0.9]])
    target = depth_map([[0.4, 0.5, 0.0]])
    # (0.1 + 0.3) / 2; the third pixel is invalid
    assert depth_loss("l1")(prediction, target, target > 0).item() == pytest.approx(0.2)


def test_log_l1_counts_ratios():
    prediction, target = depth_map([[0.2, 0.8]]), depth_map([[0.1, 0.4]])
    # both are twice the target: ln 2
    loss = depth_loss("log_l1")(prediction, target, target > 0)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)


def test_berhu_is_linear_below_a_fifth_of_the_largest_error_and_quadratic_above():
    prediction, target = depth_map([[0.6, 0.15]]), depth_map([[0.1, 0.1]])
    # d = 0.5, 0.05; c = 0.2 * 0.5 = 0.1; 0.5 -> (0.25 + 0.01) / 0.2 = 1.3; 0.05 -> 0.05; mean 0.675
    loss = depth_loss("berhu")(prediction, target, target > 0)
    assert loss.item() == pytest.approx(0.675, rel=1e-5)


def test_silog_halves_the_square_of_a_common_scale():
    target = depth_map([[0.1, 0.2, 0.4]])
    # d = ln 2 everywhere: sqrt(ln2^2 - 0.5 ln2^2) = ln 2 / sqrt 2
    loss = depth_loss("silog")(2 * target, target, everywhere(target))
    assert loss.item() == pytest.approx(math.log(2) / math.sqrt(2), abs=2e-4)


def test_silog_gives_each_image_its_own_scale_and_skips_images_without_valid_pixels():
    target = torch.full((3, 1, 2, 2), 0.2)
    prediction = torch.stack([torch.full((1, 2, 2), v) for v in (0.4, 0.1, 0.9)])
    valid = everywhere(target)
    valid[2] = False
    # d = +ln 2 and -ln 2: each ln 2 / sqrt 2. One scale for the batch would give ln 2.
    loss = depth_loss("silog")(prediction, target, valid)
    assert loss.item() == pytest.approx(math.log(2) / math.sqrt(2), abs=2e-4)


def test_cosine_compares_normals():
    columns = torch.arange(5.0)
    target = torch.zeros(1, 1, 5, 5)
    prediction = (columns / 8).expand(1, 1, 5, 5)
    # Sobel on a slope of 1/8 per pixel: dx = 8/8 = 1, so (-1, 0, 1) against (0, 0, 1): 45 degrees
    loss = depth_loss("cosine")(prediction, target, everywhere(target))
    assert loss.item() == pytest.approx(1 - 1 / math.sqrt(2), rel=1e-5)


def test_grad_sums_the_slopes_of_the_log_ratio_over_four_scales():
    columns = torch.arange(16.0)
    target = torch.full((1, 1, 16, 16), 0.1)
    prediction = (0.1 * torch.exp(0.1 * columns)).expand(1, 1, 16, 16)
    # R = 0.1 x: |dR/dx| = 0.1, 0.2, 0.4, 0.8 at strides 1, 2, 4, 8; |dR/dy| = 0
    loss = depth_loss("grad")(prediction, target, everywhere(target))
    assert loss.item() == pytest.approx(1.5, rel=1e-4)


def test_dice_of_one_image():
    target = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    logits = torch.tensor([[[[50.0, -50.0, 50.0, -50.0]]]])
    # p = 1, 0, 1, 0: (2 * 1 + 1) / (2 + 2 + 1) = 0.6
    assert mask_loss("dice")(logits, target).item() == pytest.approx(0.4)


def test_bce_takes_soft_targets():
    logits, target = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    expected = F.binary_cross_entropy(torch.sigmoid(logits), target)
    assert mask_loss("bce")(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


# ---- what holds for every depth loss -----------------------------------------------------------


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_is_zero_at_the_target_and_positive_elsewhere(name, random_case):
    prediction, target, valid = random_case
    assert depth_loss(name)(target, target, valid).item() == pytest.approx(0, abs=1e-6)
    assert depth_loss(name)(prediction, target, valid).item() > 1e-3


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_has_finite_gradients_even_at_the_target(name, random_case):
    prediction, target, valid = random_case
    for start in (prediction, target):
        leaf = start.clone().requires_grad_()
        depth_loss(name)(leaf, target, valid).backward()
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_invalid_pixels_neither_count_nor_get_a_gradient(name, random_case):
    prediction, target, valid = random_case
    loss = depth_loss(name)(prediction, target, valid)
    leaf = torch.where(valid, prediction, 0.77).requires_grad_()
    changed = depth_loss(name)(leaf, torch.where(valid, target, 0), valid)
    changed.backward()
    assert changed.item() == pytest.approx(loss.item(), rel=1e-5)
    assert (leaf.grad[~valid] == 0).all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_without_valid_pixels_is_zero_and_still_has_a_graph(name, random_case):
    prediction, target, _ = random_case
    leaf = prediction.clone().requires_grad_()
    loss = depth_loss(name)(leaf, torch.zeros_like(target), target < 0)
    loss.backward()
    assert loss.item() == 0
    assert (leaf.grad == 0).all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_computes_in_float32_under_autocast(name, random_case):
    prediction, target, valid = random_case
    with torch.autocast("cpu", torch.bfloat16):
        loss = depth_loss(name)(prediction.bfloat16(), target, valid)
    expected = depth_loss(name)(prediction.bfloat16().float(), target, valid)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOG_LOSSES)
@pytest.mark.parametrize("stuck", [-0.5, 0.0, 0.001])
def test_log_losses_pull_a_prediction_up_from_zero_and_below(name, stuck):
    target = torch.full((1, 1, 8, 8), 0.3)
    prediction = target.clone()
    prediction[..., 3, 3] = stuck
    prediction.requires_grad_()
    depth_loss(name)(prediction, target, everywhere(target)).backward()
    assert prediction.grad[0, 0, 3, 3] < 0


# ---- what holds for every mask loss ------------------------------------------------------------


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_mask_loss_falls_as_the_answer_improves(name):
    target = (torch.arange(64.0).reshape(1, 1, 8, 8) > 20).float()
    sure = (2 * target - 1) * 10
    right, unsure, wrong = (mask_loss(name)(logits, target) for logits in (sure, 0 * sure, -sure))
    assert right < unsure < wrong
    assert right < 0.01


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_mask_loss_of_an_empty_mask_has_finite_gradients(name):
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    mask_loss(name)(logits, torch.zeros(2, 1, 8, 8)).backward()
    assert logits.grad.isfinite().all()


# ---- the grammar -------------------------------------------------------------------------------


def test_terms_are_weighted_and_added(random_case):
    l1, cosine = (depth_loss(name)(*random_case) for name in ("l1", "cosine"))
    both = depth_loss("l1:0.5 + cosine:2")(*random_case)
    assert both.item() == pytest.approx(0.5 * l1.item() + 2 * cosine.item())
    assert depth_loss("l1+cosine")(*random_case).item() == pytest.approx((l1 + cosine).item())


@pytest.mark.parametrize("build, known", [(depth_loss, DEPTH_LOSSES), (mask_loss, MASK_LOSSES)])
def test_an_unknown_name_lists_the_known(build, known):
    with pytest.raises(RunError, match="unknown .* loss 'ssim'") as caught:
        build("ssim:2")
    assert all(name in str(caught.value) for name in known)


@pytest.mark.parametrize("spec", ["l1:x", "l1:0", "l1:-1", "l1:inf", "l1:nan"])
def test_a_weight_that_is_no_positive_number_is_refused(spec):
    with pytest.raises(RunError, match="not a positive number"):
        depth_loss(spec)


def test_a_name_given_twice_is_refused():
    with pytest.raises(RunError, match="twice"):
        depth_loss("l1+l1:2")
