"""A short training of a small mask network."""

from pathlib import Path

import train_mask


def train_small_mask(dataset: Path, run: Path, *words: str) -> None:
    """Trains on 16 samples of 32 px, in batches of 8; `words` are further flags."""
    train_mask.main([
        *("--data", str(dataset), "--output", str(run), "--arch", "mask_lite", "--device", "cpu"),
        *("--img-sizes", "32", "--limit-samples", "16", "--batch-size", "8", *words),
    ])  # fmt: skip
