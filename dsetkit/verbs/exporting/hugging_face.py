"""hf: parquet files with pictures, as `datasets` of Hugging Face loads them.

    DIR/data/train-00000-of-00002.parquet    rows of a split; val is called validation
    DIR/README.md                            the dataset card: splits, columns, units of depth
    DIR/dataset.json                         the manifest

A column of pictures is a struct of `bytes` and `path`, marked in the file's schema as the feature
`Image` (https://huggingface.co/docs/datasets/image_dataset). The pictures are the stored bytes.
The other columns are those of `SampleTable`; the names of the assets are called background_name
and foreground_name. Rows are written in groups, so that the memory does
not depend on the number of samples; a picture that a group repeats, such as a background, is
stored once in it.

    datasets.load_dataset("DIR", split="train")
    datasets.load_dataset("parquet", data_files="DIR/data/train-*.parquet")
"""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.datasets import COLUMNS
from dsetkit.errors import DatasetError, DsetkitError, one_line
from dsetkit.extras import extra_module
from dsetkit.files import replacing, write_whole
from dsetkit.store import Manifest
from dsetkit.verbs.exporting.common import MARKER, Order, Pack, SampleReader, suffix_of

PICTURES = ("background", "composite", "mask", "depth", "instances")
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}  # of the Hub
ROWS_IN_GROUP = 100
RENAMED = {"background": "background_name", "foreground": "foreground_name"}  # of COLUMNS
TEXT_COLUMNS = tuple(RENAMED.get(name, name) for name in COLUMNS)
LARGEST_DICTIONARY = 2**26  # bytes of the different values that a group may share
CARD = "README.md"

imported = partial(extra_module, extra="exports", purpose="--format hf")

ABOUT_FIELD = {
    "background": "the scene without the foreground, RGB",
    "composite": "the foreground in front of the background, RGB",
    "mask": "8-bit alpha of the foreground, 0 to 255",
    "instances": "8-bit: 0 is background, k the k-th foreground",
}
ABOUT_DEPTH = {
    "metric": "16-bit depth of the composite in millimetres, 0 = invalid",
    "relative": "16-bit inverse depth of the composite, 1 (far) to 65535 (near), 0 = invalid",
}


def check(order: Order) -> None:
    """Refuses what cannot be exported, before anything is written.

    Raises:
        DsetkitError: pyarrow is missing.
    """
    imported("pyarrow.parquet")


def write(order: Order) -> None:
    """Writes the parquet files, and then the card; whole files are kept.

    Raises:
        DsetkitError: A sample is damaged, or a file cannot be written.
    """
    reader = SampleReader(order.dataset, PICTURES)
    order.run(partial(_write_shard, reader, order.output), order.packs(order.shard_size))
    counts = {SPLIT_NAMES[name]: len(indices) for name, indices in order.splits.items()}
    write_whole(order.output / CARD, _card(order.dataset.manifest, reader.fields, counts).encode())


# ---- parquet -----------------------------------------------------------------------------------


def _write_shard(reader: SampleReader, output: Path, pack: Pack) -> None:
    name = f"{SPLIT_NAMES[pack.split]}-{pack.number:05d}-of-{pack.packs:05d}.parquet"
    path = output / "data" / name
    if path.exists():
        return
    pyarrow = imported("pyarrow")
    parquet = imported("pyarrow.parquet")
    schema = _schema(pyarrow, reader.fields)
    with (
        replacing(path) as temporary,
        parquet.ParquetWriter(
            temporary,
            schema,
            compression="snappy",
            use_dictionary=True,
            dictionary_pagesize_limit=LARGEST_DICTIONARY,
            write_statistics=list(TEXT_COLUMNS),
        ) as file,
    ):
        rows = _rows(reader, pack.indices)
        while group := list(islice(rows, ROWS_IN_GROUP)):
            file.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _rows(reader: SampleReader, indices: np.ndarray) -> Iterator[dict[str, Any]]:
    for sample in reader.samples(indices):
        pictures = {
            name: {"bytes": content, "path": f"{sample.key}{suffix_of(content)}"}
            for name, content in sample.pictures.items()
        }
        # A repeated background is one value for the dictionary of a group only under one name.
        if "background" in pictures:
            number = sample.record.background
            suffix = suffix_of(sample.pictures["background"])
            pictures["background"]["path"] = f"{number:04d}{suffix}"
        row = {RENAMED.get(name, name): value for name, value in sample.row.items()}
        yield row | pictures


def _schema(pyarrow: Any, fields: list[str]) -> Any:
    """The columns, with the features of `datasets` in the file's metadata."""
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    values = {name: "int64" if name == "index" else "string" for name in TEXT_COLUMNS}
    columns = [(name, getattr(pyarrow, kind)()) for name, kind in values.items()]
    features: dict[str, Any] = {
        name: {"dtype": kind, "_type": "Value"} for name, kind in values.items()
    }
    features |= {name: {"_type": "Image"} for name in fields}
    about = json.dumps({"info": {"features": features}})
    schema = pyarrow.schema([*columns, *((name, picture) for name in fields)])
    return schema.with_metadata({"huggingface": about})


# ---- the card ----------------------------------------------------------------------------------


def _card(manifest: Manifest, fields: list[str], counts: dict[str, int]) -> str:
    """README.md: what Hugging Face reads between the lines ---, and what people read below."""
    total = sum(counts.values())
    lines = ["---", "license: other", "license_name: to-be-chosen", "pretty_name: to be chosen"]
    lines += ["task_categories:", "- image-segmentation"]
    lines += ["- depth-estimation"] if "depth" in fields else []
    lines += ["size_categories:", f"- {_size_category(total)}", "configs:"]
    lines += ["- config_name: default", "  data_files:"]
    for split in counts:
        lines += [f"  - split: {split}", f"    path: data/{split}-*"]
    lines += ["---", "", "# Composites with masks and depth", ""]
    lines += [
        "Made by dsetkit: cut-outs in front of photographs.",
        "",
        "**Licence:** to be chosen. Put its name into `license:` above; the licences of the "
        "photographs and cut-outs decide which are possible.",
        "",
        *("| split | samples |", "|---|---:|"),
        *(f"| {name} | {count:,} |" for name, count in counts.items()),
        f"| all | {total:,} |",
        "",
        *("| column | meaning |", "|---|---|"),
    ]
    for name in fields:
        about = ABOUT_DEPTH[manifest.depth_kind] if name == "depth" else ABOUT_FIELD[name]
        lines.append(f"| `{name}` | {about} |")
    lines += [
        "| `index`, `split`, `cell` | index of the sample in the source, its split, and which of "
        "its assets no training sample shows |",
        "| `background_name`, `foreground_name` | names of the pictures it was made of |",
        "| `flip`, `box` | 1 where the foreground is mirrored; x y w h of its place [px] |",
        "| `name` | name of the imported file; empty in generated datasets |",
    ]
    return "\n".join(lines) + "\n"


def _size_category(count: int) -> str:
    steps = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    for low, high in zip((None, *names), names, strict=False):
        if count < steps[names.index(high)]:
            return f"{low}<n<{high}" if low else f"n<{high}"
    return "n>1B"


# ---- the Hub -----------------------------------------------------------------------------------


def check_token() -> None:
    """Refuses --push-to-hub where no token of the Hub is found.

    Raises:
        DsetkitError: There is none, or huggingface_hub is missing.
    """
    hub = extra_module("huggingface_hub", extra="exports", purpose="--push-to-hub")
    if not hub.get_token():
        raise DsetkitError(
            "--push-to-hub: no token of the Hugging Face Hub was found: run `hf auth login`, or "
            "set HF_TOKEN"
        )


def push(output: Path, repository: str) -> str:
    """Uploads a written export to a dataset repository; a new one is private.

    Args:
        output: The folder.
        repository: `NAME` or `OWNER/NAME`.

    Returns:
        The address of the repository.

    Raises:
        DatasetError: The Hub refuses it, or cannot be reached.
    """
    hub = extra_module("huggingface_hub", extra="exports", purpose="--push-to-hub")
    try:
        api = hub.HfApi()
        address = api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            repo_type="dataset",
            folder_path=output,
            allow_patterns=["data/*.parquet", CARD, MARKER],
            commit_message="Exported by dsetkit",
        )
    except Exception as error:  # errors of the network, of HTTP, and of names share no parent
        raise DatasetError(
            f"--push-to-hub {repository}: {one_line(error)}; {output} is complete: the same "
            "command goes on from here"
        ) from None
    return str(address)
