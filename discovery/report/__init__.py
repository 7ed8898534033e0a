"""The report of a campaign: one self-contained HTML page."""

from discovery.report.page import write_report

__all__ = ["write_report"]
