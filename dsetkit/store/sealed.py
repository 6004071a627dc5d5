"""Sealed maps: msgpack maps that carry a checksum of their bytes and of the place they lie at.

The last entry of a sealed map is `checksum`, 8 bytes. It is the big-endian xxh3-64 digest of the
place followed by all bytes of the map before the digest. The place is the name of the database, a
slash, and the key. So a flipped bit is found, and also a value that was stored under a wrong key.
The checksum is compared before the map is decoded, and the decoded values are checked against a
schema, because a checksum keeps out damage, not malice.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgpack
import msgspec
import xxhash

from dsetkit.errors import DatasetError, one_line

CHECKSUM_BYTES = 8

_MISFITS = (msgspec.MsgspecError, ValueError, RecursionError)  # what msgspec raises

Content = TypeVar("Content")


def one_of(*names: str) -> msgspec.Meta:
    """The schema of a text that is one of some names of letters."""
    return msgspec.Meta(pattern="^(" + "|".join(names) + r")\Z")


def seal(content: Mapping[str, Any], *, database: str, key: bytes) -> bytes:
    """Packs a map with its checksum.

    Args:
        content: The entries, as msgpack values.
        database: The database that will hold the map.
        key: Its key there.
    """
    packed = msgpack.packb({**content, "checksum": bytes(CHECKSUM_BYTES)})[:-CHECKSUM_BYTES]
    return packed + _digest(packed, database, key)


def unseal(
    packed: bytes, decoder: "msgspec.msgpack.Decoder[Content]", *, database: str, key: bytes
) -> Content:
    """Unpacks a map, after its checksum was compared.

    Args:
        packed: The bytes.
        decoder: Decodes them and checks them against the schema of its type.
        database: The database that holds the map.
        key: Its key there.

    Raises:
        DatasetError: The checksum differs, or the values do not fit the schema.
    """
    body, checksum = memoryview(packed)[:-CHECKSUM_BYTES], packed[-CHECKSUM_BYTES:]
    if len(packed) < CHECKSUM_BYTES or _digest(body, database, key) != checksum:
        raise DatasetError("its checksum differs: it was damaged after it was written")
    return decode(packed, decoder)


def decode(packed: bytes, decoder: "msgspec.msgpack.Decoder[Content]") -> Content:
    """Unpacks msgpack and checks it against the schema of the decoder's type.

    Raises:
        DatasetError: The bytes are not msgpack, or do not fit the schema.
    """
    try:
        return decoder.decode(packed)
    except _MISFITS as error:
        raise _misfit(error) from None


def fitted_to(kind: type[Content], values: Mapping[str, Any]) -> Content:
    """Values that were unpacked before, checked against the schema of a type.

    Raises:
        DatasetError: They do not fit the schema.
    """
    try:
        return msgspec.convert(values, kind)
    except _MISFITS as error:
        raise _misfit(error) from None


def _misfit(error: Exception) -> DatasetError:
    return DatasetError(f"it is not as dsetkit writes it ({one_line(error)})")


def _digest(content: bytes | memoryview, database: str, key: bytes) -> bytes:
    digest = xxhash.xxh3_64(database.encode() + b"/" + key)
    digest.update(content)
    return digest.digest()
