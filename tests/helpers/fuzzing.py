"""Damaged inputs, the same in every run: mutated bytes, and mutated JSON values."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

BYTES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\n", b'"', b"\xff" * 8, b"\x00" * 64, b"[" * 64)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, -(2**63), 10**400, 1.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "nosuch", "\0", "\ud800", "é" * 50, "-1", "--output"),
    *("../../x", "9" * 400, "metric", "x" * 10_000, [], {}, [[]], [0], ["x"], [1, 2, 3], {"x": 1}),
    [[[[[[[[[[]]]]]]]]]],
)


def damaged_values(sample: Any, count: int, *, seed: int = 0) -> Iterator[Any]:
    """A JSON value with one to three entries replaced, removed, or added.

    Args:
        sample: A sound value: an object.
        count: How many to make.
        seed: Key of all choices.
    """
    rng = random.Random(seed)
    for _ in range(count):
        value = copy.deepcopy(sample)
        for _ in range(rng.randint(1, 3)):
            places = list(_places(value))
            if not places:
                break
            holder, key = rng.choice(places)
            chosen = copy.deepcopy(rng.choice(VALUES))
            match rng.randrange(8):
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, dict):
                    holder[str(chosen)[:20]] = chosen
                case 2 if isinstance(holder, list):
                    holder.insert(key, chosen)
                case _:
                    holder[key] = chosen
        yield value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key or index) of every entry of a JSON value, inner ones too."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def as_json(value: Any) -> bytes:
    """JSON text of a value, lone surrogates as escapes."""
    return json.dumps(value).encode()
