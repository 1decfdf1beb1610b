"""Answers to scores. Metrics read tables of answers and never learn which method made an edit.

Every score carries its protocol: ``free`` (what the model said when left to speak) or ``teacher_forced`` (how
probable it held the objects). The two answer different questions and are never mixed.
"""
