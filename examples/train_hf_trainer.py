"""The same training with the Trainer of Hugging Face (pip install transformers accelerate).

python examples/train_hf_trainer.py DATASET [EPOCHS]
"""

import tempfile

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from train_plain import FIELDS, arguments, make_network, prepare
from transformers import Trainer, TrainingArguments

from dsetkit import SampleDataset


class MaskModel(nn.Module):
    """A network that answers with its loss and its logits, as the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.net = make_network()

    def forward(
        self, composite: torch.Tensor, background: torch.Tensor, mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        pictures, target = prepare({"composite": composite, "background": background, "mask": mask})
        logits = self.net(pictures)
        return {"loss": binary_cross_entropy_with_logits(logits, target), "logits": logits}


def main() -> None:
    dataset, epochs = arguments(__doc__)
    train, val = (
        SampleDataset(dataset, split, size=64, fields=FIELDS) for split in ("train", "val")
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=32,
            learning_rate=1e-3,
            eval_strategy="epoch",
            save_strategy="no",
            label_names=["mask"],
            report_to="none",
        )
        trainer = Trainer(MaskModel(), settings, train_dataset=train, eval_dataset=val)
        trainer.train()
        print(f"validation loss {trainer.evaluate()['eval_loss']:.4f}")


if __name__ == "__main__":
    main()
