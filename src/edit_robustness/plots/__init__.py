"""Tables in, figures out (plotly): what a table says, drawn so that its uncertainty is seen first.

A figure computes nothing: every point and interval stands in the table it was drawn from.
"""
