"""The version of dsetkit, which manifests record."""

VERSION = "0.1.0"
