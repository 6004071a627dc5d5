"""What the evaluation scripts share: predictions with mirrored pictures, and the result."""

import argparse
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import RunError
from dsetkit.files import write_json
from dsetkit.numbers import evenly_spread
from training.loop import Batch, prepare_batch
from training.preflight import check_batch_memory
from training.scoring.report import (
    ALL_IMAGES,
    BOTH_UNSEEN,
    Layout,
    Scores,
    cell_table,
    interval_line,
    protocol_table,
    published_table,
    score_table,
    show,
    stress_table,
    write_picture,
)

GRID_SAMPLES = 6
STRESS_COLUMNS = (("IoU", "iou"), ("boundary F", "boundary_f"))


def check_has_samples(samples: Sized, dataset: str, split: str) -> None:
    """Raises RunError when a split is empty."""
    if len(samples) == 0:
        raise RunError(f"{dataset} has no {split} samples: choose another --split")


def keep_some(samples: Any, at_most: int | None) -> None:
    """Keeps at most so many samples of a `SampleDataset`, spread over it; None keeps all."""
    if at_most is not None:
        samples.indices = samples.indices[evenly_spread(len(samples), at_most)]


def network_input(
    metadata: Mapping[str, Any], img_size: Sequence[int] | None, *, checkpoint: Path
) -> tuple[list[str], tuple[int, int]]:
    """What a network sees: names of its input fields, and their (height, width) [px].

    Args:
        metadata: of the weights file.
        img_size: height and width that the user asks for; None takes those of the training.
        checkpoint: the weights file, for the message.

    Raises:
        RunError: the metadata do not say what a training writes.
    """
    check_says(metadata, "inputs", "img_size", checkpoint=checkpoint)
    height, width = img_size or metadata["img_size"]
    return metadata["inputs"], (height, width)


def check_says(metadata: Mapping[str, Any], *names: str, checkpoint: Path) -> None:
    """Raises RunError when the metadata of a weights file lack an entry."""
    for name in names:
        if name not in metadata:
            raise RunError(
                f"{checkpoint} does not say its {name}: expected a weights file of a training, "
                "such as best.safetensors"
            )


@dataclass(frozen=True, kw_only=True)
class ScoredNetwork:
    """A trained network that an evaluation script scores.

    Attributes:
        metadata: of its weights file.
        inputs: names of the pictures that it sees.
        size: their height and width [px].
        answer: pictures (N, C, H, W) float32 in 0..1 -> map (N, 1, h, w) in 0..1.
        tta: of `predict`.
        device: where it is.
    """

    metadata: Mapping[str, Any]
    inputs: Sequence[str]
    size: tuple[int, int]
    answer: Callable[[torch.Tensor], torch.Tensor]
    tta: str
    device: torch.device

    def predict(self, batch: Batch) -> torch.Tensor:
        """(N, 1, h, w) for a batch of floats; see the function `predict`."""
        return predict(self.answer, batch, self.inputs, self.tta)

    @property
    def sees(self) -> str:
        """What it sees, for people."""
        return f"{' + '.join(self.inputs)} at {self.size[0]}x{self.size[1]} px"


def open_network(
    args: argparse.Namespace,
    *,
    task: str,
    load_model: Callable[..., tuple[Any, dict[str, Any]]],
    answer: Callable[[Any, torch.Tensor, str], torch.Tensor],
    says: Sequence[str] = (),
) -> ScoredNetwork:
    """Opens the network of an evaluation script.

    Args:
        args: of `flags.add_evaluation_arguments`.
        task: "mask" or "depth", the map that is scored.
        load_model: that of `models`.
        answer: that of `models`.
        says: what the metadata must say besides what the network sees.

    Raises:
        RunError: the metadata lack something, or a batch does not fit into memory.
        ModelError: as of `load_model`.
        DsetkitError: there is no such device.
    """
    device = prepare_device(pick_device(args.device))
    net, metadata = load_model(args.checkpoint, device=device, needs=task)
    inputs, size = network_input(metadata, args.img_size, checkpoint=args.checkpoint)
    check_says(metadata, *says, checkpoint=args.checkpoint)
    flags = f"--img-size {size[0]}x{size[1]} with --batch-size {args.batch_size}"
    check_batch_memory(size, device, samples=args.batch_size, channels=3 * len(inputs), flags=flags)
    return ScoredNetwork(
        metadata=metadata,
        inputs=inputs,
        size=size,
        answer=lambda pictures: answer(net, net(pictures), task),
        tta=args.tta,
        device=device,
    )


def predict(
    answer: Callable[[torch.Tensor], torch.Tensor],
    batch: Batch,
    inputs: Sequence[str],
    tta: str,
) -> torch.Tensor:
    """Predicts a map (N, 1, h, w) in 0..1.

    Args:
        answer: pictures (N, C, H, W) float32 in 0..1 -> map.
        batch: fields (N, 3, H, W), as `loop.prepare_batch` returns them.
        inputs: names of the fields that the network sees, in this order.
        tta: "flip" for the mean with the answer to the mirrored pictures, or "none".
    """
    pictures = torch.cat([batch[name] for name in inputs], dim=1)
    if tta == "flip":
        return (answer(pictures) + answer(pictures.flip(-1)).flip(-1)) / 2
    return answer(pictures)


def write_grid(
    path: Path,
    samples: Any,
    predict: Callable[[Batch], torch.Tensor],
    draw: Callable[[Batch, torch.Tensor], np.ndarray],
    *,
    device: torch.device,
) -> None:
    """Writes a picture of the predictions for samples from a dataset's first to its last.

    Args:
        path: the PNG file.
        samples: the dataset.
        predict: batch -> map (N, 1, h, w) in 0..1.
        draw: (batch as stored, map) -> prediction grid, uint8 RGB (H, W, 3).
        device: where the network is.
    """
    stored = default_collate([samples[i] for i in evenly_spread(len(samples), GRID_SAMPLES)])
    with torch.inference_mode():
        prediction = predict(prepare_batch(stored, device))
    write_picture(path, draw(stored, prediction))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a network and of baselines on a split, and how they were computed.

    Attributes:
        checkpoint: the weights file.
        metadata: what the weights file says of the network.
        dataset: what was scored on.
        split: which split of it.
        fingerprint: of the dataset.
        protocol: how the scores were computed, for people, by topic.
        scores: "model" and baselines -> scores.
        cells: the same in each cell of the seen/unseen table, see `report.cell_scores`.
        intervals: how far chance in the choice of images reaches, see `report.score_intervals`.
        published: what `score_published` gives, or nothing.
        stress: background -> scores by name, see `mask_scores`, or nothing.
        stress_cells: background -> the same in each cell, or nothing.
    """

    checkpoint: Path
    metadata: Mapping[str, Any]
    dataset: str
    split: str
    fingerprint: str
    protocol: Mapping[str, str]
    scores: Mapping[str, Scores]
    cells: Mapping[str, Mapping[str, Scores]]
    intervals: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]
    published: Mapping[str, float] = field(default_factory=dict)
    stress: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    stress_cells: Mapping[str, Mapping[str, Mapping[str, Scores]]] = field(default_factory=dict)

    def publish(self, layout: Layout, *, average: str, output: Path | None) -> None:
        """Prints all of it to stdout, and writes it as JSON.

        Args:
            layout: how the scores are laid out.
            average: "image" or "pixel", printed first.
            output: the JSON file; None writes none.

        Raises:
            DsetkitError: the file cannot be written.
        """
        show(f"{self.checkpoint} on {self.dataset}, {self.split} split")
        if layout["headline"]:
            show(layout["headline"])
        scores: dict[str, Scores | None] = {**dict.fromkeys(layout["columns"]), **self.scores}
        show(score_table(scores, layout["rows"], average=average))
        show(interval_line(self.intervals[ALL_IMAGES], layout, average=average))
        if self.cells:
            label, score = layout["cell_row"]
            show(cell_table(label, self.cells, score, average=average))
        if self.stress:
            show(stress_table(self.stress, STRESS_COLUMNS, average=average))
        unseen = {
            background: cells[BOTH_UNSEEN]
            for background, cells in self.stress_cells.items()
            if BOTH_UNSEEN in cells
        }
        if unseen:
            show(stress_table(unseen, STRESS_COLUMNS, average=average, of=BOTH_UNSEEN))
        show(protocol_table(self.protocol))
        if self.published:
            show(published_table(self.published))
        if output:
            self._write(output)

    def _write(self, path: Path) -> None:
        content = {
            "checkpoint": {"path": str(self.checkpoint), **self.metadata},
            "dataset": {"path": str(self.dataset), "split": self.split},
            "dataset_fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "scores": self.scores,
            "cells": self.cells,
            "intervals": self.intervals,
            "published": self.published,
            "stress": self.stress,
            "stress_cells": self.stress_cells,
        }
        write_json(path, content)
