"""What a build says of itself: report.json for programs, report.html for people."""

from __future__ import annotations

from .collect import collect as collect
from .files import read_report as read_report
from .files import summary as summary
from .files import write_report as write_report

__all__ = ["collect", "read_report", "summary", "write_report"]
