"""The same training with Lightning (pip install lightning).

python examples/train_lightning.py DATASET [EPOCHS]
"""

import lightning
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from train_plain import FIELDS, arguments, make_network, prepare

from dsetkit import SampleDataset, make_loader


class MaskModule(lightning.LightningModule):
    """A network, its loss and its score."""

    def __init__(self) -> None:
        super().__init__()
        self.net = make_network()

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        pictures, mask = prepare(batch)
        return binary_cross_entropy_with_logits(self.net(pictures), mask)

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        pictures, mask = prepare(batch)
        self.log("mse", (self.net(pictures).sigmoid() - mask).square().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    dataset, epochs = arguments(__doc__)
    train, val = (
        make_loader(
            SampleDataset(dataset, split, size=64, fields=FIELDS),
            batch_size=32,
            shuffle=split == "train",
        )
        for split in ("train", "val")
    )

    class NextEpoch(lightning.Callback):
        """Gives each epoch its order: it follows from (seed, epoch)."""

        def on_train_epoch_start(self, trainer: lightning.Trainer, *_: object) -> None:
            train.set_position(trainer.current_epoch + 1)

    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[NextEpoch()],
        logger=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,  # the order is the loader's own
    )
    trainer.fit(MaskModule(), train, val)
    print(f"RMSE {float(trainer.callback_metrics['mse']) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
