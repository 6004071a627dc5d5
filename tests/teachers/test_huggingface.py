"""Teachers of transformers: tiny models of every family, as a direct call would use them."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from dsetkit.errors import TeacherError
from dsetkit.teachers import TeacherOptions, load_teacher
from dsetkit.teachers.guard import checked_depth

COMPOSITES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def dinov2(**changes: object) -> tf.Dinov2Config:
    sides = {"image_size": 28, "patch_size": 14, "hidden_size": 16, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 2, "out_indices": [1, 2, 3, 4]}
    reading = {"apply_layernorm": True, "reshape_hidden_states": False}
    return tf.Dinov2Config(**(sides | heads | reading | changes))


def depth_anything(**changes: object) -> tuple:
    config = tf.DepthAnythingConfig(
        backbone_config=dinov2(),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        **changes,
    )
    size = {"height": 56, "width": 56}
    processor = tf.DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14)
    return tf.DepthAnythingForDepthEstimation(config), processor


def depth_anything_metric() -> tuple:
    return depth_anything(depth_estimation_type="metric", max_depth=20)


def dpt() -> tuple:
    config = tf.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    processor = tf.DPTImageProcessor(size={"height": 32, "width": 32})
    return tf.DPTForDepthEstimation(config), processor


def glpn() -> tuple:
    config = tf.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
        max_depth=10,
    )
    return tf.GLPNForDepthEstimation(config), tf.GLPNImageProcessor()


def zoedepth() -> tuple:
    backbone = tf.BeitConfig(
        image_size=32,
        patch_size=16,
        num_hidden_layers=4,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_indices=[1, 2, 3, 4],
    )
    config = tf.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
    )
    size = {"height": 32, "width": 32}
    return tf.ZoeDepthForDepthEstimation(config), tf.ZoeDepthImageProcessor(size=size)


def depth_pro() -> tuple:
    encoder = dinov2(image_size=16, patch_size=4, num_hidden_layers=2, out_indices=[1, 2])
    encoder = encoder.to_dict()
    config = tf.DepthProConfig(
        patch_size=16,
        fusion_hidden_size=8,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[8, 8],
        merge_padding_value=1,
        use_fov_model=True,
        num_fov_head_layers=1,
        image_model_config=encoder,
        patch_model_config=encoder,
        fov_model_config=encoder,
    )
    processor = tf.DepthProImageProcessor(size={"height": 32, "width": 32})
    return tf.DepthProForDepthEstimation(config), processor


# what builds it -> kind and greatest depth [m] that it has, and what must be told
FAMILIES = {
    depth_anything: ("relative", 0.0, {}),
    depth_anything_metric: ("metric", 20.0, {}),
    dpt: ("relative", 0.0, {}),
    glpn: ("metric", 10.0, {}),
    zoedepth: ("metric", 10.0, {}),
    depth_pro: ("metric", 12.0, {"max_depth_m": 12.0}),
}
QUICK = glpn  # the others are slow


def families(*builds: Callable) -> pytest.MarkDecorator:
    """A test of each of them."""
    given = [
        pytest.param(build, marks=() if build is QUICK else pytest.mark.slow, id=build.__name__)
        for build in builds
    ]
    return pytest.mark.parametrize("build", given)


FAMILY = families(*FAMILIES)


class Folders(dict):
    """A folder for each family, as `save_pretrained` writes it; made when it is asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, build: Callable[[], tuple]) -> Path:
        torch.manual_seed(0)
        model, processor = build()
        for parameter in model.parameters():  # the tiny initial ones would give flat maps
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
        if build is depth_pro:  # inverse depths and fields of view as trained ones give
            torch.nn.init.constant_(model.head.layers[4].bias, 2.0)
            torch.nn.init.constant_(model.fov_model.head.layers[2].bias, 50.0)
        self[build] = self._root / build.__name__
        model.save_pretrained(self[build])
        processor.save_pretrained(self[build])
        return self[build]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return Folders(tmp_path_factory.mktemp("models"))


def load(folder: Path, **options: object) -> object:
    return load_teacher(f"hf:{folder}", device="cpu", options=TeacherOptions(**options))


@torch.inference_mode()
def called_directly(folder: Path, composites: np.ndarray) -> np.ndarray:
    """What the documentation of transformers tells to do."""
    processor = tf.AutoImageProcessor.from_pretrained(folder)
    model = tf.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    depths = []
    for one in composites:
        outputs = model(**processor(images=one, return_tensors="pt"))
        sizes = {"target_sizes": [one.shape[:2]]}
        if isinstance(model, tf.ZoeDepthForDepthEstimation):
            sizes["source_sizes"] = [one.shape[:2]]
        processed = processor.post_process_depth_estimation(outputs, **sizes)
        depths.append(processed[0]["predicted_depth"].numpy())
    return np.stack(depths)


@FAMILY
def test_answers_as_a_direct_call_does(build, folders: dict) -> None:
    kind, max_depth_m, told = FAMILIES[build]
    teacher = load(folders[build], **told)
    assert (teacher.kind, teacher.max_depth_m) == (kind, max_depth_m)
    for composites in (COMPOSITES, COMPOSITES[:, :40]):  # a picture that is no square, too
        depth = teacher(composites)
        assert depth.shape == composites.shape[:3] and depth.dtype == np.float32
        expected = called_directly(folders[build], composites)
        np.testing.assert_allclose(depth, expected, rtol=1e-3, atol=1e-4 * np.ptp(expected))
    checked_depth(teacher(COMPOSITES), 2, teacher="t", first=0, max_depth_m=max_depth_m)


@FAMILY
def test_in_bf16_it_answers_nearly_alike_in_float32(build, folders: dict) -> None:
    """On average within 2 % of the answers' span: 8 significant bits, random weights."""
    told = FAMILIES[build][2]
    fp32, bf16 = load(folders[build], **told), load(folders[build], **told, precision="bf16")
    expected, depth = fp32(COMPOSITES), bf16(COMPOSITES)
    assert depth.dtype == np.float32 and bf16.settings == {"precision": "bf16"}
    assert 0 < np.abs(depth - expected).mean() < 0.02 * np.ptp(expected)
    assert bf16.weights_hash == fp32.weights_hash


@FAMILY
def test_does_not_scale_each_image_anew(build, folders: dict) -> None:
    """A dark composite keeps its own answer beside a bright one."""
    teacher = load(folders[build], **FAMILIES[build][2])
    dark = COMPOSITES // 8
    together = teacher(np.stack([COMPOSITES[0], dark[1]]))
    np.testing.assert_allclose(together[1], teacher(dark[1:])[0], rtol=1e-3, atol=1e-4)


@FAMILY
def test_is_known_by_its_weights(build, folders: dict, tmp_path: Path) -> None:
    told = FAMILIES[build][2]
    teacher = load(folders[build], **told)
    assert teacher.weights_hash == load(folders[build], **told).weights_hash
    assert teacher.name == f"hf:{build.__name__}"


def test_other_weights_have_another_hash(folders: dict, tmp_path: Path) -> None:
    state = load_file(folders[glpn] / "model.safetensors")
    copy = copied(folders[glpn], tmp_path / "copy")
    save_file({key: 2 * value for key, value in state.items()}, copy / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    assert load(copy).weights_hash != load(folders[glpn]).weights_hash


@families(depth_anything_metric, dpt, glpn, zoedepth)
def test_size_changes_what_it_sees_but_not_the_answers_size(build, folders: dict) -> None:
    size = 28 if build is depth_anything_metric else 64
    larger = load(folders[build], size=size)
    answer = larger(COMPOSITES[:, :, :48])
    assert answer.shape == (2, 64, 48) and larger.settings["size"] == size


def test_flip_is_the_mean_over_the_mirror_image(folders: dict) -> None:
    plain, flipped = load(folders[glpn]), load(folders[glpn], flip=True)
    expected = (plain(COMPOSITES) + plain(COMPOSITES[:, :, ::-1])[..., ::-1]) / 2
    np.testing.assert_array_equal(flipped(COMPOSITES), expected)
    assert flipped.settings["flip"] is True


# ---- licences ----------------------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(
    ("front", "licence", "warned"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0", "commercial use is not allowed"),
        ("license: apple-amlr\npipeline_tag: x", "apple-amlr", "research use only"),
        ("license: other\nlicense_name: apple-amlr", "apple-amlr", "research use only"),
        ("license: agpl-3.0", "agpl-3.0", "given out in source"),
        ("license: apache-2.0", "apache-2.0", None),
    ],
)
def test_a_licence_that_forbids_some_uses_is_named(
    folders: dict,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    front: str,
    licence: str,
    warned: str | None,
) -> None:
    folder = copied(folders[glpn], tmp_path / "model")
    (folder / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: of the text\n")
    with caplog.at_level(logging.WARNING, "dsetkit"):
        teacher = load(folder)
    assert teacher.settings["licence"] == licence
    assert (warned or "") in caplog.text and bool(warned) == ("is under" in caplog.text)


@pytest.mark.parametrize(
    ("model", "licence"),
    [
        ("depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf", "cc-by-nc-4.0"),
        ("depth-anything/Depth-Anything-V2-Base-hf", "cc-by-nc-4.0"),
        ("depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", ""),
        ("apple/DepthPro-hf", "apple-amlr"),
        ("Intel/zoedepth-nyu", ""),
    ],
)
def test_restricted_models_are_known_by_their_id(model: str, licence: str) -> None:
    from dsetkit.teachers.licences import licence_of

    assert licence_of(model) == licence


# ---- refusals ----------------------------------------------------------------------------------


def refusal(folder: Path | str, **options: object) -> str:
    with pytest.raises(TeacherError) as error:
        load(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_transformers_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'dsetkit[teachers]'" in refusal("some/model")


def test_no_folder(tmp_path: Path) -> None:
    assert "no folder" in refusal(tmp_path / "nowhere")


def test_weights_that_would_be_unpickled_are_not_read(folders: dict, tmp_path: Path) -> None:
    folder = copied(folders[glpn], tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no .safetensors" in refusal(folder)


def test_damaged_weights(folders: dict, tmp_path: Path) -> None:
    folder = copied(folders[glpn], tmp_path / "cut")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "cannot be loaded" in refusal(folder)


def test_weights_of_another_task_are_not_filled_with_random_numbers(
    folders: dict, tmp_path: Path
) -> None:
    folder = copied(folders[glpn], tmp_path / "half")
    state = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in state.items() if "head" not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its weights have no head." in refusal(folder)


def test_a_model_for_something_else(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "expected a depth model" in refusal(tmp_path)


def test_code_that_comes_with_a_model_is_not_run(folders: dict, tmp_path: Path) -> None:
    folder = copied(folders[glpn], tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C",
               "AutoModelForDepthEstimation": "own.M"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "cannot be loaded" in refusal(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("build", "options", "complaint"),
    [
        (glpn, {"kind": "relative"}, "its config says metric, --teacher-kind relative"),
        (depth_anything, {"kind": "metric"}, "its config says relative"),
        (depth_anything, {"max_depth_m": 10.0}, "is relative: leave out --teacher-max-depth"),
        (depth_pro, {}, "names no greatest depth: give --teacher-max-depth M"),
        (dpt, {"kind": "metric"}, "give --teacher-max-depth"),
        (depth_anything, {"size": 50}, "--teacher-size 50, expected a multiple of 14"),
        (depth_pro, {"size": 32, "max_depth_m": 9.0}, "leave out --teacher-size"),
        (glpn, {"max_depth_m": 80.0}, "--teacher-max-depth 80.0: .*at most 65.535 "),
        (glpn, {"mean": (0.5, 0.5, 0.5)}, "teacher hf has no --teacher-mean: it takes"),
        (glpn, {"value_range": (0.0, 1.0)}, "--teacher-range is for relative depth"),
        (depth_anything, {"value_range": (1.0, 1.0)}, "expected LOW < HIGH"),
    ],
)
def test_what_does_not_fit_the_model_is_one_clear_line(
    build, options: dict, complaint: str, folders: dict
) -> None:
    import re

    assert re.search(complaint, refusal(folders[build], **options))


def test_a_hybrid_dpt_sees_every_picture_at_its_own_size(tmp_path: Path) -> None:
    convolutions = {"depths": [1, 1, 1], "hidden_sizes": [16, 32, 64], "embedding_size": 8}
    stages = {"num_groups": 4, "out_features": ["stage1", "stage2", "stage3"]}
    padding = {"global_padding": "same", "embedding_dynamic_padding": True}
    kind = {"model_type": "bit", "layer_type": "bottleneck"}
    _, processor = dpt()
    config = tf.DPTConfig(
        is_hybrid=True,
        backbone_config=convolutions | stages | padding | kind,
        backbone_featmap_shape=[1, 64, 2, 2],
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        backbone_out_indices=[0, 1, 2, 3],
        reassemble_factors=[1, 1, 1, 0.5],
        neck_hidden_sizes=[16, 32, 8, 8],
        fusion_hidden_size=8,
    )
    tf.DPTForDepthEstimation(config).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert load(tmp_path)(COMPOSITES).shape == (2, 64, 64)
    assert "at its own size: leave out --teacher-size" in refusal(tmp_path, size=64)


def test_dpt_may_be_metric_when_told_so(folders: dict) -> None:
    teacher = load(folders[dpt], kind="metric", max_depth_m=10.0)
    assert (teacher.kind, teacher.max_depth_m) == ("metric", 10.0)
