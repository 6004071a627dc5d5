"""Bytes and their checks: records, codecs, the manifest, LMDB files, shards, object storage."""
