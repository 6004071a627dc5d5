"""--amp auto: what decides is a clock that the tests own, and the trial leaves no trace."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

import train_mask
from dsetkit.errors import RunError
from models import create_model
from tests.helpers.trainings import train_small_mask
from tests.helpers.worlds import tiny_dataset
from training import fit, loop, precision
from training.checkpoint import save_state
from training.network import Forward, prepare_network
from training.optimizer import make_optimizer
from training.precision import Precision, choose, throw_away_step
from training.run_files import ARGUMENTS_FILE, BF16, FLOAT32, STATE_FILE, read_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LONG = precision.WORTH_STEPS


class Watch:
    """A clock on which a step takes as long as its precision is said to, and a step to time."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.now, self.tried = seconds, 0.0, list[str]()

    def trial(self) -> Callable[[str], None]:
        return self.step

    def step(self, name: str) -> None:
        # The first step in each precision is slow, as where kernels are made for it.
        self.now += self.seconds[name] + 100 * (name not in self.tried)
        self.tried.append(name)

    def choose(self, amp: str = "auto", device: torch.device = CPU, **changes: object) -> Precision:
        settings = {"recorded": None, "steps": LONG, "trial": self.trial}
        settings |= {"is_native": lambda: True, "clock": lambda: self.now}
        return choose(amp, device, **(settings | changes))  # type: ignore[arg-type]


def test_bf16_is_taken_where_it_is_clearly_faster() -> None:
    assert Watch(float32=1.3, bf16=1.0).choose().name == BF16
    assert Watch(float32=1.1, bf16=1.0).choose().name == FLOAT32
    assert Watch(float32=1.0, bf16=5.0).choose().name == FLOAT32


def test_the_choice_says_why() -> None:
    chosen = Watch(float32=3.0, bf16=2.0).choose()
    assert str(chosen) == "bf16 (a step in bf16 is 1.50 times as fast as in float32)"
    assert str(Watch().choose("none")) == "float32"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amp": "none"}, FLOAT32),
        ({"amp": "bf16"}, BF16),
        ({"device": CUDA}, BF16),
        ({"recorded": BF16}, BF16),
        ({"recorded": FLOAT32}, FLOAT32),
        ({"device": CUDA, "recorded": FLOAT32}, FLOAT32),
        ({"is_native": lambda: False}, FLOAT32),
        ({"steps": LONG - 1}, FLOAT32),
        ({"trial": None}, FLOAT32),
    ],
)
def test_nothing_is_timed_where_the_answer_is_known(changes: dict, expected: str) -> None:
    watch = Watch()
    assert watch.choose(**changes) == Precision(expected)
    assert not watch.tried


def test_this_machine_says_whether_it_has_bf16() -> None:
    assert precision.has_native_bf16() in (True, False)


def test_a_trial_changes_no_bit_of_the_training() -> None:
    torch.manual_seed(0)
    network = prepare_network(
        create_model("mask_lite"), CPU, channels_last=True, compile_it=False, ema=0, sync_bn=False
    )
    before = {name: x.clone() for name, x in network.trained.state_dict().items()}
    generator = torch.get_rng_state()
    heard = list[str]()

    def loss_of(forward: Forward, batch: loop.Batch) -> torch.Tensor:
        output = forward(batch["composite"])
        heard.append(str(output.dtype))
        assert forward.module is not network.trained
        return torch.nn.functional.dropout(output.float(), 0.5).square().mean()

    step = throw_away_step(
        network,
        {"composite": torch.rand(4, 3, 32, 32)},
        CPU,
        make_optimizer=partial(
            make_optimizer, name="adamw", lr=0.1, weight_decay=0.1, momentum=0.9
        ),
        loss_of=loss_of,
        clip=loop.make_clip(norm=1.0, value=None),
        parts=2,
    )
    drawn = torch.get_rng_state()  # the batch of this test
    step(BF16)
    step(FLOAT32)
    after = network.trained.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.grad is None for p in network.trained.parameters())
    assert torch.equal(torch.get_rng_state(), drawn) and not torch.equal(drawn, generator)
    assert len(heard) == 4


class CutError(BaseException):
    """The power fails."""


# ---- whole trainings ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


def train(dataset: Path, run: Path, *words: str) -> None:
    train_small_mask(dataset, run, "--epochs", "1", "--log-to", "none", *words)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Watch]:
    """Makes the next trainings find one of the precisions faster, after real steps in both."""

    def decide(name: str) -> Watch:
        watch = Watch(float32=1, bf16=1)
        watch.seconds[name] = 0.5

        def watched(trial: Callable[[], Callable[[str], object]] | None, **settings) -> Precision:
            def prepared() -> Callable[[str], None]:
                assert trial is not None
                step = trial()
                return lambda name: (step(name), watch.step(name))[1]

            given = settings | {"steps": LONG, "is_native": lambda: True}
            given["trial"] = trial and prepared
            return choose(**given, clock=lambda: watch.now)

        monkeypatch.setattr(
            precision, "choose", lambda amp, device, **rest: watched(amp=amp, device=device, **rest)
        )
        return watch

    return decide


def test_a_training_that_tried_equals_one_that_did_not(
    dataset: Path, tmp_path: Path, decide: Callable[[str], Watch]
) -> None:
    watch = decide(FLOAT32)
    train(dataset, tmp_path / "tried")
    assert set(watch.tried) == {FLOAT32, BF16}
    train(dataset, tmp_path / "plain", "--amp", "none")
    tried, plain = ((tmp_path / name / STATE_FILE).read_bytes() for name in ("tried", "plain"))
    assert tried == plain


def test_a_resumed_run_keeps_its_precision_and_does_not_try(
    dataset: Path, tmp_path: Path, decide: Callable[[str], Watch]
) -> None:
    decide(BF16)
    train(dataset, tmp_path / "whole", "--epochs", "2")
    train(dataset, tmp_path / "forced", "--epochs", "2", "--amp", "bf16")
    whole = (tmp_path / "whole" / STATE_FILE).read_bytes()
    assert whole == (tmp_path / "forced" / STATE_FILE).read_bytes()
    assert read_precision(tmp_path / "whole", "cpu") == BF16

    cut, saves = tmp_path / "cut", list[Path]()

    def save_twice(path: Path, *state: object) -> None:
        saves.append(path)
        if len(saves) > 2:  # before the first step, and after it
            raise CutError
        save_state(path, *state)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutError):
        patch.setattr(fit, "save_state", save_twice)
        train(dataset, cut, "--epochs", "2", "--checkpoint-every", "0")
    watch = decide(FLOAT32)  # what the machine would find now
    train_mask.main(["--output", str(cut), "--resume"])
    assert not watch.tried and (cut / STATE_FILE).read_bytes() == whole


@pytest.mark.parametrize("content", [3, {"cpu": "fp4"}, {"cpu": ["bf16"]}])
def test_a_foreign_precision_is_one_error(tmp_path: Path, content: object) -> None:
    args = {"script": "s", "dataset_fingerprint": "f", "arguments": {}, "precision": content}
    (tmp_path / ARGUMENTS_FILE).write_text(json.dumps(args))
    with pytest.raises(RunError, match=r"precision.*start a new"):
        read_precision(tmp_path, "cpu")


def test_a_run_of_before_has_no_precision(tmp_path: Path) -> None:
    args = {"script": "s", "dataset_fingerprint": "f", "arguments": {}}
    (tmp_path / ARGUMENTS_FILE).write_text(json.dumps(args))
    assert read_precision(tmp_path, "cpu") is None
