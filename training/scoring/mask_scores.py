"""Masks of a network and of the baseline `difference`, scored on the same targets."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from training.loop import Batch
from training.scoring.baselines import difference
from training.scoring.metrics import MaskMetrics
from training.scoring.published_scores import score_published
from training.scoring.report import Scores, cell_scores
from training.scoring.stress import EXACT, stressed

BOUNDARY_PX = 2
MODEL, DIFFERENCE = "model", "difference"


class MaskScores:
    """Scores masks, with the backgrounds as they are and as `stress` changes them.

    Args:
        predict: batch of floats -> probability of foreground (N, 1, H, W).
        threshold: probability and soft target from which a pixel is foreground.
        backgrounds: keys of STRESSES, EXACT first.
        limits: threshold of the baseline for each of them; nothing leaves the baseline out.
        register: whether backgrounds are registered with their composites first.
        published: whether to keep all predictions for `published_scores`.
    """

    def __init__(
        self,
        predict: Callable[[Batch], torch.Tensor],
        *,
        threshold: float,
        backgrounds: Sequence[str] = (EXACT,),
        limits: Mapping[str, float],
        register: bool = False,
        published: bool = False,
    ) -> None:
        self._predict, self._limits, self._published = predict, limits, published
        self._register = register
        names = (MODEL, DIFFERENCE) if limits else (MODEL,)
        self._metrics = {
            background: {
                name: MaskMetrics(threshold=threshold, boundary_px=BOUNDARY_PX) for name in names
            }
            for background in backgrounds
        }
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, batch: Batch) -> None:
        """Adds a batch of float fields (N, C, H, W) in 0..1."""
        for background, metrics in self._metrics.items():
            changed = stressed(batch, background, register=self._register)
            mask = self._predict(changed)
            metrics[MODEL].update(mask, batch["mask"])
            if self._published and background == EXACT:
                self._pairs.append((mask.cpu(), batch["mask"].cpu()))
            if self._limits:
                differs = difference(changed["composite"], changed["background"])
                metrics[DIFFERENCE].update(differs > self._limits[background], batch["mask"])

    @property
    def metrics(self) -> dict[str, MaskMetrics]:
        """Of the network and of the baseline, with the backgrounds as they are."""
        return self._metrics[EXACT]

    def compute(self) -> dict[str, Scores]:
        """Scores of the network and of the baseline, with the backgrounds as they are."""
        return {name: metric.compute() for name, metric in self.metrics.items()}

    def compute_stress(self) -> dict[str, dict[str, Scores]]:
        """Background -> the same scores; nothing unless there are others than EXACT."""
        if len(self._metrics) == 1:
            return {}
        return {
            background: {name: metric.compute() for name, metric in metrics.items()}
            for background, metrics in self._metrics.items()
        }

    def compute_stress_cells(
        self, cells: np.ndarray, cell_names: Sequence[str]
    ) -> dict[str, dict[str, dict[str, Scores]]]:
        """Background -> the scores in each cell, as `cell_scores` gives them; as `compute_stress`.

        Args:
            cells: (N,) index into `cell_names` of each image, in the order of the updates.
            cell_names: the dataset's names.
        """
        if len(self._metrics) == 1:
            return {}
        return {
            background: cell_scores(metrics, cells, cell_names)
            for background, metrics in self._metrics.items()
        }

    def compute_published(self) -> dict[str, float]:
        """The odd scores of reference systems; nothing unless `published`."""
        return score_published(self._pairs) if self._pairs else {}
