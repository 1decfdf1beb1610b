"""Strings to strings: what is asked about a fact, in all the ways that people ask.

Nothing here knows a model: a probe is text, and for conversations turns of text, so that the questions of an
experiment can be read, tested and changed without one.
"""
