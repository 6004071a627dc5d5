"""The networks that come with dsetkit, for a first look before any training.

`bundled:mask` is `mask_slim_pair`, of composite and background; its card is BUNDLED_MASK.md.
`bundled:depth` is the bundled teacher, metric depth of rooms; its card is that of the teachers.
"""

from pathlib import Path

from dsetkit.errors import NetworkError

PREFIX = "bundled:"
MASK, DEPTH = f"{PREFIX}mask", f"{PREFIX}depth"
FILES = {
    MASK: Path(__file__).with_name("bundled_mask.onnx"),  # made by tools/bundle_mask.py
    DEPTH: Path(__file__).parents[1] / "teachers" / "bundled.onnx",
}


def network_file(network: str | Path) -> Path:
    """The file of a network that is named by a key of FILES, or by its path.

    Raises:
        NetworkError: It begins as those names do, but is none of them.
    """
    name = str(network)
    if not name.startswith(PREFIX):
        return Path(network)
    if name not in FILES:
        raise NetworkError(f"no network {name!r}: expected a file, {' or '.join(FILES)}")
    return FILES[name]


def bundled_networks(*, with_background: bool) -> list[str]:
    """The bundled networks that can see what there is.

    Args:
        with_background: Whether there are backgrounds, without which masks are not found.
    """
    return [MASK, DEPTH] if with_background else [DEPTH]
