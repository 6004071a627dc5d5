"""Licences of published depth models that forbid some uses: said before the run, and recorded.

A model's licence is that of its card: the `license:` in the front matter of the README.md in its
folder. Of a model loaded by its id no card comes along, so the ids known to be restricted stand
here (read on the cards in 2026).
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# id of the model, as far as it tells -> licence on its card
RESTRICTED_IDS = {
    r"depth-anything/Depth-Anything-V2-.*(Base|Large|Giant)": "cc-by-nc-4.0",
    r"depth-anything/DA3(-LARGE|-GIANT|NESTED)": "cc-by-nc-4.0",
    r"apple/DepthPro": "apple-amlr",
    r"lpiccinelli/unidepth": "cc-by-nc-4.0",
    r"Ultralytics/": "agpl-3.0",
}

MEANINGS = {
    r"-nc\b": "commercial use is not allowed",
    r"\bamlr\b": "research use only",
    r"\bagpl\b": "programs that use it, services over a network too, must be given out in source",
}


def licence_of(source: str) -> str:
    """The licence of a model as far as it can be told: `cc-by-nc-4.0`, say; empty if it cannot.

    Args:
        source: A folder, or a model's id.
    """
    card = Path(source) / "README.md"
    if card.is_file():
        front = re.match(r"---\s*\n(.*?)\n---", card.read_text(errors="replace"), re.DOTALL)
        found = front and re.search(r"^license(?:_name)?:\s*(\S+)", front[1], re.MULTILINE)
        named = front and re.search(r"^license_name:\s*(\S+)", front[1], re.MULTILINE)
        if found:
            return (named or found)[1].strip("\"'").lower()
    for pattern, licence in RESTRICTED_IDS.items():
        if re.match(pattern, source, re.IGNORECASE):
            return licence
    return ""


def licence_of_labels(entry: Mapping[str, Any]) -> str:
    """The licence of the weights that gave a dataset its depth, for people; empty without depth.

    Args:
        entry: The manifest's `teacher`.
    """
    name = str(entry.get("name", "none"))
    if name in ("none", "image files", "sensor"):
        return ""
    if name == "bundled":
        return "research use, as NYU Depth V2"
    told = str(entry.get("licence", ""))
    return told or "not recorded: see where the weights come from"


def warn_if_restricted(teacher: str, licence: str) -> None:
    """Logs a warning that names a licence which forbids some uses."""
    for pattern, meaning in MEANINGS.items():
        if re.search(pattern, licence.lower()):
            log.warning(
                "teacher %s is under %s: %s; this may hold for what is made with it",
                teacher,
                licence,
                meaning,
            )
