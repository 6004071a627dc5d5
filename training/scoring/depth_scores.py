"""Depth predictions and the baselines beside them, scored on the same targets."""

from collections.abc import Mapping
from typing import Any

import torch

from dsetkit.errors import RunError
from training.data import Manifest
from training.scoring.alignment import check_comparable
from training.scoring.baselines import own_mean
from training.scoring.metrics import DepthMetrics
from training.scoring.protocols import Protocol, Scale
from training.scoring.published_scores import score_published
from training.scoring.report import DEPTH_ROWS, Layout

OWN_MEAN, MEAN_MAP = "own mean", "mean map"


class DepthScores:
    """Scores depth predictions by a protocol, beside one or two baselines.

    Args:
        name: who predicts, the name of its column.
        protocol: how predictions are compared with targets.
        mean_map: (1, 1, H, W) mean depth of a train split in 0..1, a baseline; None leaves it out.
        published: whether to keep all predictions for `published_scores`.
    """

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        *,
        mean_map: torch.Tensor | None = None,
        published: bool = False,
    ) -> None:
        self.name, self.protocol, self.mean_map = name, protocol, mean_map
        self.published = published
        options = protocol.options()
        names = (name, OWN_MEAN) if mean_map is None else (name, MEAN_MAP, OWN_MEAN)
        self.metrics = {who: DepthMetrics(**options) for who in names}
        self.metrics[name] = DepthMetrics(**options, prediction_kind=protocol.prediction_kind)
        self.target_sizes: set[tuple[int, int]] = set()
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Adds a batch.

        Args:
            prediction: (N, 1, h, w) float, as `DepthMetrics.update` takes it.
            target: (N, 1, H, W) float32 in 0..1, 0 = invalid.
        """
        self.target_sizes.add((target.shape[-2], target.shape[-1]))
        self.metrics[self.name].update(prediction, target)
        self.metrics[OWN_MEAN].update(own_mean(target), target)
        if self.mean_map is not None:
            mean_map = self.mean_map.to(target.device).expand(len(target), -1, -1, -1)
            self.metrics[MEAN_MAP].update(mean_map, target)
        if self.published:
            self._pairs.append((prediction.cpu(), target.cpu()))

    def compute(self, *, dataset: str, split: str) -> dict[str, dict[str, float]]:
        """The scores of the predictions and of each baseline, by name.

        Args:
            dataset: what was scored on, for the message.
            split: which split of it.

        Raises:
            RunError: no target has a valid pixel.
        """
        scores = {name: metric.compute() for name, metric in self.metrics.items()}
        if scores[self.name]["images"] == 0:
            raise RunError(f"{dataset}: no {split} sample has a valid depth pixel to score")
        return scores

    def compute_published(self) -> dict[str, float]:
        """The odd scores of reference systems; nothing unless `published`."""
        return score_published(self._pairs) if self._pairs else {}

    def describe(
        self, samples: int, *, inputs: str, native: bool, train_data: str | None = None
    ) -> dict[str, str]:
        """How the scores were computed, for people, by topic.

        Args:
            samples: samples of the split, those without a valid pixel too.
            inputs: what the predictions were made from.
            native: whether targets have the size at which they are stored.
            train_data: the dataset whose train split gives the mean map; None leaves it out.
        """
        images = self.metrics[self.name].compute()["images"]
        sizes = ", ".join(f"{height}x{width}" for height, width in sorted(self.target_sizes))
        resized = "as stored" if native else "resized"
        mean_map = (
            f"n/a: {train_data} has no train samples; give --train-data"
            if self.mean_map is None
            else f"mean depth at each pixel of the train split of {train_data}"
        )
        return {
            "images": f"{images} of {samples} (those with a valid pixel)",
            "input": inputs,
            "target": f"{sizes} px, {resized}; predictions are resized to it bilinearly",
            **self.protocol.lines(min(self.target_sizes)),
            **({} if train_data is None else {MEAN_MAP: mean_map}),
            OWN_MEAN: "each target's own mean depth: an oracle, it has seen the target",
        }

    def layout(self) -> Layout:
        """How the scores are laid out on the screen."""
        kind = self.protocol.depth_kind
        rows = DEPTH_ROWS[kind]
        return {
            "rows": rows,
            "columns": (self.name, MEAN_MAP),
            "cell_row": rows[1] if kind == "metric" else rows[0],
            "headline": self.protocol.headline(),
        }


def check_scales(
    network: Mapping[str, Any], dataset: Scale, *, align: str, is_shown: bool, where: str
) -> None:
    """Makes sure that a network's predictions can be compared with a dataset's depth.

    Args:
        network: "depth_kind" and "max_depth_m" [m] of the predictions.
        dataset: the same of the targets.
        align: a name in `protocols.ALIGNMENTS`.
        is_shown: whether predictions are used unaligned, by --grid or --published.
        where: the dataset, for messages.

    Raises:
        RunError: they differ in kind or in what a depth of 1 means.
    """
    kind, expected = network["depth_kind"], dataset["depth_kind"]
    check_comparable(kind, expected, how=align, where=where)
    if kind == "metric" and network["max_depth_m"] != dataset["max_depth_m"]:
        raise RunError(
            f"{where} has depth up to {dataset['max_depth_m']:g} m, the network up to "
            f"{network['max_depth_m']:g} m: score it on a dataset made with that largest depth"
        )
    if kind != expected and is_shown:
        raise RunError(
            f"the network predicts {kind} depth, --grid and --published expect {expected} depth as "
            f"in {where}: leave them out"
        )


def check_same_depth(dataset: str, found: Scale, *, expected: Scale) -> None:
    """Raises RunError unless the depth of --train-data means the same as that of --data."""
    if found != expected:
        raise RunError(
            f"{dataset} has {found['depth_kind']} depth up to {found['max_depth_m']:g} m: expected "
            f"{expected['depth_kind']} up to {expected['max_depth_m']:g} m as in --data; give "
            "another --train-data"
        )


def scale_of(manifest: Manifest) -> Scale:
    """What a dataset's depth means."""
    return {"max_depth_m": manifest.max_depth_m, "depth_kind": manifest.depth_kind}
