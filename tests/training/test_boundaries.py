"""Boundary F on drawn shapes whose outlines can be counted."""

import cv2
import numpy as np
import pytest
import torch

from training.scoring.boundaries import boundary
from training.scoring.metrics import MaskMetrics

SIZE = 64


def canvas(draw=lambda picture: None) -> torch.Tensor:
    """(1, 1, 64, 64) float mask of what `draw` draws."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    draw(picture)
    return torch.from_numpy(picture)[None, None].float()


def disc(radius: int, *, right: int = 0) -> torch.Tensor:
    return canvas(lambda picture: cv2.circle(picture, (30 + right, 32), radius, 1, -1))


def left_part(columns: int) -> torch.Tensor:
    """The first columns: the boundary is the last of them, 64 pixels."""
    return canvas(lambda picture: picture[:, :columns].fill(1))


def f_of(prediction: torch.Tensor, target: torch.Tensor, **settings) -> float:
    metrics = MaskMetrics(**settings)
    metrics.update(prediction, target)
    return metrics.compute()["boundary_f_per_image"]


def test_the_boundary_is_one_pixel_wide_and_none_at_the_picture_border():
    edge = boundary(left_part(8) > 0)
    assert edge.sum() == SIZE and edge[..., 7].all()
    assert not boundary(torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)).any()


def test_the_boundary_of_a_rectangle_is_its_outline():
    box = canvas(lambda picture: cv2.rectangle(picture, (10, 20), (29, 49), 1, -1))
    outline = canvas(lambda picture: cv2.rectangle(picture, (10, 20), (29, 49), 1, 1))
    assert torch.equal(boundary(box > 0), outline > 0)


@pytest.mark.parametrize("columns, expected", [(8, 1), (10, 1), (6, 1), (11, 0), (5, 0)])
def test_boundaries_match_within_two_pixels(columns: int, expected: float):
    assert f_of(left_part(columns), left_part(8)) == expected


@pytest.mark.parametrize("within_px", [0, 1, 4])
def test_the_tolerance_is_that_asked_for(within_px: int):
    moved = left_part(8 + within_px), left_part(9 + within_px)
    assert [f_of(mask, left_part(8), boundary_px=within_px) for mask in moved] == [1, 0]


def test_a_disc_moved_within_the_tolerance_matches_and_a_smaller_one_does_not():
    assert f_of(disc(15, right=2), disc(15)) == 1
    assert f_of(disc(10), disc(15)) == 0
    assert 0 < f_of(disc(15, right=5), disc(15)) < 1  # top and bottom still lie near


def test_a_lost_thin_part_costs_more_than_iou_says():
    body = disc(15)
    legs = body.clone()
    legs[..., 40:62, 24] = legs[..., 40:62, 36] = 1
    iou = body.sum() / legs.sum()
    assert iou > 0.94 and f_of(body, legs) < iou - 0.03


def test_precision_and_recall_are_joined():
    prediction = left_part(8)
    prediction[..., 12:] = 1
    # edges in columns 7 and 12, the target's in 7: precision 1/2, recall 1, F = 2/3
    assert f_of(prediction, left_part(8)) == pytest.approx(2 / 3)


def test_two_empty_masks_match_and_one_does_not():
    assert f_of(canvas(), canvas()) == 1
    assert f_of(left_part(8), canvas()) == f_of(canvas(), left_part(8)) == 0
