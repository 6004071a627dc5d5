"""Prove that our DenseDepth equals the same graph in Keras, and write the tests' golden tensors.

    # 1. in an environment of its own: pip install tensorflow tf-keras h5py
    python tools/prove_densedepth.py keras WORK_DIR [--golden tests/golden/densedepth_64x96.npz]
    # 2. in the project's environment; prints a table, exit status 1 if any file or size differs
    python tools/prove_densedepth.py torch WORK_DIR

Step 1 builds the graph in Keras 2 (tf-keras, the layout of the authors' nyu.h5) and Keras 3, with
the random weights of `tests/helpers/densedepth_weights.py`, and saves the models and what they
predict.
Step 2 loads every file through the teacher's loader and compares. Nothing else needs TensorFlow.
"""

import argparse
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dsetkit.arguments import Parser  # noqa: E402
from tests.helpers.densedepth_weights import draw, keras_shapes  # noqa: E402

SIZES = ((64, 96), (224, 224), (480, 640))  # height, width [px]
GOLDEN_SIZE = (64, 96)
TOLERANCE = 1e-3  # of the range of Keras's output


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("keras", "torch"))
    parser.add_argument("work_dir", type=Path, help="for .h5 files and answers, 0.5 GB")
    parser.add_argument("--golden", type=Path, help="also write this golden file (step keras)")
    arguments = parser.parse_args()
    if arguments.step == "keras":
        run_keras(arguments.work_dir, arguments.golden)
        return 0
    return run_torch(arguments.work_dir)


def draw_picture(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: smooth colours, as in photographs, with noise over them."""
    rng = np.random.default_rng((height, width))
    y = np.linspace(0, 2 * np.pi, height)[:, None, None]
    x = np.linspace(0, 2 * np.pi, width)[None, :, None]
    cycles_y, cycles_x, phase = rng.uniform(1, 4, (3, 3))  # of each colour
    waves = np.sin(cycles_y * y + cycles_x * x + phase)  # (H, W, 3)
    noise = rng.normal(0, 0.1, (height, width, 3))
    return ((waves * 0.4 + 0.5 + noise).clip(0, 1) * 255).astype(np.uint8)


# ---- step 1: Keras -----------------------------------------------------------------------------


def build_keras(keras: ModuleType) -> Any:
    """The graph of the released weights in the given Keras, with the drawn weights in it."""
    import tensorflow as tf

    class UpSampleCorners(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            size = tf.shape(x)[1:3] * 2
            return tf.compat.v1.image.resize_bilinear(x, size, align_corners=True)

    layers = keras.layers
    encoder = keras.applications.DenseNet169(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    outputs = {layer.name.replace("/", "_"): layer.output for layer in encoder.layers}
    width = encoder.output.shape[-1]
    x = layers.Conv2D(width, 1, padding="same", name="conv2")(encoder.output)
    for step, skip in enumerate(("pool3_pool", "pool2_pool", "pool1", "conv1_relu"), start=1):
        width //= 2
        x = UpSampleCorners(name=f"up{step}_upsampling2d")(x)
        x = layers.Concatenate(name=f"up{step}_concat")([x, outputs[skip]])
        x = layers.Conv2D(width, 3, padding="same", name=f"up{step}_convA")(x)
        x = layers.Conv2D(width, 3, padding="same", name=f"up{step}_convB")(x)
        x = layers.LeakyReLU(0.2)(x)
    output = layers.Conv2D(1, 3, padding="same", name="conv3")(x)
    model = keras.Model(encoder.input, output)
    set_weights(model)
    return model


def set_weights(model: Any) -> None:
    """Draw every weight; the names and shapes Keras has must be the ones the tests write down."""
    expected = keras_shapes()
    spelling = {layer.replace("/", "_"): layer for layer in expected}
    found = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        name = spelling[layer.name.replace("/", "_")]
        variables = [weight.name.rpartition("/")[2].removesuffix(":0") for weight in layer.weights]
        shapes = [tuple(weight.shape) for weight in layer.weights]
        found[name] = dict(zip(variables, shapes, strict=True))
        layer.set_weights([draw(name, v, s) for v, s in zip(variables, shapes, strict=True)])
    if found != expected:
        raise AssertionError("tests/helpers/densedepth_weights.py does not describe Keras's graph")


def run_keras(work_dir: Path, golden: Path | None) -> None:
    import keras
    import tensorflow as tf
    import tf_keras

    work_dir.mkdir(parents=True, exist_ok=True)
    print(f"TensorFlow {tf.__version__}, Keras {tf_keras.__version__} and {keras.__version__}")
    old, new = build_keras(tf_keras), build_keras(keras)
    old.save(work_dir / "keras2_model.h5")
    old.save_weights(work_dir / "keras2_weights_only.h5")
    new.save(work_dir / "keras3_model.h5")

    pictures = {size: draw_picture(*size) for size in SIZES}
    answers = {}
    for height, width in SIZES:
        rgb = pictures[height, width][None].astype(np.float32) / 255
        for version, model in (("keras2", old), ("keras3", new)):
            inverse_depth = np.asarray(model(rgb, training=False))[0, ..., 0]
            answers[f"{version}_{height}x{width}"] = inverse_depth
    np.savez(work_dir / "answers.npz", **answers)
    if golden:
        golden.parent.mkdir(parents=True, exist_ok=True)
        height, width = GOLDEN_SIZE
        answer = answers[f"keras2_{height}x{width}"]
        np.savez_compressed(golden, rgb=pictures[GOLDEN_SIZE], inverse_depth=answer)
        print(f"{golden}: {golden.stat().st_size} bytes, {answer.min():.2f} to {answer.max():.2f}")


# ---- step 2: torch -----------------------------------------------------------------------------


def run_torch(work_dir: Path) -> int:
    import torch

    from dsetkit.teachers.densedepth import load_network

    answers = np.load(work_dir / "answers.npz")
    worst = 0.0
    for path in sorted(work_dir.glob("keras*.h5")):
        network = load_network(path)
        for height, width in SIZES:
            rgb = torch.from_numpy(draw_picture(height, width)).permute(2, 0, 1)  # (3, H, W)
            with torch.inference_mode():
                ours = network(rgb[None].float() / 255)[0, 0].numpy()
            theirs = answers[f"{path.name.partition('_')[0]}_{height}x{width}"]
            delta = float(np.abs(ours - theirs).max() / np.ptp(theirs))
            worst = max(worst, delta)
            print(f"{path.name:24} {height:3}x{width:3}  {delta:.1e} of the output range")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
