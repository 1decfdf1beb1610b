"""Figures (plotly) drawn from tables, with intervals wherever a table has them.

A figure computes no estimate: every point and interval is in its table.
"""
