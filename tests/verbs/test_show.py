"""show: the text below a row of pictures, and the colours of objects."""

import numpy as np
import pytest

from dsetkit.colours import colour_instances
from dsetkit.verbs.show import _caption


@pytest.mark.parametrize(
    ("foreground", "flip", "expected"),
    [
        ("cat", "0", "train   ·   cat  on  room"),
        ("cat", "1", "train   ·   cat (mirrored)  on  room"),
        ("cat;dog", "1;0", "train   ·   cat (mirrored) + dog  on  room"),
    ],
)
def test_a_caption_says_which_cut_outs_are_mirrored(
    foreground: str, flip: str, expected: str
) -> None:
    row = {"index": 3, "cell": "train", "name": "", "background": "room"}
    assert _caption(row | {"foreground": foreground, "flip": flip}) == ("#3", expected)


def test_every_object_has_a_colour_of_its_own_and_the_background_none() -> None:
    colours = colour_instances(np.arange(33, dtype=np.uint8)[None])[0]
    assert (colours[0] == 0).all() and len(np.unique(colours, axis=0)) == 33
    apart = np.abs(np.diff(colours[1:].astype(int), axis=0)).sum(axis=1)
    assert apart.min() > 100
