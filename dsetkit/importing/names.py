"""Samples of a set whose files follow a system's naming rule; see `systems`."""

from collections.abc import Iterator, Sized

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.numbering import BackgroundNumbers, Key, key_of, numbers_by_name
from dsetkit.importing.plan import Plan, PlannedSample
from dsetkit.importing.sources import File, Files, natural
from dsetkit.importing.systems import LABELLED, NamingRule


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
        self._rule = rule
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
        paths = [file.path for file in backgrounds]
        self._numbers = BackgroundNumbers(rule, paths, per_background=per_background)
        self._backgrounds = backgrounds
        self.bad += [BadFile(backgrounds[place].path, why) for place, why in self._numbers.bad]

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
        return self._numbers.problem(key, self._by_key["composite"][key].parts)

    def sample(self, key: Key) -> PlannedSample:
        """A sample for which `problem` gives None."""
        background = self._backgrounds[self._numbers.place_of(key)]
        labelled = {name: by_key[key] for name, by_key in self._by_key.items()}
        numbers = numbers_by_name(self._rule, key)
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
        return key_of(self._rule, file.stem)

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
