"""Features of a fact that may say how hard it is to edit.

How often it is read about, how it is linked, how well a model knows it.
"""
