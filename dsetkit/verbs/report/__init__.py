"""report: one page, without any network, that shows a dataset, and the same numbers as JSON."""

from dsetkit.verbs.report.making import Report, collect, write_page

__all__ = ["Report", "collect", "write_page"]
