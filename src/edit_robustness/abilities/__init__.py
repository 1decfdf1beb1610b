"""Measure general abilities with tasks of lm-evaluation-harness, on the model in memory.

The harness defines requests and scores. The requests are run by this package, because the harness runs the few-shot
examples again for every option of every document.
"""
