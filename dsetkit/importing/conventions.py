"""How the five reference systems name their files: which composite, mask, depth, background match.

| system | composite, mask, depth                    | background                                  |
|--------|-------------------------------------------|---------------------------------------------|
| 000    | as a table says                           | as a table says                             |
| 001    | fg_FFF_bg_BBB_NNNNNN                      | BBB-th of the sorted list, from 0           |
| 002    | bg_Bfg_F_K, bg_Bfg_F_flip_K               | bg_B; or the B-th of the sorted list        |
| 003    | fg-bgN, fg-bg-maskN, depthN, N over all   | 800 samples to each of the sorted list,     |
|        | sets data_S                               | from the start again in each set            |
| 004    | combined_sB_pF_itX                        | Shelves_B                                   |

Lists are sorted by the numbers in the names. `image_tables` reads the sets that a table describes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.sources import File, Files, natural

LABELLED = ("composite", "mask", "depth")
FIELDS = ("background", *LABELLED)
BACKGROUND_FOLDERS = {name: "background" for name in ("bg", "background", "backgrounds")}
PER_BACKGROUND = 800  # samples, in a set of system 003

Key = tuple[int, ...]  # the numbers in a name


@dataclass(frozen=True, slots=True)
class Planned:
    """A sample that is to be made.

    Attributes:
        files: Picture of each field.
        where: Line of the table that names it; empty without a table.
        path: The composite as the table spells it; empty where its file name says enough.
        foreground: What tells its foreground from others; None if unknown.
        flip: The foreground is mirrored; None if unknown.
        split: What the table says; None if it says nothing.
    """

    files: dict[str, File]
    where: str = ""
    foreground: str | None = None
    flip: bool | None = None
    split: str | None = None
    path: str = ""

    @property
    def name(self) -> str:
        """What tells the sample from the others of its set."""
        return self.path or self.files["composite"].name

    def place(self, name: str) -> str:
        """A field's file for messages, after the line of the table."""
        return ": ".join(part for part in (self.where, self.files[name].path) if part)


@dataclass(frozen=True)
class Plan:
    """The samples of a set in index order, and what in it cannot be used."""

    samples: list[Planned]
    bad: list[BadFile]
    tables: list[str] = field(default_factory=list)  # their names


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The naming rule of a system.

    Attributes:
        folders: Name of a folder (lower case) -> field of the pictures in it.
        stem: File name without suffix; every group is a number (`flip`: there or not).
        spelt: The same for people.
        background: File name of a background; None = only its place in the sorted list counts.
        background_needed: Such names are needed; else the list is taken where none is so.
        first: Number of the first background of the list.
        flipped_from: `n` from which on foregrounds are mirrored.
    """

    folders: Mapping[str, str]
    stem: re.Pattern
    spelt: str
    background: re.Pattern | None = None
    background_needed: bool = False
    first: int = 1
    flipped_from: int | None = None

    def folder_of(self, name: str) -> str:
        """The folder that the pictures of a field are in, for messages."""
        return next(folder for folder, its_field in self.folders.items() if its_field == name)


NAMINGS = {
    "001": Naming(
        folders={"fg_bg": "composite", "fg_bg_mask": "mask", "fg_bg_depth": "depth"}
        | BACKGROUND_FOLDERS,
        stem=re.compile(r"(?:mask_|depth_)?fg_(?P<fg>[0-9]+)_bg_(?P<bg>[0-9]+)_(?P<n>[0-9]+)"),
        spelt="fg_FFF_bg_BBB_NNNNNN",
        first=0,
    ),
    "002": Naming(
        folders={"fg_bg": "composite", "fg_bg_mask": "mask", "depth_output": "depth"}
        | BACKGROUND_FOLDERS,
        stem=re.compile(r"bg_(?P<bg>[0-9]+)fg_(?P<fg>[0-9]+)_(?P<flip>flip_)?(?P<n>[0-9]+)"),
        spelt="bg_Bfg_F_K or bg_Bfg_F_flip_K",
        background=re.compile(r"bg_([0-9]+)"),
    ),
    "003": Naming(
        folders={"fg-bg": "composite", "fg-bg-mask": "mask", "depth": "depth"} | BACKGROUND_FOLDERS,
        stem=re.compile(r"(?:fg-bg(?:-mask)?|depth)(?P<n>[0-9]+)"),
        spelt="fg-bgN, fg-bg-maskN or depthN",
    ),
    "004": Naming(
        folders={"overlayedimages": "composite", "overlayedmasks": "mask", "depthimage": "depth"}
        | BACKGROUND_FOLDERS,
        stem=re.compile(r"combined_s(?P<bg>[0-9]+)_p(?P<fg>[0-9]+)_it(?P<n>[0-9]+)"),
        spelt="combined_sB_pF_itX",
        background=re.compile(r"Shelves_([0-9]+)"),
        background_needed=True,
        flipped_from=20,
    ),
}


def plan_by_names(files: Files, system: str, *, per_background: int = PER_BACKGROUND) -> Plan:
    """Which files make which sample, after a system's naming rule.

    Args:
        files: Where to look.
        system: A key of NAMINGS.
        per_background: Samples to each background of a set, of system 003.

    Raises:
        AssetError: A whole kind of picture is missing.
    """
    named = NamedFiles(files, NAMINGS[system], per_background=per_background)
    bad = list(named.bad)
    samples = []
    for key in sorted(named.keys()):
        reason = named.what_is_wrong(key)
        if reason:
            bad.append(BadFile(next(named.with_key(key)).path, reason))
        else:
            samples.append(named.sample(key))
    return Plan(samples, sorted(bad, key=lambda one: natural(one.name)))


class NamedFiles:
    """The files that follow a system's naming rule, by the numbers in their names.

    Attributes:
        bad: Files in its folders that do not follow it, or stand there twice.

    Raises:
        AssetError: A whole kind of picture is missing.
    """

    def __init__(self, files: Files, naming: Naming, *, per_background: int) -> None:
        self._naming, self._per_background = naming, per_background
        self._by_key: dict[str, dict[Key, File]] = {name: {} for name in LABELLED}
        self.bad: list[BadFile] = []
        backgrounds = []
        for file in files.pictures:
            folder = file.folder_among(naming.folders)
            if folder is None:
                continue
            if naming.folders[folder] == "background":
                backgrounds.append(file)
            else:
                self._take(naming.folders[folder], file)
        for name in LABELLED:
            self._need(self._by_key[name], name, files)
        self._need(backgrounds, "background", files)
        self._backgrounds = self._numbered(sorted(backgrounds, key=lambda one: natural(one.name)))

    def keys(self) -> set[Key]:
        """Of all composites, masks and depths."""
        return set().union(*self._by_key.values())

    def with_key(self, key: Key) -> Iterator[File]:
        """The composite, mask and depth of a sample, as far as they are there."""
        return (by_key[key] for by_key in self._by_key.values() if key in by_key)

    def what_is_wrong(self, key: Key) -> str | None:
        """Why a sample cannot be made."""
        for name, by_key in self._by_key.items():
            if key not in by_key:
                folder = self._naming.folder_of(name)
                return f"no {name} goes with it: expected one of these numbers in {folder}"
        number = self._background_number(key)
        if number not in self._backgrounds:
            numbers = sorted(self._backgrounds) or ["none"]
            return f"no background {number}: there are {numbers[0]} to {numbers[-1]}"
        return self._wrong_set(key)

    def sample(self, key: Key) -> Planned:
        """A sample that nothing is wrong with."""
        background = self._backgrounds[self._background_number(key)]
        labelled = {name: by_key[key] for name, by_key in self._by_key.items()}
        return Planned({"background": background} | labelled, **self.what_names_tell(key))

    def what_names_tell(self, key: Key) -> dict:
        """`foreground` and `flip` of a sample."""
        numbers, from_n = self._numbers(key), self._naming.flipped_from
        flip = bool(numbers["flip"]) if "flip" in numbers else None
        if from_n is not None:
            flip = numbers["n"] >= from_n
        foreground = f"fg_{numbers['fg']}" if "fg" in numbers else None
        return {"foreground": foreground, "flip": flip}

    def key_of(self, file: File) -> Key:
        """The numbers in a file's name.

        Raises:
            AssetError: The name is not as the rule says.
        """
        match = self._naming.stem.fullmatch(file.stem)
        if not match:
            raise AssetError(f"the name is not as expected: {self._naming.spelt}")
        return tuple(_number(text) for text in match.groups())

    def _take(self, name: str, file: File) -> None:
        try:
            key = self.key_of(file)
        except AssetError as error:
            self.bad.append(BadFile(file.path, str(error)))
            return
        there = self._by_key[name].setdefault(key, file)
        if there is not file:
            self.bad.append(BadFile(file.path, f"the same {name} as {there.path}: keep one"))

    def _need(self, found: Iterable, name: str, files: Files) -> None:
        if not found:
            folder = self._naming.folder_of(name)
            raise AssetError(f"no {name} pictures in {files.roots}: expected a folder {folder}")

    def _numbered(self, backgrounds: list[File]) -> dict[int, File]:
        """Backgrounds, given in the order of their names, by their numbers."""
        pattern, first = self._naming.background, self._naming.first
        matches = [pattern.fullmatch(file.stem) if pattern else None for file in backgrounds]
        if not any(matches) and not self._naming.background_needed:
            return dict(enumerate(backgrounds, first))
        numbered = {}
        for file, match in zip(backgrounds, matches, strict=True):
            if not match:
                spelt = pattern.pattern.replace("([0-9]+)", "B")
                self.bad.append(BadFile(file.path, f"the name is not as expected: {spelt}"))
            elif numbered.setdefault(int(match[1]), file) is not file:
                there = numbered[int(match[1])].path
                self.bad.append(BadFile(file.path, f"the same background as {there}: keep one"))
        return numbered

    def _numbers(self, key: Key) -> dict[str, int]:
        return dict(zip(self._naming.stem.groupindex, key, strict=True))

    def _background_number(self, key: Key) -> int:
        numbers = self._numbers(key)
        if "bg" in numbers:
            return numbers["bg"]
        return (numbers["n"] - 1) // self._per_background % len(self._backgrounds) + 1

    def _wrong_set(self, key: Key) -> str | None:
        """Of system 003: with a wrong count of backgrounds, samples lie in folders of other sets.

        Then all backgrounds would be wrong, so this is worth finding out.
        """
        if "bg" in self._numbers(key):
            return None
        count, (n,) = len(self._backgrounds), key
        expected = (n - 1) // (self._per_background * count) + 1
        for folder in self._by_key["composite"][key].parts:
            match = re.fullmatch(r"data_([0-9]+)", folder.lower())
            if match and int(match[1]) != expected:
                return (
                    f"it lies in {folder}; with {count} backgrounds and --per-background "
                    f"{self._per_background} it belongs to data_{expected}: set them right"
                )
        return None


def _number(text: str | None) -> int:
    """A group of a name as a number; `flip` counts as 1 where it is there."""
    return int(text) if text and text.isdecimal() else int(text is not None)
