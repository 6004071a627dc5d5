"""report: one page, without any network, that shows a dataset, and the same numbers as JSON."""

from dsetkit.verbs.report.making import Report, check_places, collect, write_report

__all__ = ["Report", "check_places", "collect", "write_report"]
