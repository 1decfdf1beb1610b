"""One page that says what was found, how sure it is, where edits broke, and what was run.

A single HTML file that asks nothing of the network. Every number in it comes from a table it was given, and every text
that a model or a fact table wrote is escaped by the template engine.
"""

from edit_robustness.report.page import Findings, render

__all__ = ["Findings", "render"]
