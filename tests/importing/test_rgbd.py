"""import-rgbd: units are said, files are found as people have them, bad ones are named."""

import logging
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError
from dsetkit.importing.depth_files import read_depth
from dsetkit.verbs.verify import verify
from tests.helpers.importing import import_rgbd
from tests.helpers.mutations import mutations

HEIGHT, WIDTH = 12, 16
DEPTH_M = np.tile(np.linspace(0.9, 4.0, WIDTH), (HEIGHT, 1))
MM = np.rint(DEPTH_M * 1000).astype(np.uint16)
COLOUR = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()


def png(depth: np.ndarray) -> bytes:
    return cv2.imencode(".png", depth)[1].tobytes()


def npy(depth: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, depth)
    return buffer.getvalue()


def npz(save: Callable = np.savez, **arrays: np.ndarray) -> bytes:
    buffer = BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def pfm(depth: np.ndarray, order: str = "<", scale: str = "1") -> bytes:
    sign = "-" if order == "<" else ""
    header = f"Pf\n{depth.shape[1]} {depth.shape[0]}\n{sign}{scale}\n".encode()
    return header + depth[::-1].astype(f"{order}f4").tobytes()


def exr(name: str = "Z", depth: np.ndarray | None = None, **others: np.ndarray) -> bytes:
    """An OpenEXR file; nothing where the package is not installed."""
    try:
        import OpenEXR
    except ImportError:
        return b""
    channels = {name: (DEPTH_M if depth is None else depth).astype(np.float32), **others}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with TemporaryDirectory() as folder:
        OpenEXR.File(header, channels).write(f"{folder}/a.exr")
        return (Path(folder) / "a.exr").read_bytes()


with_exr = pytest.mark.skipif(not exr(), reason="needs OpenEXR: pip install 'dsetkit[exr]'")


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def pair(depth: bytes, suffix: str = "png") -> dict[str, bytes]:
    return {"a_color.jpg": COLOUR, f"a_depth.{suffix}": depth}


def refused(root: Path, output: Path, **options) -> str:
    with pytest.raises(AssetError) as caught:
        import_rgbd(root, output, split="train", **options)
    assert not output.exists(), "nothing is written before all is checked"
    return str(caught.value)


def depth_mm(path: Path, index: int = 0) -> np.ndarray:
    dataset = Dataset(path)
    return dataset.image(dataset.record(index), "depth")


# ---- units -------------------------------------------------------------------------------------

INF_FAR = np.where(DEPTH_M > 3.9, np.inf, np.where(DEPTH_M < 1, np.nan, DEPTH_M))
FILES = {
    "png": (png(MM), None),
    "png of TUM": (png((DEPTH_M * 5000).astype(np.uint16)), 5000),
    "png of KITTI": (png((DEPTH_M * 256).astype(np.uint16)), 256),
    "png in cm": (png((DEPTH_M * 100).astype(np.uint16)), 100),
    "npy": (npy(DEPTH_M.astype(np.float32)), None),
    "npy of float64": (npy(DEPTH_M), None),
    "npy of float16": (npy(DEPTH_M.astype(np.float16)), None),
    "npy in mm": (npy(MM.astype(np.int32)), None),
    "npy in mm, float": (npy(MM.astype(np.float32)), 1000),
    "npy in columns": (npy(np.asfortranarray(DEPTH_M)), None),
    "npy, big-endian": (npy(DEPTH_M.astype(">f4")), None),
    "npy of three axes": (npy(DEPTH_M[None, ..., None]), None),
    "npz": (npz(depth=DEPTH_M), None),
    "npz, packed": (npz(np.savez_compressed, anything=DEPTH_M), None),
    "npz with more": (npz(depth=DEPTH_M, other=np.ones(3)), None),
    "pfm": (pfm(DEPTH_M), None),
    "pfm, big-endian": (pfm(DEPTH_M, ">"), None),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_depth_file_gives_millimetres(tmp_path: Path, name: str) -> None:
    content, units = FILES[name]
    suffix = name.split(maxsplit=1)[0].rstrip(",")
    root = write(tmp_path / "w", pair(content, suffix))
    import_rgbd(root, tmp_path / "d", split="train", depth_scale=units)
    assert verify(tmp_path / "d") == []
    step_mm = 1000 / min(units or 1000, 1000) + 2 * ("float16" in name)
    assert np.abs(depth_mm(tmp_path / "d").astype(int) - MM).max() <= step_mm
    if units in (None, 1000) and "float16" not in name:
        assert np.array_equal(depth_mm(tmp_path / "d"), MM)


@with_exr
@pytest.mark.parametrize("name", ["Z", "Y", "anything"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_exr_file_gives_the_millimetres_of_its_depth_channel(
    name: str, dtype: type, tmp_path: Path
) -> None:
    others = {} if name == "anything" else {"A": np.ones_like(DEPTH_M, dtype=np.float32)}
    content = exr(name, DEPTH_M.astype(dtype), **others)
    root = write(tmp_path / "w", pair(content, "exr"))
    import_rgbd(root, tmp_path / "d", split="train")
    apart = np.abs(depth_mm(tmp_path / "d").astype(int) - MM).max()
    assert apart <= (2 if dtype == np.float16 else 0)


def test_without_the_package_an_exr_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = exr() or EXR_HEADER
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    line = refused(write(tmp_path / "w", pair(content, "exr")), tmp_path / "d")
    assert "needs OpenEXR" in line and "pip install 'dsetkit[exr]'" in line


@pytest.mark.parametrize("form", [npy, pfm, lambda depth: npz(depth=depth)])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, -1.0, 0.0, 10.01, 1e30])
def test_numbers_that_are_no_depth_are_invalid(tmp_path: Path, form: Callable, odd: float) -> None:
    depth = DEPTH_M.astype(np.float32)
    depth[2:5, 3:7] = odd
    root = write(tmp_path / "w", pair(form(depth)))
    import_rgbd(root, tmp_path / "d", split="train")
    assert np.array_equal(depth_mm(tmp_path / "d") == 0, depth == np.float32(odd)) or np.isnan(odd)
    assert (depth_mm(tmp_path / "d")[2:5, 3:7] == 0).all()
    assert np.count_nonzero(depth_mm(tmp_path / "d")) == depth.size - 12


@pytest.mark.parametrize("units", [5000.0, 256.0, 999.5])
def test_units_stand_in_the_manifest_and_cannot_change_in_between(
    tmp_path: Path, units: float
) -> None:
    root = write(tmp_path / "w", pair(png(MM)))
    import_rgbd(root, tmp_path / "d", split="train", depth_scale=units)
    assert Dataset(tmp_path / "d").manifest.recipe == {"units_per_m": units}


def told(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("depth", "lines"),
    [
        (MM, ["0.0 % of all pixels are invalid; the median of the others is 2.35 m"]),
        (
            np.where(np.arange(WIDTH) < 4, 0, MM).astype(np.uint16),
            ["25.0 % of all pixels are invalid; the median of the others is 2.76 m"],
        ),
        (
            (MM.astype(int) * 5).astype(np.uint16),
            [
                "most pixels with depth (",
                ") lie beyond the largest depth (--max-depth 10 m) at 1000 units per metre",
                "--depth-scale (5000 in TUM's files",
            ],
        ),
        ((MM // 10).astype(np.uint16), ["the median depth of 0.2", "--depth-scale (100 for cent"]),
    ],
)
def test_the_log_tells_what_the_depths_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, depth: np.ndarray, lines: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    import_rgbd(write(tmp_path / "w", pair(png(depth))), tmp_path / "d", split="train")
    assert all(line in told(caplog) for line in lines)
    is_warned = any(record.levelno >= logging.WARNING for record in caplog.records)
    assert is_warned == ("--depth-scale" in lines[-1])


def test_pairs_without_any_valid_depth_are_refused_and_can_be_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "w", {"a_color.jpg": COLOUR, "a_depth.png": png(MM * 0)})
    text = refused(root, tmp_path / "d")
    assert text.startswith("1 file cannot be used, no sample is left: a_depth.png: no pixel has a")
    write(root, {"b_color.jpg": COLOUR, "b_depth.png": png(MM)})
    text = refused(root, tmp_path / "d")
    assert "(--skip-bad leaves out their samples): a_depth.png: no pixel has a valid depth" in text
    assert import_rgbd(root, tmp_path / "d", split="train", skip_bad=True) == 1
    assert [name for name, _ in Dataset(tmp_path / "d").manifest.skipped] == ["a_depth.png"]
    far = write(tmp_path / "far", pair(png(MM * 10)))
    assert "100% of its pixels lie beyond: is --depth-scale or" in refused(
        far, tmp_path / "e", max_depth_m=2.0
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        *(({"depth_scale": value}, "--depth-scale") for value in (0, -1, np.nan, np.inf, 1e-9)),
        *(({"max_depth_m": value}, "--max-depth") for value in (0, -1, np.nan, np.inf, 66)),
        ({"color_glob": "*.jpg"}, "--color-glob and --depth-glob: expected both"),
        ({"color_glob": "a.jpg", "depth_glob": "b.png"}, "expected patterns with equally many"),
        ({"color_glob": "*.jpg", "depth_glob": "*/*.png"}, "expected patterns with equally many"),
        ({"color_glob": "*.jpg", "depth_glob": "*", "table": Path("t.csv")}, "one way, not two"),
        ({"color_glob": "[z-a]*", "depth_glob": "[z-a]*"}, "is not a pattern of paths"),
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path: Path, options: dict, text: str) -> None:
    line = refused(write(tmp_path / "w", pair(png(MM))), tmp_path / "d", **options)
    assert text in line and "\n" not in line


# ---- depth files that cannot be used -----------------------------------------------------------


def header_of(shape: str, dtype: str = "<f4") -> bytes:
    """A .npy file that promises a shape and holds no data."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


PICKLED = npy(np.array([[{"a": 1}]], object))


def exr_header(
    width: int, height: int, *, flags: int = 0, channels: tuple[str, ...] = ("Z",)
) -> bytes:
    """The header of an OpenEXR file without any pixels."""
    listed = b"".join(name.encode() + b"\0" + struct.pack("<4I", 2, 0, 1, 1) for name in channels)
    attributes = {
        ("channels", "chlist"): listed + b"\0",
        ("dataWindow", "box2i"): struct.pack("<4i", 0, 0, width - 1, height - 1),
    }
    content = b"".join(
        f"{name}\0{kind}\0".encode() + struct.pack("<I", len(value)) + value
        for (name, kind), value in attributes.items()
    )
    return b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | flags) + content + b"\0"


EXR_HEADER = exr_header(16, 12)
BAD_DEPTHS = {
    "8 bits": (png(np.full((HEIGHT, WIDTH), 9, np.uint8)), "a PNG of 8 bits, L: expected 16-bit"),
    "three channels": (png(np.dstack([MM] * 3)), "a PNG of 16 bits, RGB: expected 16-bit grey"),
    "a JPEG": (COLOUR, "not a PNG, .npy, .npz, .pfm or .exr file"),
    "empty": (b"", "empty (0 bytes)"),
    "text": (b"<html>", "not a PNG, .npy, .npz, .pfm or .exr file"),
    "cut off": (png(MM)[:-30], "damaged or cut off"),
    "another size": (png(MM[:, :-1].copy()), "15 x 12 px, but its colour picture is 16 x 12 px"),
    "pickled objects": (PICKLED, "an array of object: expected whole numbers or floating point"),
    "complex": (npy(DEPTH_M + 1j), "an array of complex128: expected"),
    "text array": (npy(np.full((3, 3), "x")), "an array of <U1: expected"),
    "structure": (npy(np.zeros((3, 3), [("a", "f4")])), "an array of [('a', '<f4')]: expected"),
    "one axis": (npy(np.ones(9)), "an array of shape 9: expected height x width"),
    "no axis": (npy(np.float32(9)), "an array of shape (): expected height x width"),
    "nothing": (npy(np.ones((0, 5))), "5 x 0 px, expected at least 1"),
    "a giant": (header_of("(1000000, 1000000)"), "expected at least 1 and at most 100 megapixels"),
    "a negative side": (header_of("(-1000, -1000)"), "damaged or cut off"),
    "a promise": (header_of("(900, 900)"), ".npy: 0 bytes of data, expected 3,240,000"),
    "no header": (b"\x93NUMPY\1\0\xff\xff{", "damaged or cut off (.npy"),
    "version 9": (b"\x93NUMPY\x09\0" + bytes(99), "damaged or cut off (.npy"),
    "code for a header": (b"\x93NUMPY\1\0\x0c\0__import__()", "damaged or cut off (.npy"),
    "two arrays": (npz(a=DEPTH_M, b=DEPTH_M), "2 arrays in a .npz file: expected one"),
    "pickle in npz": (npz(depth=np.array([[{}]], object)), "an array of object: expected"),
    "no zip": (b"PK\3\4" + bytes(99), "damaged or cut off (.npz"),
    "colour pfm": (b"PF" + pfm(DEPTH_M)[2:], "a PFM of three channels: expected one"),
    "scaled pfm": (pfm(DEPTH_M, scale="3.5"), "a PFM of scale -3.5: expected 1 or -1"),
    "pfm without scale": (pfm(DEPTH_M, scale="e"), "a PFM of scale -e: expected 1 or -1"),
    "short pfm": (pfm(DEPTH_M)[:-4], ".pfm: 764 bytes of data, expected 768"),
    "giant pfm": (b"Pf\n999999999 999999999\n-1\n", "at most 100 megapixels"),
    "no exr": (b"\x76\x2f\x31\x01" + bytes(99), "damaged or cut off (.exr:"),
    "giant exr": (exr_header(99_999, 99_999), "at most 100 megapixels"),
    "upside-down exr": (exr_header(-5, 5), "px, expected at least 1"),
    "exr of several parts": (exr_header(4, 4, flags=0x1000), "an OpenEXR file of several parts"),
    "cut off exr": (exr_header(16, 12)[:-30], "damaged or cut off (.exr:"),
    "colour exr": (exr_header(16, 12, channels=("R2", "G2")), "with the channels R2, G2: expected"),
}


@pytest.mark.parametrize(("content", "text"), BAD_DEPTHS.values(), ids=BAD_DEPTHS)
def test_a_depth_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, content: bytes, text: str
) -> None:
    line = refused(write(tmp_path / "w", pair(content)), tmp_path / "d")
    assert f"a_depth.png: {text}" in line or (text in line and ": a_depth.png: " in line)
    assert "\n" not in line


def zeros_in_zip(count: int, method: int, name: str = "depth.npy") -> bytes:
    buffer = BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", method) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(count >> 20):
            member.write(bytes(2**20))
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_in_a_npz_file_is_refused(method: int) -> None:
    content = zeros_in_zip(300 << 20, method)
    assert len(content) < 1_000_000
    with pytest.raises(AssetError, match="314,572,800 bytes, expected at most 268,435,456"):
        read_depth(content, units_per_m=None, max_depth_m=10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of escapes in damaged headers
def test_damaged_depth_files_are_decoded_or_refused_in_one_line() -> None:
    sound = [png(MM), npy(DEPTH_M), npy(MM), npz(depth=MM), npz(np.savez_compressed, depth=DEPTH_M)]
    sound += [pfm(DEPTH_M), pfm(DEPTH_M, ">"), *([exr()] if exr() else [])]
    refused = 0
    for content in mutations(sound):
        try:
            read = read_depth(content, units_per_m=None, max_depth_m=10)
            assert read.label.pixels.dtype == np.uint16 and read.label.pixels.max() <= 10_000
        except AssetError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert refused > 100


# ---- files as people have them -----------------------------------------------------------------


def names_of(path: Path) -> list[str]:
    dataset = Dataset(path)
    return [dataset.record(index).name for index in range(len(dataset))]


def test_suffixes_count_in_any_case(tmp_path: Path) -> None:
    files = {"a_color.JPG": COLOUR, "a_depth.PNG": png(MM), "b_COLOR.jpeg": COLOUR}
    files |= {"b_Depth.npy": npy(DEPTH_M), "sub/c_Color.Png": COLOUR, "sub/c_DEPTH.Npz": npz(d=MM)}
    import_rgbd(write(tmp_path / "w", files), tmp_path / "d", split="train")
    assert names_of(tmp_path / "d") == ["a_color.JPG", "b_COLOR.jpeg", "sub/c_Color.Png"]


def test_hidden_files_and_those_of_macos_are_left_alone(tmp_path: Path) -> None:
    files = pair(png(MM)) | {"._a_color.jpg": b"x", "._a_depth.png": b"x", ".DS_Store": b"x"}
    files |= {"__MACOSX/a_color.jpg": b"x", ".cache/b_color.jpg": b"x", "notes.txt": b"x"}
    import_rgbd(write(tmp_path / "w", files), tmp_path / "d", split="train")
    assert names_of(tmp_path / "d") == ["a_color.jpg"]


def test_patterns_find_files_of_other_names(tmp_path: Path) -> None:
    files = {}
    for scene in ("kitchen", "Hall 2"):
        for number in (7, 10):
            files[f"{scene}/rgb/{number}.JPG"] = COLOUR
            files[f"{scene}/d/frame-{number}-[mm].png"] = png(MM)
    files |= {"kitchen/rgb/note.txt": b"x"}
    root = write(tmp_path / "w", files)
    options = {"color_glob": "*/rgb/*.jpg", "depth_glob": "*/d/frame-*-[[]mm].png"}
    assert import_rgbd(root, tmp_path / "d", split="train", **options) == 4
    assert sorted(names_of(tmp_path / "d")) == sorted(name for name in files if "JPG" in name)
    options = {"color_glob": "**/rgb/[!1x]*.jpg", "depth_glob": "**/d/frame-[7-9]*-[[]mm].png"}
    assert import_rgbd(root, tmp_path / "e", split="train", **options) == 2
    assert all(name.endswith("7.JPG") for name in names_of(tmp_path / "e"))


def test_folders_of_any_depth_match_two_stars(tmp_path: Path) -> None:
    files = {f"{place}c{n}.jpg": COLOUR for place in ("", "x/", "x/y/") for n in (1, 2)}
    files |= {f"{place}d{n}.png": png(MM) for place in ("", "x/", "x/y/") for n in (1, 2)}
    root = write(tmp_path / "w", files)
    options = {"color_glob": "**/c*.jpg", "depth_glob": "**/d*.png"}
    assert import_rgbd(root, tmp_path / "d", split="train", **options) == 6


def test_a_table_names_the_pairs(tmp_path: Path) -> None:
    files = {"rgb/1.1.jpg": COLOUR, "rgb/2.2.jpg": COLOUR, "depth/1.3.png": png(MM)}
    files |= {"depth/2.1.png": png(MM // 2)}
    root = write(tmp_path / "w", files)
    rows = "Depth,color\r\ndepth/2.1.png,rgb\\2.2.jpg\r\n\r\ndepth/1.3.png, rgb/1.1.jpg\r\n"
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    import_rgbd(root, tmp_path / "d", split="train", table=tmp_path / "t.csv")
    assert names_of(tmp_path / "d") == ["rgb/2.2.jpg", "rgb/1.1.jpg"]
    assert np.array_equal(depth_mm(tmp_path / "d", 0), MM // 2)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (b"", "has the columns (none): expected color and depth in its first line"),
        (b"a,b\n", "has the columns a, b: expected color and depth"),
        (b"color,depth\n", "no pairs in"),
        (b"color,depth\na_color.jpg\n", "t.csv, line 2: 1 values: expected a path for each column"),
        (b"color,depth\nx.jpg,y.png\n", "x.jpg, y.png: cannot be read (No such file"),
        (b"color,depth\n../../etc/x,y.png\n", "etc/x, y.png: cannot be read (No such file"),
        (b"\xff\xfe\0", "is not UTF-8 text: expected a CSV table"),
        (b'color,depth\n"' + b"x\n" * 200_000, "a row of over 100,000 characters"),
        (b"color,depth\na_color.jpg,a_depth.png\na_color.jpg,a_depth.png", "is also in line 2"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, table: bytes, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(table)
    root = write(tmp_path / "w", pair(png(MM)))
    assert text in refused(root, tmp_path / "d", table=tmp_path / "t.csv") or not table
    os.mkfifo(tmp_path / "pipe.csv")
    line = refused(root, tmp_path / "d", table=tmp_path / "pipe.csv")
    assert line == f"{tmp_path / 'pipe.csv'}: a named pipe, expected a file"


ODD_FILES = {
    "dangling": (lambda path: path.symlink_to("gone.jpg"), "a link to a file that does not exist"),
    "folder": (Path.mkdir, "a folder, expected a file"),
    "pipe": (os.mkfifo, "a named pipe, expected a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device, expected a file"),
    "empty": (Path.touch, "empty (0 bytes)"),
    "loop": (lambda path: path.symlink_to(path.name), "a link to a file that does not exist"),
}


@pytest.mark.parametrize("name", ["a_color.jpg", "a_depth.png"])
@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_file_is_named_and_never_waited_for(
    tmp_path: Path, name: str, kind: str
) -> None:
    make, text = ODD_FILES[kind]
    root = write(tmp_path / "w", pair(png(MM)))
    (root / name).unlink()
    make(root / name)
    line = refused(root, tmp_path / "d")
    assert line.startswith("1 file cannot be used") and f"{name}: {text}" in line


def test_links_to_folders_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    root = write(tmp_path / "w", {f"x/{name}": content for name, content in pair(png(MM)).items()})
    (root / "x" / "back").symlink_to(root)
    (root / "x" / "again").symlink_to(".")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", {"b_color.jpg": COLOUR, "b_depth.png": png(MM)})
    (root / "y").symlink_to(tmp_path / "other")
    import_rgbd(root, tmp_path / "d", split="train")
    assert names_of(tmp_path / "d") == ["x/a_color.jpg", "y/b_color.jpg"]


def test_files_that_make_no_pair_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "w", pair(png(MM)) | {"b_depth.png": png(MM)})
    import_rgbd(root, tmp_path / "d", split="train")
    assert "1 depth files have no colour picture and are left out, for example b_depth" in told(
        caplog
    )
    write(root, {"c_color.jpg": COLOUR})
    assert "c_color.jpg: no depth belongs to it: expected NAME_color" in refused(
        root, tmp_path / "e"
    )
    (root / "c_color.jpg").unlink()
    write(root, {"a_color.png": COLOUR, "a_depth.npy": npy(DEPTH_M)})
    line = refused(root, tmp_path / "e")
    assert "a_color.png: belongs to the same pair as a_color.jpg: keep one of them" in line
    assert "a_depth.png: belongs to the same pair as a_depth.npy: keep one of them" in line


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "\x1b[31mred", "ünï🎈", "a;b,c\"'"])
def test_any_name_is_stored_and_told_in_one_line(tmp_path: Path, name: str) -> None:
    files = {f"{name}_color.jpg": COLOUR, f"{name}_depth.png": png(MM)}
    root = write(tmp_path / "w", files)
    import_rgbd(root, tmp_path / "d", split="train")
    assert verify(tmp_path / "d") == [] and names_of(tmp_path / "d") == [f"{name}_color.jpg"]
    for verb in (["show", "--output", tmp_path / "s.png"], ["export", "--output", tmp_path / "e"]):
        words = [verb[0], tmp_path / "d", *verb[1:]]
        assert run(lambda words=words: main([str(word) for word in words])) == 0
    (root / f"{name}_depth.png").write_bytes(b"")
    line = refused(root, tmp_path / "f")
    assert line.isprintable()


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "w", pair(png(MM)))
    try:
        os.rename(os.fsencode(root / "a_color.jpg"), os.fsencode(root) + b"/caf\xe9_color.jpg")
        os.rename(os.fsencode(root / "a_depth.png"), os.fsencode(root) + b"/caf\xe9_depth.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    line = refused(root, tmp_path / "d")
    assert "caf\\udce9_color.jpg" in line and "its name is not UTF-8: rename it" in line
    assert line.isprintable()


# ---- as a whole --------------------------------------------------------------------------------


def many(root: Path, count: int = 5) -> Path:
    files = {}
    for number in range(count):
        files |= {f"{number}_color.jpg": COLOUR, f"{number}_depth.png": png(MM + number)}
    return write(root, files)


def test_the_number_of_threads_and_an_interruption_change_nothing(tmp_path: Path) -> None:
    root = many(tmp_path / "w")

    class CutOffError(Exception):
        pass

    def cut_off(done: int, total: int) -> None:
        if done == 8:
            raise CutOffError

    import_rgbd(root, tmp_path / "one", jobs=1)
    with pytest.raises(CutOffError):
        import_rgbd(root, tmp_path / "cut", jobs=3, progress=cut_off)
    import_rgbd(root, tmp_path / "cut", jobs=2)
    one, cut = Dataset(tmp_path / "one"), Dataset(tmp_path / "cut")
    assert [one.record(i) for i in range(5)] == [cut.record(i) for i in range(5)]
    assert one.manifest == cut.manifest


def test_the_verb_takes_all_its_flags(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write(tmp_path / "w", {"rgb/a.jpg": COLOUR, "rgb/b.jpg": COLOUR, "d/a.png": png(MM)})
    command = [
        "import-rgbd",
        "--root",
        root,
        "--color-glob",
        "rgb/*.jpg",
        "--depth-glob",
        "d/*.png",
    ]
    command += ["--depth-scale", 5000, "--max-depth", 5, "--jobs", 1, "--output", tmp_path / "d"]
    assert run(lambda: main([str(word) for word in command])) == 2
    assert "rgb/b.jpg: no depth belongs to it: expected rgb/*.jpg and" in capsys.readouterr().err
    command += ["--skip-bad", "--split", "train"]
    assert run(lambda: main([str(word) for word in command])) == 0
    assert depth_mm(tmp_path / "d").max() == 800
