"""The demo: the whole chain on pictures that it draws itself."""

from dsetkit.demo.run import demo

__all__ = [
    "demo",
]
