"""Build the prompts (probes) that ask about a fact.

This package does not use a model. A probe is text, or turns of text for a conversation, so you can read, test and
change the prompts of an experiment without loading a model.
"""
