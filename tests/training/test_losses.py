"""Losses: values worked by hand, and what holds for every one of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from dsetkit.errors import RunError
from training.losses.saliency import saliency_loss
from training.losses.specs import DEPTH_LOSSES, HEADS, MASK_LOSSES, ON_LOGITS, depth_loss, mask_loss
from training.losses.ssim import ssim_map

LOG_LOSSES = ("log_l1", "silog", "grad")
ZERO_AT_TARGET = [name for name in DEPTH_LOSSES if name != "bce"]  # that one ends at the entropy
LINEAR_MASK_LOSSES = [name for name in MASK_LOSSES if name not in ON_LOGITS]


def depth_loss_on_shares(name: str):
    """The loss as a function of depth in 0..1, whatever output the term asks for."""
    if name not in ON_LOGITS:
        return depth_loss(name)
    on_logits = depth_loss(name, head="logits")
    return lambda depth, target, valid: on_logits(torch.logit(depth), target, valid)


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


def test_smooth_l1_is_half_the_square_up_to_one_and_linear_beyond():
    output, target = depth_map([[0.5, 3.0]]), depth_map([[0.1, 1.0]])
    # 0.4^2 / 2 = 0.08 and 2 - 0.5 = 1.5
    loss = mask_loss("smooth_l1", head="linear")(output, target)
    assert loss.item() == pytest.approx((0.08 + 1.5) / 2)


def test_rmse_is_the_root_over_the_whole_batch_and_zero_at_the_target():
    output, target = torch.tensor([[[[0.4]]], [[[0.9]]]]), torch.tensor([[[[0.0]]], [[[0.6]]]])
    loss = mask_loss("rmse", head="linear")
    # d = 0.4, 0.3: sqrt(0.125 + 1e-6) - 1e-3. A plain sqrt(mse + 1e-6) would end at 0.001.
    assert loss(output, target).item() == pytest.approx(math.sqrt(0.125001) - 0.001, rel=1e-5)
    assert loss(target, target).item() == pytest.approx(0, abs=1e-8)


def test_dice_squared_takes_the_batch_as_one():
    output = torch.tensor([[[[1.0, 0.5]]], [[[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    # 1 - (2 * 1 + 1) / ((1 + 0.25) + (1 + 1) + 1)
    loss = mask_loss("dice_squared", head="linear")(output, target)
    assert loss.item() == pytest.approx(1 - 3 / 4.25)


def test_dice_squared_alone_of_the_two_is_zero_for_a_soft_target_that_is_met():
    target = torch.full((2, 1, 8, 8), 0.3)
    logits = torch.logit(target)
    assert mask_loss("dice_squared")(logits, target).item() == pytest.approx(0, abs=1e-6)
    assert mask_loss("dice")(logits, target).item() > 0.5


def test_ssim_of_flat_maps_compares_their_levels():
    output, target = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    # no structure: SSIM = (2 * 0.12 + c1) / (0.04 + 0.36 + c1), c1 = 1e-4
    similarity = (0.24 + 1e-4) / (0.4 + 1e-4)
    for window in (3, 5, 11):
        loss = mask_loss(f"ssim{window}", head="linear")(output, target)
        assert loss.item() == pytest.approx((1 - similarity) / 2, rel=1e-3)


def test_ssim_agrees_with_torchmetrics_inside_the_picture(random_case):
    prediction, target, _ = random_case
    ours = ssim_map(prediction, target, everywhere(target), window=11)
    _, theirs = structural_similarity_index_measure(
        prediction, target, gaussian_kernel=True, sigma=1.5, data_range=1.0, return_full_image=True
    )
    assert torch.allclose(ours[..., 5:-5, 5:-5], theirs[..., 5:-5, 5:-5], atol=1e-4)


def test_ssim_ends_at_a_half_for_an_answer_that_runs_against_its_target():
    target = (torch.arange(64.0).reshape(1, 1, 8, 8) % 2).contiguous()
    loss = mask_loss("ssim3", head="linear")(1 - target, target)
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 5), (6, 40)])
def test_ssim_takes_maps_smaller_than_its_window(sides):
    target = torch.rand(2, 1, *sides)
    assert mask_loss("ssim11", head="linear")(target, target).item() == pytest.approx(0, abs=1e-6)


# ---- what holds for every depth loss -----------------------------------------------------------


@pytest.mark.parametrize("name", ZERO_AT_TARGET)
def test_depth_loss_is_zero_at_the_target_and_positive_elsewhere(name, random_case):
    prediction, target, valid = random_case
    assert depth_loss(name)(target, target, valid).item() == pytest.approx(0, abs=1e-6)
    assert depth_loss(name)(prediction, target, valid).item() > 1e-3


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_has_finite_gradients_even_at_the_target(name, random_case):
    prediction, target, valid = random_case
    for start in (prediction, target):
        leaf = start.clone().requires_grad_()
        depth_loss_on_shares(name)(leaf, target, valid).backward()
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_invalid_pixels_neither_count_nor_get_a_gradient(name, random_case):
    prediction, target, valid = random_case
    loss = depth_loss_on_shares(name)(prediction, target, valid)
    leaf = torch.where(valid, prediction, 0.77).requires_grad_()
    changed = depth_loss_on_shares(name)(leaf, torch.where(valid, target, 0), valid)
    changed.backward()
    assert changed.item() == pytest.approx(loss.item(), rel=1e-5)
    assert (leaf.grad[~valid] == 0).all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_without_valid_pixels_is_zero_and_still_has_a_graph(name, random_case):
    prediction, target, _ = random_case
    leaf = prediction.clone().requires_grad_()
    loss = depth_loss_on_shares(name)(leaf, torch.zeros_like(target), target < 0)
    loss.backward()
    assert loss.item() == 0
    assert (leaf.grad == 0).all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_computes_in_float32_under_autocast(name, random_case):
    prediction, target, valid = random_case
    with torch.autocast("cpu", torch.bfloat16):
        loss = depth_loss(name, head="logits")(prediction.bfloat16(), target, valid)
    expected = depth_loss(name, head="logits")(prediction.bfloat16().float(), target, valid)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_depth_bce_is_least_at_the_target(random_case):
    prediction, target, valid = random_case
    bce = depth_loss_on_shares("bce")
    leaf = target.clone().requires_grad_()
    least = bce(leaf, target, valid)
    least.backward()
    assert leaf.grad.abs().max() < 1e-7
    assert least < bce(prediction, target, valid)


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_a_depth_head_of_logits_is_judged_by_its_sigmoid(name, random_case):
    prediction, target, valid = random_case
    loss = depth_loss(name, head="logits")(torch.logit(prediction), target, valid)
    assert loss.item() == pytest.approx(
        depth_loss_on_shares(name)(prediction, target, valid).item(), rel=1e-4
    )


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


@pytest.mark.parametrize("name", LINEAR_MASK_LOSSES)
def test_a_linear_mask_head_is_judged_by_its_value(name):
    rng = torch.Generator().manual_seed(0)
    probability, target = (torch.rand(2, 1, 8, 8, generator=rng) * 0.98 + 0.01 for _ in range(2))
    on_value = mask_loss(name, head="linear")(probability, target)
    on_logits = mask_loss(name)(torch.logit(probability), target)
    assert on_value.item() == pytest.approx(on_logits.item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(MASK_LOSSES) & set(DEPTH_LOSSES)))
def test_what_masks_and_depth_share_is_one_loss(name):
    rng = torch.Generator().manual_seed(0)
    output, target = (torch.rand(2, 1, 8, 8, generator=rng) for _ in range(2))
    as_mask = mask_loss(name)(output, target)
    as_depth = depth_loss(name, head="logits")(output, target, everywhere(target))
    assert as_mask.item() == as_depth.item()


# ---- saliency ----------------------------------------------------------------------------------


class Brightness(nn.Module):
    """A depth network: the mean of the channels, times a weight, after a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.weight * self.norm(picture).mean(dim=1, keepdim=True)


def test_a_whole_mask_costs_its_area_and_an_empty_one_what_the_network_no_longer_sees():
    composite = torch.full((2, 3, 8, 8), 0.4)
    loss = saliency_loss(lambda picture: picture.mean(dim=1, keepdim=True))
    whole, none = torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    # all terms ln 0.5, no turn of the normals, 5 * mean(mask)
    assert loss(whole, composite).item() == pytest.approx(3 * math.log(0.5) + 5, rel=1e-5)
    # depth 0 for 0.4: ln 0.9; both flat, so the slopes agree
    expected = math.log(0.9) + 2 * math.log(0.5)
    assert loss(none, composite).item() == pytest.approx(expected, rel=1e-5)


def test_saliency_compares_slopes_and_normals():
    ramp = (torch.arange(8.0) / 8).expand(1, 3, 8, 8)
    loss = saliency_loss(lambda picture: picture.mean(dim=1, keepdim=True))
    # an empty mask flattens a Sobel slope of 1 in x: ln 1.5 and a turn by 45 degrees
    depth_term = (ramp[0, 0, 0] + 0.5).log().mean().item()
    expected = depth_term + math.log(1.5) + math.log(0.5) + 1 - 1 / math.sqrt(2)
    assert loss(torch.zeros(1, 1, 8, 8), ramp).item() == pytest.approx(expected, rel=1e-5)


def test_saliency_teaches_the_mask_and_leaves_the_depth_network_as_it_is():
    net = Brightness().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mask = torch.full((2, 1, 8, 8), 0.5, requires_grad=True)
    saliency_loss(net)(mask, torch.rand(2, 3, 8, 8)).backward()
    assert mask.grad.isfinite().all() and mask.grad.unique().numel() > 1
    assert net.weight.grad is None and not net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


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


@pytest.mark.parametrize("name", ON_LOGITS)
def test_a_loss_on_logits_is_refused_for_a_linear_head(name):
    with pytest.raises(RunError, match=f"{name}.*needs logits.*or --arch-options mask_head=logits"):
        mask_loss(f"l1+{name}", head="linear")


def test_depth_bce_is_refused_for_the_usual_linear_head():
    with pytest.raises(RunError, match="'bce' in 'bce' needs logits, .* choose another loss$"):
        depth_loss("bce")


@pytest.mark.parametrize("build", [depth_loss, mask_loss])
def test_an_unknown_head_lists_the_known(build):
    with pytest.raises(RunError, match="head 'tanh'; known: linear, logits"):
        build("l1", head="tanh")


@pytest.mark.parametrize("head", HEADS)
def test_every_kind_of_mask_head_has_a_loss_by_default(head):
    target = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    right, wrong = target, 1 - target
    if head == "logits":
        right, wrong = 20 * (target - 0.5), 20 * (0.5 - target)
    loss = mask_loss(None, head=head)
    assert loss(right, target) < 0.05 < loss(wrong, target)


def test_a_name_given_twice_is_refused():
    with pytest.raises(RunError, match="twice"):
        depth_loss("l1+l1:2")
