"""What is known of the five reference systems: their file names, their tables, their pixels.

How file names tell which background belongs to a composite:

| system | composite, mask, depth                    | background                                  |
|--------|-------------------------------------------|---------------------------------------------|
| 000    | named by a table                          | named by a table                            |
| 001    | fg_FFF_bg_BBB_NNNNNN                      | number BBB of the sorted list, from 0       |
| 002    | bg_Bfg_F_K, bg_Bfg_F_flip_K               | bg_B; or number B of the sorted list        |
| 003    | fg-bgN, fg-bg-maskN, depthN; N counts     | each of the sorted list has 800 samples;    |
|        | over all sets data_S                      | every set starts the list again             |
| 004    | combined_sB_pF_itX                        | Shelves_B                                   |

Lists are sorted by the numbers in the names.

What the tables look like:

| system | table                                                                                |
|--------|--------------------------------------------------------------------------------------|
| 000    | `;`: background; composite; mask; depth, no header                                   |
| 002    | `,`: input_path,depth_path; mask and background by name; file `train` or `test`      |
| 003    | tab: Background, Foreground, fg-bg, mask, depth, with or without these names on top  |
| table  | `,`: header of composite and any of background, mask, depth, foreground, split       |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

LABELLED = ("composite", "mask", "depth")  # fields with one file for each sample
FIELDS = ("background", *LABELLED)
PER_BACKGROUND = 800  # samples of each background in a set of system 003

_BACKGROUND_FOLDERS = dict.fromkeys(("bg", "background", "backgrounds"), "background")


@dataclass(frozen=True, kw_only=True)
class NamingRule:
    """How a system names its files.

    Attributes:
        folders: Folder name (lower case) -> field of the pictures in it.
        stem: File name without suffix; each group is a number, or `flip`, which may be absent.
        stem_text: The same in words, for messages.
        background: File name of a background without suffix; its group is the background's
            number. None: backgrounds are numbered by their place in the sorted list.
        background_text: The same in words, for messages.
        background_required: Every background must match `background`. Otherwise, if none matches,
            their places in the sorted list count.
        first: Number of the first background of the sorted list.
        flipped_from: Samples whose number `n` is at least this have mirrored foregrounds.
    """

    folders: Mapping[str, str]
    stem: re.Pattern[str]
    stem_text: str
    background: re.Pattern[str] | None = None
    background_text: str = ""
    background_required: bool = False
    first: int = 1
    flipped_from: int | None = None

    def folder_of(self, field: str) -> str:
        """The first folder that holds pictures of a field, for messages."""
        return self.folders_of(field)[0]

    def folders_of(self, field: str) -> list[str]:
        """All folders that hold pictures of a field."""
        return [folder for folder, content in self.folders.items() if content == field]


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """What a system's table looks like.

    Attributes:
        delimiter: Character between two values of a row.
        columns: Column name -> field, `foreground` or `split`.
        has_header: The first row names the columns; otherwise they come in the order of `columns`.
        required: Columns that a header must name.
    """

    delimiter: str
    columns: Mapping[str, str]
    has_header: bool
    required: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class System:
    """A reference system, or `table` for any other set that a table describes.

    Attributes:
        naming: How file names are read; None: only a table names the files.
        table: What its table looks like; None: it has none.
        polarity: What bright grey means in its depth pictures, `far-bright` or `near-bright`;
            None: the user has to say.
        full_scale: 8-bit grey of its largest depth.
        mask_threshold: Mask pixels of at least this grey become 255, the others 0; None keeps
            masks soft.
    """

    naming: NamingRule | None = None
    table: TableForm | None = None
    polarity: str | None = "far-bright"
    full_scale: int = 255
    mask_threshold: int | None = None


SYSTEMS = {
    "000": System(
        table=TableForm(
            delimiter=";",
            columns={"bg": "background", "fgbg": "composite", "mask": "mask", "depth": "depth"},
            has_header=False,
        ),
        polarity="near-bright",  # each picture's depth was stretched, then inverted
    ),
    "001": System(
        naming=NamingRule(
            folders={"fg_bg": "composite", "fg_bg_mask": "mask", "fg_bg_depth": "depth"}
            | _BACKGROUND_FOLDERS,
            stem=re.compile(r"(?:mask_|depth_)?fg_(?P<fg>[0-9]+)_bg_(?P<bg>[0-9]+)_(?P<n>[0-9]+)"),
            stem_text="fg_FFF_bg_BBB_NNNNNN",
            first=0,
        ),
        mask_threshold=150,
    ),
    "002": System(
        naming=NamingRule(
            folders={"fg_bg": "composite", "fg_bg_mask": "mask", "depth_output": "depth"}
            | _BACKGROUND_FOLDERS,
            stem=re.compile(r"bg_(?P<bg>[0-9]+)fg_(?P<fg>[0-9]+)_(?P<flip>flip_)?(?P<n>[0-9]+)"),
            stem_text="bg_Bfg_F_K or bg_Bfg_F_flip_K",
            background=re.compile(r"bg_([0-9]+)"),
            background_text="bg_B",
        ),
        table=TableForm(
            delimiter=",",
            columns={"input_path": "composite", "depth_path": "depth"},
            has_header=True,
            required=("input_path", "depth_path"),
        ),
        full_scale=225,  # its depths were multiplied by 225 where 255 was meant
    ),
    "003": System(
        naming=NamingRule(
            folders={"fg-bg": "composite", "fg-bg-mask": "mask", "depth": "depth"}
            | _BACKGROUND_FOLDERS,
            stem=re.compile(r"(?:fg-bg(?:-mask)?|depth)(?P<n>[0-9]+)"),
            stem_text="fg-bgN, fg-bg-maskN or depthN",
        ),
        table=TableForm(
            delimiter="\t",
            columns={
                "Background": "background",
                "Foreground": "foreground",
                "fg-bg": "composite",
                "mask": "mask",
                "depth": "depth",
            },
            has_header=False,
        ),
    ),
    "004": System(  # its depth is not documented: the polarity of the tool it used is assumed
        naming=NamingRule(
            folders={
                "overlayedimages": "composite",
                "overlayedmasks": "mask",
                "depthimage": "depth",
            }
            | _BACKGROUND_FOLDERS,
            stem=re.compile(r"combined_s(?P<bg>[0-9]+)_p(?P<fg>[0-9]+)_it(?P<n>[0-9]+)"),
            stem_text="combined_sB_pF_itX",
            background=re.compile(r"Shelves_([0-9]+)"),
            background_text="Shelves_B",
            background_required=True,
            flipped_from=20,
        ),
    ),
    "table": System(
        table=TableForm(
            delimiter=",",
            columns={name: name for name in (*FIELDS, "foreground", "split")},
            has_header=True,
            required=("composite",),
        ),
        polarity=None,
    ),
}
