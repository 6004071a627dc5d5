"""Leaves that the training and evaluation scripts share: plain functions of plain values."""
