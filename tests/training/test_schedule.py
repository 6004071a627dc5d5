"""Optimizers and learning rates: values at known steps, and PyTorch's own where it has the same."""

import argparse
import math

import pytest
import torch
from torch import nn

from dsetkit.errors import RunError
from training.cli import add_training_arguments
from training.optimizer import OPTIMIZERS, make_optimizer
from training.schedule import SCHEDULES, Plateau, make_schedule


def shares(name: str, *, total: int, warmup: int = 0, every: int = 5, gamma: float = 0.1):
    """The schedule's value at each step of a run."""
    share = make_schedule(
        name, total_steps=total, warmup_steps=warmup, gamma_steps=every, gamma=gamma
    )
    return [share(step) for step in range(total)]


# ---- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 100])
def test_a_schedule_is_a_pure_function_above_0_and_up_to_1(name, total):
    values = shares(name, total=total)
    assert all(0 < value <= 1 for value in values)
    assert values == shares(name, total=total)


@pytest.mark.parametrize("total", [4, 10, 57, 1000])
def test_one_cycle_is_pytorchs(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, cycle_momentum=False
    )
    for step, ours in enumerate(shares("onecycle", total=total)):
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), step
        optimizer.step()
        if step + 1 < total:
            theirs.step()


def test_one_cycle_rises_over_the_first_three_tenths_and_ends_near_0():
    values = shares("onecycle", total=100)
    assert values[0] == pytest.approx(1 / 25)
    assert values[29] == 1
    assert values[:30] == sorted(values[:30])
    assert values[29:] == sorted(values[29:], reverse=True)
    assert 0 < values[-1] < 1e-5


def test_one_cycle_refuses_a_second_rise():
    with pytest.raises(RunError, match="--warmup-steps 5 with --sched onecycle"):
        shares("onecycle", total=10, warmup=5)


def test_a_warm_up_is_linear_and_the_schedule_follows():
    assert shares("plateau", total=6, warmup=3) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert shares("cosine", total=21, warmup=1)[11] == pytest.approx(0.505)


def test_the_step_schedule_counts_epochs_not_steps_and_its_default_leaves_time_to_learn():
    values = shares("step", total=20, every=5, gamma=0.1)
    assert values[4] == 1
    assert values[5::5] == pytest.approx([0.1, 0.01, 0.001])
    parser = argparse.ArgumentParser()
    add_training_arguments(parser)
    defaults = parser.parse_args([])
    # a gamma of 0.01 after every epoch would end the learning with the second
    assert (defaults.step_epochs, defaults.step_gamma) == (10, 0.1)


# ---- plateau -----------------------------------------------------------------------------------


def factors(scores: list[float], *, patience: int) -> list[float]:
    plateau = Plateau(patience=patience, gamma=0.5)
    found = []
    for score in scores:
        plateau.update(score)
        found.append(plateau.factor)
    return found


def test_plateau_leaves_a_falling_score_alone():
    # with the mode turned round, a loss that falls would count as one that has stopped improving
    assert factors([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], patience=0) == [1] * 6


def test_plateau_lowers_the_rate_when_the_score_stops_falling():
    assert factors([1.0, 1.0, 1.1, 0.9, 0.9], patience=0) == [1, 0.5, 0.25, 0.25, 0.125]
    assert factors([1.0, 1.0, 1.0, 1.0], patience=2) == [1, 1, 1, 0.5]
    assert factors([1.0, math.nan], patience=0) == [1, 0.5]


@pytest.mark.parametrize("given", [(), (None,)])
def test_plateau_needs_a_score(given):
    with pytest.raises(TypeError):
        Plateau(patience=0, gamma=0.5).update(*given)


# ---- optimizers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_descends_and_decays_no_bias_and_no_norm(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    optimizer = make_optimizer(net, name, lr=1e-2, weight_decay=0.1, momentum=0.9)
    decayed = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert all(decayed[id(p)] == (0.1 if p.ndim > 1 else 0) for p in net.parameters())
    picture, target = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 6, 6)
    losses = []
    for _ in range(12):
        loss = (net(picture) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[6:]) < losses[0]


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_the_momentum_is_the_one_asked_for(name):
    optimizer = make_optimizer(nn.Linear(2, 2), name, lr=0.1, weight_decay=0, momentum=0.95)
    assert all(group["momentum"] == 0.95 for group in optimizer.param_groups)
