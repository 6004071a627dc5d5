"""A training loop of your own, in plain PyTorch: masks from composites and backgrounds.

python examples/train_plain.py DATASET [EPOCHS]
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dsetkit import SampleDataset, make_loader

FIELDS = ("composite", "background", "mask")


def make_network() -> nn.Sequential:
    """Two pictures in, the logits of a mask out; put your own here."""
    return nn.Sequential(
        *(nn.Conv2d(6, 32, 5, padding=2), nn.ReLU()),
        *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU()),
        nn.Conv2d(32, 1, 5, padding=2),
    )


def arguments(description: str) -> tuple[str, int]:
    """The dataset and the number of epochs, from the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("dataset", metavar="DATASET", help="a dataset with masks")
    parser.add_argument("epochs", type=int, nargs="?", default=3, help="(default: 3)")
    given = parser.parse_args()
    return given.dataset, given.epochs


def main() -> None:
    dataset, epochs = arguments(__doc__)
    train = make_loader(SampleDataset(dataset, "train", size=64, fields=FIELDS), batch_size=32)
    val = make_loader(
        SampleDataset(dataset, "val", size=64, fields=FIELDS), batch_size=32, shuffle=False
    )
    net = make_network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for batch in train:  # another order in each epoch, the same in each run
            pictures, mask = prepare(batch)
            loss = binary_cross_entropy_with_logits(net(pictures), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            pairs = [prepare(batch) for batch in val]
            errors = [(net(pictures).sigmoid() - mask).square().mean() for pictures, mask in pairs]
        print(f"epoch {epoch + 1}: RMSE {torch.stack(errors).mean().sqrt():.4f}")


def prepare(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 fields -> pictures (N, 6, H, W) and masks (N, 1, H, W), float32 in 0..1."""
    pictures = torch.cat([batch["composite"], batch["background"]], dim=1).float() / 255
    return pictures, batch["mask"].float() / 255


if __name__ == "__main__":
    main()
