"""The demo: it draws pictures and runs the toolkit on them, from dataset to evaluation."""

from dsetkit.demo.run import demo

__all__ = [
    "demo",
]
