"""The report of a campaign: one self-contained HTML page."""

from discovery.report.page import report_text, write_report

__all__ = ["report_text", "write_report"]
