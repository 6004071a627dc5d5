"""Samples of a set whose files follow a system's naming rule; see `systems`."""

import re
from collections.abc import Iterator, Sized

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.plan import Plan, PlannedSample
from dsetkit.importing.sources import File, Files, natural
from dsetkit.importing.systems import LABELLED, NamingRule

Key = tuple[int, ...]  # the numbers in a name


def plan_by_names(files: Files, rule: NamingRule, *, per_background: int) -> Plan:
    """Groups files into samples by the numbers in their names.

    Args:
        files: Where to look.
        rule: The naming rule of the files.
        per_background: Samples of each background in a set of system 003.

    Raises:
        AssetError: All pictures of one field are missing.
    """
    named = NamedFiles(files, rule, per_background=per_background)
    bad = list(named.bad)
    samples = []
    for key in sorted(named.keys()):
        problem = named.problem(key)
        if problem:
            bad.append(BadFile(next(named.with_key(key)).path, problem))
        else:
            samples.append(named.sample(key))
    return Plan(samples, sorted(bad, key=lambda file: natural(file.name)))


class NamedFiles:
    """Files that follow a naming rule, found by the numbers in their names.

    Args:
        files: Where to look; folders that the rule does not name are ignored.
        rule: The naming rule.
        per_background: Samples of each background in a set of system 003.

    Attributes:
        bad: Files in the rule's folders that do not follow it, or repeat another file's numbers.

    Raises:
        AssetError: All pictures of one field are missing.
    """

    def __init__(self, files: Files, rule: NamingRule, *, per_background: int) -> None:
        self._rule, self._per_background = rule, per_background
        self._by_key: dict[str, dict[Key, File]] = {name: {} for name in LABELLED}
        self.bad: list[BadFile] = []
        backgrounds: list[File] = []
        for file in files.pictures:
            folder = file.folder_among(rule.folders)
            if folder is None:
                continue
            if rule.folders[folder] == "background":
                backgrounds.append(file)
            else:
                self._add(rule.folders[folder], file)
        for name in LABELLED:
            self._require(self._by_key[name], name, files)
        self._require(backgrounds, "background", files)
        backgrounds.sort(key=lambda file: natural(file.name))
        self._backgrounds = self._numbered(backgrounds)

    def keys(self) -> set[Key]:
        """The numbers of all composites, masks and depths."""
        return set().union(*self._by_key.values())

    def with_key(self, key: Key) -> Iterator[File]:
        """The composite, mask and depth of a sample, if they exist."""
        return (by_key[key] for by_key in self._by_key.values() if key in by_key)

    def problem(self, key: Key) -> str | None:
        """Why a sample cannot be imported; None if it can."""
        for name, by_key in self._by_key.items():
            if key not in by_key:
                folder = self._rule.folder_of(name)
                return f"it has no {name}: expected a file with the same numbers in {folder}"
        number = self._background_number(key)
        if number not in self._backgrounds:
            numbers = sorted(self._backgrounds)
            known = f"numbers {numbers[0]} to {numbers[-1]}" if numbers else "no numbers"
            return f"there is no background {number}: the backgrounds have {known}"
        return self._wrong_set(key)

    def sample(self, key: Key) -> PlannedSample:
        """A sample for which `problem` gives None."""
        background = self._backgrounds[self._background_number(key)]
        labelled = {name: by_key[key] for name, by_key in self._by_key.items()}
        numbers = self._numbers(key)
        flip = bool(numbers["flip"]) if "flip" in numbers else None
        if self._rule.flipped_from is not None:
            flip = numbers["n"] >= self._rule.flipped_from
        foreground = f"fg_{numbers['fg']}" if "fg" in numbers else None
        return PlannedSample(
            {"background": background} | labelled, foreground=foreground, flip=flip
        )

    def key_of(self, file: File) -> Key:
        """The numbers in a file's name.

        Raises:
            AssetError: The name does not follow the rule.
        """
        match = self._rule.stem.fullmatch(file.stem)
        if not match:
            raise AssetError(f"unexpected file name: expected {self._rule.stem_text}")
        return tuple(_number(text) for text in match.groups())

    def _add(self, name: str, file: File) -> None:
        try:
            key = self.key_of(file)
        except AssetError as error:
            self.bad.append(BadFile(file.path, str(error)))
            return
        first = self._by_key[name].setdefault(key, file)
        if first is not file:
            self.bad.append(BadFile(file.path, f"the same {name} as {first.path}: keep one"))

    def _require(self, found: Sized, name: str, files: Files) -> None:
        if not found:
            folder = self._rule.folder_of(name)
            raise AssetError(f"no {name} pictures in {files.roots}: expected a folder {folder}")

    def _numbered(self, backgrounds: list[File]) -> dict[int, File]:
        """Background number -> file, from a list sorted by name."""
        rule = self._rule
        if rule.background is None:
            return dict(enumerate(backgrounds, rule.first))
        matches = [rule.background.fullmatch(file.stem) for file in backgrounds]
        if not any(matches) and not rule.background_required:
            return dict(enumerate(backgrounds, rule.first))
        numbered: dict[int, File] = {}
        for file, match in zip(backgrounds, matches, strict=True):
            if not match:
                problem = f"unexpected file name: expected {rule.background_text}"
                self.bad.append(BadFile(file.path, problem))
                continue
            first = numbered.setdefault(int(match[1]), file)
            if first is not file:
                self.bad.append(
                    BadFile(file.path, f"the same background as {first.path}: keep one")
                )
        return numbered

    def _numbers(self, key: Key) -> dict[str, int]:
        return dict(zip(self._rule.stem.groupindex, key, strict=True))

    def _background_number(self, key: Key) -> int:
        numbers = self._numbers(key)
        if "bg" in numbers:
            return numbers["bg"]
        return (numbers["n"] - 1) // self._per_background % len(self._backgrounds) + 1

    def _wrong_set(self, key: Key) -> str | None:
        """Why a sample of system 003 cannot be in the set whose folder holds it.

        With a wrong number of backgrounds, or a wrong `per_background`, every sample would get a
        wrong background; samples in folders of other sets reveal it.
        """
        if "bg" in self._numbers(key):
            return None
        count, (n,) = len(self._backgrounds), key
        expected = (n - 1) // (self._per_background * count) + 1
        for folder in self._by_key["composite"][key].parts:
            match = re.fullmatch(r"data_([0-9]+)", folder.lower())
            if match and int(match[1]) != expected:
                return (
                    f"it is in {folder}, but with {count} backgrounds and --per-background "
                    f"{self._per_background} it belongs in data_{expected}: correct "
                    "--per-background, or complete the backgrounds"
                )
        return None


def _number(text: str | None) -> int:
    """A group of a name as a number; `flip` counts as 1, an absent group as 0."""
    return int(text) if text and text.isdecimal() else int(text is not None)
