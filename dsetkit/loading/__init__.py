"""Samples as tensors and batches to train on: SampleDataset, make_loader, caches."""
