"""Augmentation: fields stay aligned, targets keep their meaning, a seed repeats a batch."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dsetkit.errors import RunError
from training import augment_geometry as geometry
from training import augment_pictures
from training.augment import AUGMENTATIONS, GROUPS, default_augment, make_augment
from training.augment_pictures import Batch

GEOMETRIC = ("flip", "scale", "rotate")
PICTURES_ONLY = [name for name in AUGMENTATIONS if name not in GEOMETRIC]
ALIKE = ("colour", "hsv_or_rgb")  # composite and background by the same map of colours
APART = ("misalign", "noise", "jpeg", "exposure", "blur")  # the background otherwise


def ramp_batch(n: int = 8, height: int = 24, width: int = 32) -> Batch:
    """All fields show the same ramp, so that a field that moved alone is found out."""
    ramp = torch.linspace(0.2, 0.6, width).expand(height, width)
    ramp = ramp + torch.linspace(0, 0.3, height).view(-1, 1)
    ramp = ramp.expand(n, 1, height, width).contiguous()
    picture = ramp.expand(n, 3, height, width).contiguous()
    return {"composite": picture, "background": picture, "mask": ramp, "depth": ramp.clone()}


def random_batch(n: int = 8, height: int = 24, width: int = 32) -> Batch:
    """Blocks of random colours, a mask, and depth of 0.5 with a fifth of its pixels invalid."""
    rng = torch.Generator().manual_seed(1)
    pictures = torch.rand(2, n, 3, height // 4, width // 4, generator=rng)
    pictures = pictures.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    mask = (torch.rand(n, 1, height, width, generator=rng) > 0.5).float()
    valid = torch.rand(n, 1, height, width, generator=rng) > 0.2
    fields = ("composite", "background", "mask", "depth")
    return dict(zip(fields, (*pictures, mask, valid * 0.5), strict=True))


def apply(spec: str, batch: Batch, *, seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    return make_augment(spec, depth_is_metric=False)(batch)


# ---- what holds for every augmentation ---------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shapes_dtypes_and_ranges_stay_and_the_batch_given_is_not_written_to(name):
    batch = random_batch()
    before = {field: x.clone() for field, x in batch.items()}
    after = apply(name, batch)
    assert list(after) == list(batch)
    for field, x in after.items():
        assert x.shape == batch[field].shape and x.dtype == torch.float32
        assert x.min() >= 0 and x.max() <= 1
        assert torch.equal(batch[field], before[field])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_seed_repeats_the_batch_and_another_gives_another(name):
    first, again, other = (apply(name, random_batch(), seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[field], again[field]) for field in first)
    assert any(not torch.equal(first[field], other[field]) for field in first)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if not name.endswith("wrong")])
def test_samples_draw_their_own_numbers(name):
    batch = {field: x[:1].expand(16, -1, -1, -1) for field, x in random_batch().items()}
    after = apply(name, batch)
    changed = {field for field in after if not torch.equal(after[field], batch[field])}
    assert any(len(after[field].flatten(1).unique(dim=0)) > 1 for field in changed)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "cutdepth"])
def test_a_batch_may_lack_background_mask_and_depth(name):
    batch = {"composite": random_batch()["composite"]}
    assert list(apply(name, batch)) == ["composite"]


# ---- those that move pixels --------------------------------------------------------------------


@pytest.mark.parametrize("name", GEOMETRIC)
def test_pictures_mask_and_depth_stay_aligned(name):
    before = ramp_batch(n=32)
    after = apply(name, before)
    moved = (after["mask"] != before["mask"]).flatten(1).any(dim=1)
    assert moved.sum() > 4
    for field in ("composite", "background"):
        assert torch.allclose(after[field], after["mask"].expand(-1, 3, -1, -1), atol=1e-6)
    apart = (after["depth"] - after["mask"]).abs()[after["depth"] > 0]
    assert apart.max() < 0.02  # nearest against bilinear: half a pixel each way


@pytest.mark.parametrize("name", GEOMETRIC)
def test_invalid_depth_stays_invalid_and_mixes_into_no_valid_pixel(name):
    depth = apply(name, random_batch())["depth"]
    assert set(depth.unique().tolist()) == {0.0, 0.5}
    assert 0.1 < (depth == 0).float().mean() < 0.35


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_hole_in_depth_stays_where_the_picture_shows_it(name):
    batch = random_batch(n=16, height=40, width=40)
    hole = torch.zeros(16, 1, 40, 40)
    hole[..., 8:20, 24:34] = 1
    batch["mask"], batch["depth"] = hole, 0.5 * (1 - hole)
    after = apply(name, batch)
    inside = after["mask"] > 0.999
    assert inside.flatten(1).any(dim=1).all()
    assert (after["depth"][inside] == 0).all()


def test_flip_mirrors_some_samples_only():
    before = ramp_batch(n=32)
    after = apply("flip", before)
    flipped = (after["mask"] != before["mask"]).flatten(1).any(dim=1)
    assert 4 < flipped.sum() < 28
    assert torch.equal(after["mask"][flipped], before["mask"][flipped].flip(-1))


def test_enlarging_brings_depth_nearer_by_the_scale():
    torch.manual_seed(0)
    before = ramp_batch()
    after = geometry.scale_and_crop(before, max_scale=2.0)
    assert after["mask"].min() >= before["mask"].min()  # nothing from beyond the border
    # A ramp enlarged by s is s times flatter.
    slope = after["mask"].diff(dim=-1).median(dim=-1).values.mean(dim=(1, 2))  # (N,)
    scale = before["mask"].diff(dim=-1)[0, 0, 0, 0] / slope
    assert scale.min() >= 0.99 and scale.max() <= 2.01 and scale.max() - scale.min() > 0.3
    restored = after["depth"] * scale.view(-1, 1, 1, 1)
    assert (restored - after["mask"]).abs().max() < 0.02


def test_enlarging_leaves_relative_depth_as_it_is():
    batch = ramp_batch() | {"depth": torch.full((8, 1, 24, 32), 0.5)}
    assert torch.equal(make_augment("scale", depth_is_metric=False)(batch)["depth"], batch["depth"])
    assert make_augment("scale")(batch)["depth"].max() < 0.5


def test_a_turn_is_one_in_pixels_of_pictures_that_are_no_squares(monkeypatch):
    # Every sample by +10 degrees: what lies 20 px right of the middle comes from 20 px away at 10.
    turn = math.radians(10)
    monkeypatch.setattr(
        geometry, "uniform", lambda batch, low, high: torch.full((1, 1, 1, 1), high)
    )
    rows, columns = torch.meshgrid(torch.arange(31.0), torch.arange(61.0), indexing="ij")
    fields = {"mask": columns[None, None] / 100, "composite": rows.expand(1, 3, 31, 61) / 100}
    after = geometry.rotate(fields)
    x, y = after["mask"][0, 0, 15, 50] * 100 - 30, after["composite"][0, 0, 15, 50] * 100 - 15
    assert x.item() == pytest.approx(20 * math.cos(turn), abs=1e-3)
    assert y.item() == pytest.approx(20 * math.sin(turn), abs=1e-3)


def test_a_turn_fills_corners_with_picture_and_leaves_depth_invalid_there():
    fields = {name: torch.full_like(x, 0.5) for name, x in ramp_batch(n=16).items()}
    after = apply("rotate", fields)
    for field in ("composite", "background", "mask"):
        assert torch.allclose(after[field], fields[field], atol=1e-6)
    outside = after["depth"] == 0
    assert outside.any() and not outside[..., 6:-6, 6:-6].any()


# ---- those that change pictures ----------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES_ONLY)
def test_colours_change_and_mask_and_depth_do_not(name):
    before = random_batch(n=128, height=8, width=8)
    after = apply(name, before)
    assert all(torch.equal(after[field], before[field]) for field in ("mask", "depth"))
    assert any(not torch.equal(after[field], before[field]) for field in augment_pictures.PICTURES)


@pytest.mark.parametrize("name", ALIKE)
def test_equal_colours_of_composite_and_background_stay_equal(name):
    before = random_batch(n=32)
    before["background"] = before["composite"].clone()
    before["background"][..., :4, :4] = 0
    after = apply(name, before)
    same = (before["composite"] == before["background"]).all(dim=1)  # (N, H, W)
    composite, background = (after[field].movedim(1, -1) for field in augment_pictures.PICTURES)
    assert torch.equal(composite[same], background[same])
    change = (after["composite"] - before["composite"]).mean(dim=(1, 2, 3))
    assert change.std() > 0.01  # each sample its own


@pytest.mark.parametrize("name", [*APART, "honest"])
def test_a_background_equal_to_the_composite_comes_out_a_little_otherwise(name):
    before = random_batch(height=96, width=96)
    before["background"] = before["composite"].clone()
    after = apply(name, before)
    apart = (after["composite"] - after["background"]).abs().mean(dim=(1, 2, 3))
    assert apart.min() > 1e-4 and apart.mean() < 0.15


def test_hsv_or_rgb_takes_the_one_or_the_other_and_leaves_grey_grey_under_the_one():
    grey = torch.full((64, 3, 4, 4), 0.5)
    after = apply("hsv_or_rgb", {"composite": grey})["composite"]
    spread = after.amax(dim=1) - after.amin(dim=1)  # (N, H, W)
    by_hsv = (spread < 1e-6).flatten(1).all(dim=1)
    assert 16 < by_hsv.sum() < 48
    assert (after - 0.5).abs().max() <= 20 / 255 + 1e-6


def test_a_hue_is_turned_by_up_to_forty_degrees():
    red = torch.zeros(64, 3, 2, 2)
    red[:, 0] = 0.8
    after = apply("hsv_or_rgb", {"composite": red})["composite"]
    # 40 of the 60 degrees from red to yellow (green joins) or to magenta (blue joins)
    share = after[:, 1:].amax(dim=(1, 2, 3)) / after.amax(dim=(1, 2, 3))
    assert share.max() <= 40 / 60 + 0.02 and share.max() > 0.4


def test_noise_is_drawn_for_each_picture_and_bounded():
    grey = torch.full((32, 3, 16, 16), 0.5)
    after = apply("noise", {"composite": grey, "background": grey})
    std = (after["composite"] - 0.5).flatten(1).std(dim=1)
    assert std.max() <= 0.033 and std.min() < 0.01
    apart = [(after[field] - 0.5).flatten() for field in augment_pictures.PICTURES]
    assert torch.corrcoef(torch.stack(apart))[0, 1].abs() < 0.05


def test_misalign_moves_the_background_by_up_to_two_pixels_and_the_composite_not():
    columns = (torch.arange(40.0) / 80 + 0.2).expand(32, 3, 40, 40).contiguous()
    batch = {"composite": columns, "background": columns.clone()}
    torch.manual_seed(0)
    after = geometry.misalign(batch, strength=0)
    assert torch.equal(after["composite"], columns)
    shift_px = ((after["background"] - columns) * 80)[..., 5:-5]
    assert shift_px.abs().max() <= 2.001 and shift_px.abs().max() > 1
    assert shift_px.std(dim=(1, 2, 3)).max() < 1e-3  # a shift, no more


@pytest.mark.parametrize("size", [64, 128])
def test_a_handheld_camera_moves_the_background_by_a_share_of_the_side(size):
    row = torch.arange(float(size)) / (2 * size) + 0.2
    picture = row.expand(64, 3, size, size).contiguous()
    torch.manual_seed(0)
    batch = {"composite": picture, "background": picture.clone(), "mask": picture[:, :1].clone()}
    after = geometry.handheld(batch, max_zoom=0, max_degrees=0)
    assert all(torch.equal(after[field], batch[field]) for field in ("composite", "mask"))
    shift = ((after["background"] - picture) * 2)[..., 8:-8, 8:-8]  # a share of the side
    assert shift.std(dim=(1, 2, 3)).max() < 1e-3
    each = shift.mean(dim=(1, 2, 3)).abs()
    assert 0.025 < each.max() <= 0.0401 and each.median() < 0.016


def test_a_handheld_camera_zooms_and_turns_about_the_middle(monkeypatch):
    monkeypatch.setattr(
        geometry, "uniform", lambda batch, low, high: torch.full((1, 1, 1, 1), high)
    )
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(61.0), indexing="ij")
    picture = torch.stack([columns, rows, rows])[None] / 100
    batch = {"composite": picture, "background": picture}
    zoomed = geometry.handheld(batch, max_shift=0, max_zoom=0.02, max_degrees=0)["background"]
    assert zoomed[0, 0, 20, 50] * 100 - 30 == pytest.approx(20 / 1.02, abs=1e-3)
    turned = geometry.handheld(batch, max_shift=0, max_zoom=0, max_degrees=1)["background"]
    assert turned[0, 1, 20, 50] * 100 - 20 == pytest.approx(
        20 * math.sin(math.radians(1)), abs=1e-3
    )


def smooth_pictures(n: int, side: int) -> torch.Tensor:
    coarse = torch.rand(n, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def test_registered_backgrounds_are_exact_nearly_there_or_moved():
    picture = smooth_pictures(96, 64)
    batch = {"composite": picture, "background": picture.clone(), "mask": picture[:, :1].clone()}
    torch.manual_seed(0)
    after = geometry.registered(batch)
    assert all(torch.equal(after[field], batch[field]) for field in ("composite", "mask"))
    torch.manual_seed(0)
    far = geometry.registered(batch, exact=0, failed=1)["background"]
    inside = np.s_[:, :, 8:-8, 8:-8]  # of what is beyond the edge nothing is known

    def apart(pictures):
        return (pictures - picture)[inside].abs().mean(dim=(1, 2, 3))

    is_exact = apart(after["background"]) == 0
    is_far = (after["background"] == far).flatten(1).all(dim=1)
    is_near = ~is_exact & ~is_far
    assert 12 < is_exact.sum() < 40 and 4 < is_far.sum() < 30
    assert apart(after["background"])[is_near].mean() < 0.25 * apart(far)[is_near].mean()


def test_what_is_left_after_registration_grows_with_rest():
    picture = smooth_pictures(32, 64)
    batch = {"composite": picture, "background": picture}
    left = []
    for rest in (0, 0.1, 0.5):
        torch.manual_seed(0)
        after = geometry.registered(batch, rest=rest, exact=0, failed=0)["background"]
        left.append((after - picture)[..., 8:-8, 8:-8].abs().mean())
    assert left[0] < left[1] < left[2]


def test_a_share_of_the_samples_get_the_background_of_another():
    batch = random_batch(n=200, height=8, width=8)
    torch.manual_seed(0)
    after = geometry.wrong_background(batch, share=0.3)
    before = batch["background"].flatten(1)
    source = (after["background"].flatten(1)[:, None] == before).all(dim=2).long()  # (N, N)
    assert (source.sum(dim=1) == 1).all()
    wrong = source.argmax(dim=1) != torch.arange(200)
    assert 40 < wrong.sum() < 80
    assert len(((source.argmax(dim=1) - torch.arange(200)) % 200)[wrong].unique()) > 20
    for share, differ in ((0, 0), (1, 200)):
        got = geometry.wrong_background(batch, share=share)["background"]
        assert (got != batch["background"]).flatten(1).any(dim=1).sum() == differ


def test_a_share_of_the_samples_have_a_black_background_and_the_others_their_own():
    batch = random_batch(n=200, height=8, width=8)
    torch.manual_seed(0)
    after = geometry.missing_background(batch, share=0.3)["background"]
    is_black = (after == 0).flatten(1).all(dim=1)
    assert 40 < is_black.sum() < 80
    assert torch.equal(after[~is_black], batch["background"][~is_black])


def test_camera_leaves_black_backgrounds_black():
    batch = random_batch(n=64)
    torch.manual_seed(0)
    after = make_augment("camera")(batch)["background"]
    assert 10 < (after == 0).flatten(1).all(dim=1).sum() < 30


def test_a_batch_of_one_keeps_its_background():
    batch = random_batch(n=1)
    assert torch.equal(geometry.wrong_background(batch, share=1)["background"], batch["background"])


def test_exposures_stay_within_their_bounds_and_are_drawn_for_each_picture():
    grey = torch.full((256, 3, 2, 2), 0.5)
    torch.manual_seed(0)
    after = augment_pictures.exposure({"composite": grey, "background": grey})
    low, high = 0.88 * 0.97 * 0.5**1.15, 1.12 * 1.03 * 0.5**0.85
    for picture in after.values():
        assert low <= picture.min() < 0.42 and 0.58 < picture.max() <= high + 1e-6
    apart = torch.stack([picture.mean(dim=(1, 2, 3)) for picture in after.values()])
    assert torch.corrcoef(apart)[0, 1].abs() < 0.25


def test_blur_spreads_a_point_by_a_share_of_the_side_and_keeps_its_light():
    point = torch.zeros(64, 3, 128, 128)
    point[..., 64, 64] = 1
    torch.manual_seed(0)
    after = augment_pictures.blur({"composite": point})["composite"]
    assert torch.allclose(after.sum(dim=(2, 3)), torch.ones(64, 3), atol=1e-5)
    place = torch.arange(128.0) - 64
    sigma_px = (after.sum(dim=2) * place**2).sum(dim=-1).sqrt()
    assert 0.55 < sigma_px.max() <= 0.005 * 128 + 1e-4 and sigma_px.min() < 0.1


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name.startswith("some_")])
def test_some_changes_happen_to_half_of_the_samples(name):
    batch = {field: random_batch(n=64)[field] for field in ("composite", "background")}
    after = apply(name, batch)
    is_changed = [(after[field] != batch[field]).flatten(1).any(dim=1) for field in batch]
    assert torch.equal(*is_changed), "both pictures of a sample, or none"
    assert 16 < is_changed[0].sum() < 48


@pytest.mark.parametrize("quality, least, most", [(95, 0.002, 0.02), (50, 0.04, 0.1)])
def test_jpeg_costs_more_at_a_lower_quality(quality, least, most, monkeypatch):
    monkeypatch.setattr(augment_pictures, "JPEG_QUALITY", (quality, quality))
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(16, 1, 33, 40, generator=rng).expand(-1, 3, -1, -1)
    after = augment_pictures.jpeg({"composite": picture})["composite"]
    assert least < (after - picture).abs().mean() < most


def test_jpeg_keeps_colours_in_their_channels():
    colours = torch.tensor([[0.8, 0.3, 0.1], [0.1, 0.3, 0.8]])[:, :, None, None]
    picture = colours.expand(2, 3, 16, 16)
    after = augment_pictures.jpeg({"composite": picture})["composite"]
    assert (after - picture).abs().max() < 0.05


def test_cut_depth_shows_depth_in_a_rectangle_and_needs_depth():
    batch = ramp_batch(n=32)
    batch["composite"] = torch.zeros_like(batch["composite"])
    shown = apply("cutdepth", batch)["composite"]
    inside = shown > 0
    assert torch.equal(shown[inside], batch["depth"].expand_as(shown)[inside])
    assert 4 < inside.flatten(1).any(dim=1).sum() < 28
    with pytest.raises(RunError, match="only for depth training"):
        apply("cutdepth", {"composite": batch["composite"]})


# ---- names -------------------------------------------------------------------------------------


def test_none_leaves_a_batch_unchanged():
    batch = ramp_batch()
    assert make_augment("none")(batch) is batch


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_is_its_parts_one_after_the_other(name):
    parts = "+".join(GROUPS[name]) or "none"
    whole, apart = apply(name, random_batch()), apply(parts, random_batch())
    assert all(torch.equal(whole[field], apart[field]) for field in whole)


def test_groups_and_names_join():
    build = partial(apply, batch=random_batch())
    mixed, spelt = build("flip+honest"), build("flip+misalign+noise+jpeg")
    assert all(torch.equal(mixed[field], spelt[field]) for field in mixed)


def test_networks_that_see_the_background_train_with_two_photographs():
    assert default_augment(["composite"]) == "flip"
    assert default_augment(["background", "composite"]) == "flip+camera"
    assert GROUPS["honest"] == ("misalign", "noise", "jpeg")  # runs of before go on with it


def test_an_unknown_name_lists_groups_and_names():
    with pytest.raises(RunError, match="no augmentation 'spin' in 'flip.spin'") as caught:
        make_augment("flip+spin")
    assert all(name in str(caught.value) for name in [*GROUPS, *AUGMENTATIONS])
