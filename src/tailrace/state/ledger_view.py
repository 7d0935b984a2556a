"""`LedgerView`: what people read of the ledger, each only what their organization has.

Called by `app` for the command line and the pages; nothing here changes a row.
"""

from __future__ import annotations

from tailrace.state.activity import Activity
from tailrace.state.hours_read import HoursRead
from tailrace.state.manual_reports import ManualReports
from tailrace.state.reports import Reports


class LedgerView(Reports, ManualReports, HoursRead, Activity):
    """All that can be read, within one organization, or all of it for the operator."""
