"""Damaged copies of sound files, for tests that a decoder refuses them in its own words."""

import os
import random
from collections.abc import Iterator, Sequence

FUZZ_INPUTS = int(os.environ["FUZZ_INPUTS"])  # of each test; conftest.py sets it from --fuzz-inputs

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)


def mutations(
    sound: Sequence[bytes], *, count: int = FUZZ_INPUTS, seed: int = 0
) -> Iterator[bytes]:
    """Sound files with one to eight changes: bits, bytes, runs; cut, repeated or joined parts."""
    rng = random.Random(seed)
    for _ in range(count):
        content = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
            if content:
                _change(content, rng, sound)
        yield bytes(content)


def _change(content: bytearray, rng: random.Random, sound: Sequence[bytes]) -> None:
    # Headers decide on more than what follows them.
    at = rng.randrange(min(len(content), 64) if rng.random() < 0.5 else len(content))
    kind = rng.randrange(7)
    if kind == 0:
        content[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        content[at] = rng.choice(EXTREMES)
    elif kind == 2:
        content[at : at + 4] = bytes([rng.choice(EXTREMES)]) * 4
    elif kind == 3:
        content[at : at + 8] = rng.randbytes(8)
    elif kind == 4:
        del content[at : at + rng.choice((1, 4, 16, len(content)))]
    elif kind == 5:
        content[at:at] = content[at : at + rng.choice((1, 4, 16))]
    else:
        other = rng.choice(sound)
        content[at:] = other[rng.randrange(len(other)) :]
