"""Answers to the questions that a run asks, in sentences that are computed from the tables of the analysis.

1. Does an edit hold however people ask?
2. What does an edit cost?
3. Which facts are hard to edit?

Every function is pure and returns text. A difference or an association is stated as such only if its test is
significant after Holm's correction. Otherwise the sentence says that it is not, or that it could not be tested.
"""

from edit_robustness.report.answers.cautions import list_cautions
from edit_robustness.report.answers.prediction import describe_predictor, describe_slope
from edit_robustness.report.answers.questions import QUESTIONS, Answer, Evidence, answer_questions

__all__ = [
    "QUESTIONS",
    "Answer",
    "Evidence",
    "answer_questions",
    "describe_predictor",
    "describe_slope",
    "list_cautions",
]
