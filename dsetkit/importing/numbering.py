"""Which background belongs to a composite, by the numbers in their names; see `systems`."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dsetkit.errors import AssetError, printable
from dsetkit.importing.settings import FileNaming
from dsetkit.importing.sources import natural
from dsetkit.importing.systems import SYSTEMS, NamingRule

Key = tuple[int, ...]  # the numbers in a name


class BackgroundNumbers:
    """The backgrounds of a set, by their numbers.

    Args:
        rule: The naming rule.
        paths: The backgrounds, as messages show them, sorted by the numbers in their names.
        per_background: Samples of each background in a set of system 003.

    Attributes:
        bad: Place and reason for each background that does not follow the rule, or repeats the
            number of the one at another place.
    """

    def __init__(self, rule: NamingRule, paths: Sequence[str], *, per_background: int) -> None:
        self._rule, self._per_background = rule, per_background
        self.bad: list[tuple[int, str]] = []
        self._places = self._numbered(paths)

    def place_of(self, key: Key) -> int:
        """Place in the list of the background of a composite for which `problem` gives None."""
        return self._places[self._number(key)]

    def problem(self, key: Key, folders: Sequence[str]) -> str | None:
        """Why a composite has no background; None if it has one.

        Args:
            key: The numbers in the composite's name.
            folders: The folders that it lies in.
        """
        number = self._number(key)
        if number not in self._places:
            numbers = sorted(self._places)
            known = f"numbers {numbers[0]} to {numbers[-1]}" if numbers else "no numbers"
            return f"there is no background {number}: the backgrounds have {known}"
        return self._wrong_set(key, folders)

    def _numbered(self, paths: Sequence[str]) -> dict[int, int]:
        """Background number -> place in the list."""
        rule = self._rule
        in_order = dict(enumerate(range(len(paths)), rule.first))
        if rule.background is None:
            return in_order
        stems = [PurePosixPath(path).stem for path in paths]
        matches = [rule.background.fullmatch(stem) for stem in stems]
        if not any(matches) and not rule.background_required:
            return in_order
        numbered: dict[int, int] = {}
        for place, match in enumerate(matches):
            if not match:
                self.bad.append((place, f"unexpected file name: expected {rule.background_text}"))
                continue
            first = numbered.setdefault(int(match[1]), place)
            if first != place:
                self.bad.append((place, f"the same background as {paths[first]}: keep one"))
        return numbered

    def _number(self, key: Key) -> int:
        numbers = numbers_by_name(self._rule, key)
        if "bg" in numbers:
            return numbers["bg"]
        return (numbers["n"] - 1) // self._per_background % max(1, len(self._places)) + 1

    def _wrong_set(self, key: Key, folders: Sequence[str]) -> str | None:
        """Why a sample of system 003 cannot be in the set whose folder holds it.

        With a wrong number of backgrounds, or a wrong `per_background`, every sample would get a
        wrong background; samples in folders of other sets reveal it.
        """
        if "bg" in numbers_by_name(self._rule, key):
            return None
        count, (n,) = len(self._places), key
        expected = (n - 1) // (self._per_background * count) + 1
        for folder in folders:
            match = re.fullmatch(r"data_([0-9]+)", folder.lower())
            if match and int(match[1]) != expected:
                return (
                    f"it is in {folder}, but with {count} backgrounds and --per-background "
                    f"{self._per_background} it belongs in data_{expected}: correct "
                    "--per-background, or complete the backgrounds"
                )
        return None


def key_of(rule: NamingRule, stem: str) -> Key:
    """The numbers in the name of a composite, mask or depth.

    Raises:
        AssetError: The name does not follow the rule; the message is the reason alone.
    """
    match = rule.stem.fullmatch(stem)
    if not match:
        raise AssetError(f"unexpected file name: expected {rule.stem_text}")
    return tuple(_as_number(text) for text in match.groups())


def numbers_by_name(rule: NamingRule, key: Key) -> dict[str, int]:
    """The numbers of a key by the names of the rule's groups."""
    return dict(zip(rule.stem.groupindex, key, strict=True))


def backgrounds_by_names(
    naming: FileNaming, composites: Sequence[Path], backgrounds: Sequence[Path]
) -> list[Path]:
    """The background of each composite of a system that tells it in its file names.

    Args:
        naming: The system.
        composites: Files of composites.
        backgrounds: Files of backgrounds, all of the set.

    Raises:
        AssetError: A file does not follow the naming rule, or a composite has no background.
    """
    rule = SYSTEMS[naming.system].naming
    if rule is None or naming.tables:
        raise AssetError(f"system {naming.system}: expected one whose file names tell backgrounds")
    backgrounds = sorted(backgrounds, key=lambda path: natural(path.name))
    paths = [printable(path) for path in backgrounds]
    numbers = BackgroundNumbers(rule, paths, per_background=naming.per_background)
    for place, problem in numbers.bad[:1]:
        raise AssetError(f"{paths[place]}: {problem}")
    found = []
    for path in composites:
        try:
            key = key_of(rule, path.stem)
            if reason := numbers.problem(key, path.parts):
                raise AssetError(reason)
        except AssetError as error:
            raise AssetError(f"{printable(path)}: {error}") from None
        found.append(backgrounds[numbers.place_of(key)])
    return found


def _as_number(text: str | None) -> int:
    """A group of a name as a number; `flip` counts as 1, an absent group as 0."""
    return int(text) if text and text.isdecimal() else int(text is not None)
