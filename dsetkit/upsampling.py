"""Brings a small map to the size of its picture, along the edges of the picture.

The fast guided filter of He and Sun: in each window of the small picture the map is fitted as a
linear function of the three colours; the coefficients, which are smooth, are enlarged, and applied
to the large picture. So the map's edges come to lie at the picture's own.

Source: K. He, J. Sun, Fast Guided Filter, arXiv:1505.00996; the colour form is equation 19 of
K. He, J. Sun, X. Tang, Guided Image Filtering, IEEE TPAMI 35(6), 2013.
"""

import cv2
import numpy as np

RADIUS_PX = 2  # of the windows, in the small picture
ROWS_AT_ONCE = 256  # of the large picture: bounds the memory
COLUMNS_AT_ONCE = 2**14  # of the large picture: OpenCV remaps fewer than 2**15


def enlarge_along_edges(
    small_map: np.ndarray, small: np.ndarray, large: np.ndarray, *, smoothness: float
) -> np.ndarray:
    """Enlarges a map to the size of its picture.

    Args:
        small_map: float32 (h, w).
        small: The picture as the network saw it, uint8 (h', w', 3) RGB; the map is brought to this
            size first.
        large: The picture, uint8 (H, W, 3) RGB.
        smoothness: Variance of colours in 0..1 below which a window counts as flat, and the map
            becomes its mean there.

    Returns:
        float32 (H, W), within the range of `small_map`.
    """
    low, high = float(small_map.min()), float(small_map.max())
    size = small.shape[1::-1]
    values = cv2.resize(small_map, size, interpolation=cv2.INTER_LINEAR).astype(np.float64)
    slopes, offset = _fit(small / 255.0, values, smoothness)
    coefficients = np.dstack([slopes, offset]).astype(np.float32)  # (h', w', 4)
    height, width = large.shape[:2]
    result = np.empty((height, width), np.float32)
    scale_y, scale_x = coefficients.shape[0] / height, coefficients.shape[1] / width
    columns = ((np.arange(width) + 0.5) * scale_x - 0.5).astype(np.float32)
    for top in range(0, height, ROWS_AT_ONCE):
        bottom = min(top + ROWS_AT_ONCE, height)
        rows = ((np.arange(top, bottom) + 0.5) * scale_y - 0.5).astype(np.float32)
        for left in range(0, width, COLUMNS_AT_ONCE):
            here = np.s_[top:bottom, left : left + COLUMNS_AT_ONCE]
            grid_x, grid_y = np.broadcast_arrays(columns[here[1]], rows[:, None])
            near = cv2.remap(
                coefficients,
                np.ascontiguousarray(grid_x),
                np.ascontiguousarray(grid_y),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            colours = large[here].astype(np.float32) / 255
            result[here] = np.einsum("ijk,ijk->ij", near[..., :3], colours) + near[..., 3]
    return np.clip(result, low, high)


def _fit(
    picture: np.ndarray, values: np.ndarray, smoothness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fits values = slopes . colours + offset in the window of each pixel.

    Args:
        picture: float64 (h, w, 3) RGB in 0..1.
        values: float64 (h, w).
        smoothness: See `enlarge_along_edges`.

    Returns:
        Slopes (h, w, 3) and offset (h, w), each the mean over the windows that a pixel lies in.
    """
    mean_colour, mean_value = _window_means(picture), _window_means(values)
    products = picture[..., :, None] * picture[..., None, :]  # (h, w, 3, 3)
    outer = mean_colour[..., :, None] * mean_colour[..., None, :]
    covariance = _window_means(products.reshape(*values.shape, 9)).reshape(products.shape) - outer
    with_values = _window_means(picture * values[..., None]) - mean_colour * mean_value[..., None]
    slopes = np.linalg.solve(covariance + smoothness * np.eye(3), with_values[..., None])[..., 0]
    offset = mean_value - (slopes * mean_colour).sum(-1)
    return _window_means(slopes), _window_means(offset)


def _window_means(image: np.ndarray) -> np.ndarray:
    """Means over the window around each pixel: float64, (h, w) or (h, w, C) with any C."""
    side = 2 * RADIUS_PX + 1
    if image.ndim == 2 or image.shape[2] <= 4:
        return cv2.blur(image, (side, side), borderType=cv2.BORDER_REPLICATE)
    parts = [
        cv2.blur(image[..., i], (side, side), borderType=cv2.BORDER_REPLICATE)
        for i in range(image.shape[2])
    ]
    return np.stack(parts, axis=-1)
