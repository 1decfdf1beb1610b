"""Features of a fact that may predict how hard it is to edit.

They measure how often its article is read, how its items are linked, and how well a model knows it.
"""
