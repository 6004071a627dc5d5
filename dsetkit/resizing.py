"""Pictures and depths at another size."""

import cv2
import numpy as np


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at (height, width): area filter when shrinking, linear when enlarging."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth at (height, width), float32; invalid pixels (0) take no part in the average.

    A pixel is valid when at least half of what it averages is.
    """
    if depth.shape == size:
        return depth
    if depth.min() > 0:
        return resize_image(depth, size)
    valid = (depth > 0).astype(np.float32)
    weight = resize_image(valid, size)
    total = resize_image(depth, size)
    return np.where(weight >= 0.5, total / np.maximum(weight, 1e-6), 0).astype(np.float32)
