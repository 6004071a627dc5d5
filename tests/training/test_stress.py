"""Changed backgrounds: each change does what its name says, and the same each time."""

import pytest
import torch

from training.scoring.stress import EXACT, STRESSES, shifted, stressed


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.rand(6, 3, 6, 8, generator=generator), (48, 64), mode="bicubic"
    ).clamp(0.05, 0.9)
    return {"composite": smooth.flip(0), "background": smooth, "mask": smooth[:, :1].round()}


@pytest.mark.parametrize("name", STRESSES)
def test_only_the_background_changes_and_stays_a_picture(batch: dict, name: str) -> None:
    before = {field: values.clone() for field, values in batch.items()}
    changed = stressed(batch, name)
    for field, values in before.items():
        assert torch.equal(batch[field], values), "the batch itself is not changed"
        assert torch.equal(changed[field], values) == (field != "background" or name == EXACT)
    assert changed["background"].shape == batch["background"].shape
    assert changed["background"].min() >= 0 and changed["background"].max() <= 1
    assert torch.equal(stressed(batch, name)["background"], changed["background"])


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_a_shift_moves_every_pixel(batch: dict, pixels: int) -> None:
    moved = shifted(pixels)(batch["background"])
    assert torch.equal(moved[..., pixels:], batch["background"][..., :-pixels])


def test_strengths_are_those_of_the_names(batch: dict) -> None:
    background = batch["background"]
    brighter = stressed(batch, "8 % brighter")["background"]
    assert (brighter / background).median() == pytest.approx(1.08, abs=1e-3)
    noise = stressed(batch, "noise 5/255")["background"] - background
    assert noise.std() == pytest.approx(5 / 255, rel=0.05)


@pytest.mark.parametrize("photographs", [1, 2, 5])
def test_a_wrong_background_is_another_photograph(photographs: int) -> None:
    several = torch.rand((photographs, 3, 1, 8), generator=torch.Generator().manual_seed(1))
    rows = torch.linspace(0.2, 1, 24)[:, None]
    pictures = (several.repeat_interleave(3, -1) * rows).repeat_interleave(7, 0)
    wrong = stressed({"background": pictures}, "wrong")["background"]
    assert ((wrong - pictures).abs().mean(dim=(1, 2, 3)) > 0.02).all()


def test_a_wrong_background_is_another_samples(batch: dict) -> None:
    wrong = stressed(batch, "wrong")["background"]
    assert not any(torch.equal(a, b) for a, b in zip(wrong, batch["background"], strict=True))


def test_exact_needs_no_background() -> None:
    mask = {"mask": torch.zeros(1, 1, 4, 4)}
    assert stressed(mask, EXACT) == mask


def structured(count: int, side: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    fine = torch.rand(count, 3, side // 4, side // 4, generator=generator)
    return torch.nn.functional.interpolate(fine, (side, side), mode="bicubic").clamp(0.1, 0.9)


@pytest.mark.parametrize("name", ["shifted 1 px", "shifted 2 px"])
def test_registration_takes_a_shift_back(name: str) -> None:
    picture = structured(4)
    batch = {"composite": picture, "background": picture}

    def apart(register: bool) -> torch.Tensor:
        changed = stressed(batch, name, register=register)["background"]
        return (changed - picture)[..., 4:-4, 4:-4].abs().mean(dim=(1, 2, 3))

    assert (apart(True) < 0.15 * apart(False)).all()


@pytest.mark.parametrize("name", [EXACT, "noise 5/255", "8 % brighter", "JPEG 60"])
def test_registration_leaves_what_lies_right_to_the_bit(name: str) -> None:
    batch = {"composite": structured(4), "background": structured(4)}
    changed = stressed(batch, name)["background"]
    assert torch.equal(stressed(batch, name, register=True)["background"], changed)


def test_registration_leaves_no_background_of_another_view() -> None:
    batch = {"composite": structured(4), "background": structured(4)}
    assert not stressed(batch, "wrong", register=True)["background"].any()
