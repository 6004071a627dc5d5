"""Predictions: at the picture's own size, whatever batches, sizes and kinds of files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from dsetkit import Predictor
from dsetkit.errors import AssetError, DsetkitError, NetworkError
from dsetkit.networks.network import NetworkFacts
from dsetkit.predicting import predictor as predicting
from dsetkit.predicting.predictor import shown_size
from dsetkit.upsampling import enlarge_along_edges
from tests.helpers.networks import checkpoint

BOTH = ("composite", "background")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "mask": checkpoint(folder / "mask.safetensors"),
        "pair": checkpoint(folder / "pair.safetensors", inputs=BOTH),
        "depth": checkpoint(folder / "depth.safetensors", "depth_lite"),
        "relative": checkpoint(folder / "relative.safetensors", "depth_lite", kind="relative"),
        "joint": checkpoint(folder / "joint.safetensors", "lite_dual", inputs=BOTH),
    }


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@pytest.mark.parametrize(
    ("names", "maps", "inputs"),
    [
        (("mask",), ("mask",), ("composite",)),
        (("pair",), ("mask",), BOTH),
        (("depth",), ("depth",), ("composite",)),
        (("pair", "depth"), ("mask", "depth"), BOTH),
        (("relative", "mask"), ("mask", "depth"), ("composite",)),
        (("joint",), ("mask", "depth"), BOTH),
    ],
)
def test_maps_have_the_pictures_size_and_their_units(
    files: dict, names: tuple, maps: tuple, inputs: tuple
) -> None:
    predictor = Predictor(*(files[name] for name in names), device="cpu")
    assert (predictor.maps, predictor.inputs) == (maps, inputs)
    composite, background = pictures((70, 110), (70, 110))
    prediction = predictor(composite, background)
    assert (prediction.mask is not None, prediction.depth is not None) == (
        "mask" in maps,
        "depth" in maps,
    )
    for name in maps:
        answer = getattr(prediction, name)
        assert answer.shape == (70, 110) and answer.dtype == np.float32
        assert np.isfinite(answer).all() and answer.min() >= 0
    most = {"metric": 10.0, "relative": 1.0, None: 0.0}[predictor.depth_kind]
    assert prediction.depth is None or 0 < prediction.depth.max() <= most


def test_batches_of_any_size_give_the_same(files: dict) -> None:
    composites = pictures((64, 64), (64, 64), (64, 64), (80, 50), (64, 64), (50, 80))
    expected = None
    for batch_size in (1, 2, 8):
        predictor = Predictor(files["mask"], files["depth"], device="cpu", batch_size=batch_size)
        found = list(predictor.predict((one, None) for one in composites))
        assert [one.mask.shape for one in found] == [c.shape[:2] for c in composites]
        expected = expected or found
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(one.mask, other.mask, atol=1e-4)
            np.testing.assert_allclose(one.depth, other.depth, atol=1e-3)


def test_large_pictures_are_predicted_few_at_a_time(
    files: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "MAX_BATCH_PIXELS", 2 * 64 * 64)
    read = []

    def pairs():
        for number, picture in enumerate(pictures(*[(64, 64)] * 6)):
            read.append(number)
            yield picture, None

    predictor = Predictor(files["mask"], device="cpu", batch_size=100)
    for done, _ in enumerate(predictor.predict(pairs())):
        assert len(read) <= done + 2


def test_a_prediction_is_the_networks_answer_brought_to_the_picture(files: dict) -> None:
    (composite,) = pictures((96, 64))
    network = predicting.open_network(files["mask"], device="cpu")
    answer = network({"composite": composite[None]})["mask"][0]
    found = Predictor(files["mask"], device="cpu", size=(96, 64))(composite).mask
    expected = enlarge_along_edges(
        answer, composite, composite, smoothness=predicting.SMOOTHNESS["mask"]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


FACTS = {
    "name": "n",
    "inputs": ("composite",),
    "maps": ("mask",),
    "stride": 32,
    "depth_kind": None,
    "max_depth_m": 0.0,
}


@pytest.mark.parametrize(
    ("picture", "trained", "expected"),
    [
        ((1000, 1000), (128, 128), (128, 128)),
        ((900, 1600), (128, 128), (128, 224)),
        ((1600, 900), (128, 128), (224, 128)),
        ((480, 640), (192, 256), (192, 256)),
        ((20, 20), (64, 64), (64, 64)),
        ((8, 100_000), (64, 64), (32, 512)),
    ],
)
def test_objects_appear_as_large_as_in_training(
    picture: tuple, trained: tuple, expected: tuple
) -> None:
    free = NetworkFacts(**FACTS, size=trained, takes_any_size=True)
    assert shown_size(picture, free) == expected
    fixed = NetworkFacts(**FACTS, size=trained, takes_any_size=False)
    assert shown_size(picture, fixed) == trained


def test_an_asked_for_size_is_what_the_network_sees(files: dict) -> None:
    predictor = Predictor(files["depth"], device="cpu", size=(96, 32))
    seen: list[tuple] = []
    network = predictor._networks[0]

    class Watched:
        facts = network.facts

        def __call__(self, shown: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            seen.append(shown["composite"].shape)
            return network(shown)

    predictor._networks[0] = Watched()
    predictor(pictures((50, 50))[0])
    assert seen == [(1, 96, 32, 3)]


@pytest.mark.parametrize(
    ("names", "options", "complaint"),
    [
        ((), {}, "no network"),
        (("mask", "pair"), {}, "both give a mask: leave one out"),
        (("mask", "joint"), {}, "both give a mask"),
        (("depth", "relative"), {}, "both give a depth"),
        (("mask",), {"size": (50, 64)}, "size 50x64: expected multiples of 32"),
        (("mask",), {"size": (0, 64)}, "size 0: expected a whole number"),
        (("mask",), {"batch_size": 0}, "batch_size 0: expected a whole number"),
        (("mask",), {"size": (8192, 8192), "batch_size": 10**6}, "of memory"),
        (("mask",), {"size": 64}, "size 64: expected .height, width"),
        (("mask",), {"threads": 10**6}, "threads 1000000: expected a whole number"),
        (("mask",), {"device": "xyz"}, "expected auto, cpu, cuda"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(
    files: dict, names: tuple, options: dict, complaint: str
) -> None:
    with pytest.raises(DsetkitError, match=complaint) as error:
        Predictor(*(files[name] for name in names), **{"device": "cpu"} | options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("composite", "background", "complaint"),
    [
        (np.zeros((64, 64, 3), np.uint8), None, "sees the background, too"),
        (np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8), "expected uint8"),
        ("a.png", np.zeros((64, 64, 3), np.uint8), "composite str: expected an array"),
        (np.zeros((64, 64, 3), np.uint8), [[0]], "background list: expected an array"),
        (np.zeros((0, 64, 3), np.uint8), np.zeros((0, 64, 3), np.uint8), "expected uint8"),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.uint8), "expected uint8"),
        (np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 4), np.uint8), "background uint8"),
        (np.zeros((64, 96, 3), np.uint8), np.zeros((96, 64, 3), np.uint8), "the same view"),
    ],
)
def test_pictures_that_do_not_fit_are_one_clear_line(
    files: dict, composite: np.ndarray, background: np.ndarray | None, complaint: str
) -> None:
    with pytest.raises(AssetError, match=complaint):
        Predictor(files["pair"], device="cpu")(composite, background)


def test_a_background_of_another_size_and_the_same_view_is_taken(files: dict) -> None:
    composite, background = pictures((90, 120), (45, 60))
    predictor = Predictor(files["pair"], device="cpu")
    assert predictor(composite, background).mask.shape == (90, 120)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_a_user_error(
    files: dict, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(files["mask"], device="cpu")
    (network,) = predictor._networks
    monkeypatch.setattr(
        type(network), "__call__", lambda *_: {"mask": np.full((1, 8, 8), wrong, np.float32)}
    )
    with pytest.raises(NetworkError, match="mask with values that are no numbers"):
        predictor(*pictures((64, 64)))


def test_a_size_without_memory_for_it_is_refused_before_it_is_taken(
    files: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(files["mask"], device="cpu")
    monkeypatch.setattr("dsetkit.memory.available_memory", lambda: 2**20)
    with pytest.raises(NetworkError, match="of memory"):
        predictor(*pictures((64, 64)))


def test_a_network_that_cannot_be_run_is_a_user_error(files: dict) -> None:
    predictor = Predictor(files["mask"], device="cpu")
    network = predictor._networks[0]
    with pytest.raises((NetworkError, ValueError, KeyError)):
        network({})
