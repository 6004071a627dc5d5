"""Other libraries that store {composite, mask, depth} samples, one small module each.

Each module has two functions:

    build(samples, root)            writes all samples, an `EncodedSamples`, into the directory
                                    `root`, which does not exist yet
    batches(root, workers, size, decode)
                                    an iterable whose iterations are epochs: batches of BATCH in
                                    random order as dicts of `composite` uint8 (N,S,S,3) RGB, `mask`
                                    uint8 (N,S,S), `depth` float32 (N,S,S) in the stored unit

Libraries that store bytes get the same bytes. They are measured twice: as their users write it,
with the decoder of their documentation, and with dsetkit's decoders (`shared.DECODERS`). None of
the libraries is a dependency of the project. `pip install 'dsetkit[peers]'` installs those that
need no compiler.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Attributes:
        title: Its own name.
        library: The module that must be importable.
        install: The command that installs it.
        distribution: Its name on PyPI, whose version is noted; "" notes none.
        decoder: The key of DECODERS that its users take; empty if the library decodes by itself.
        has_workers: Whether processes read; if not, threads of one process.
    """

    title: str
    library: str
    install: str
    distribution: str = ""
    decoder: str = "Pillow"
    has_workers: bool = True


PEERS = {  # file in this folder -> peer
    # The `ImageFolder` of torchvision opens files with Pillow.
    "files": Peer("plain files", "PIL", ""),
    # The LMDB readers of BasicSR and MMCV call `cv2.imdecode`.
    "lmdb_msgpack": Peer(
        "plain LMDB + msgpack", "lmdb", "pip install lmdb msgpack", decoder="OpenCV"
    ),
    # Its `decode("rgb8")`, the feature `Image` of datasets and the column `jpeg` of MosaicML call
    # Pillow.
    "web_dataset": Peer("WebDataset", "webdataset", "pip install webdataset", "webdataset"),
    "hf_arrow": Peer("HF datasets (arrow)", "datasets", "pip install datasets", "datasets"),
    # Its `JPEGSerializer` calls torchvision.
    "lit_data": Peer("LitData", "litdata", "pip install litdata", "litdata", decoder="torchvision"),
    "mosaic": Peer(
        "MosaicML Streaming", "streaming", "pip install mosaicml-streaming", "mosaicml-streaming"
    ),
    "ffcv_beton": Peer(
        "FFCV",
        "ffcv",
        "apt install g++ pkg-config libopencv-dev libturbojpeg0-dev && pip install numba ffcv",
        "ffcv",
        decoder="",
        has_workers=False,
    ),
}
