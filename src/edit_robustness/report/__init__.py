"""Self-contained HTML reports of the results, their uncertainty, the failures and the settings of a run.

Every number in a report comes from a table. The template engine escapes every text that a model or a fact table
contains. The pages need no network.
"""

from edit_robustness.report.page import Findings, render

__all__ = ["Findings", "render"]
