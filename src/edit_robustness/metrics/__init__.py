"""Scores of answers. Metrics read tables of answers, and do not depend on the method that made an edit.

Every score carries its protocol: ``free`` (free generation) or ``teacher_forced`` (the probability of the objects). The
two answer different questions and are never mixed.
"""
