"""Regressions of edit outcomes on facts, prompts and methods, each one an entry of `analyze.models`.

Errors are clustered, because the prompts of a subject are not independent: naive ones would be about half as large. If
the data cannot support a model or a term, the table contains the reason instead of an estimate.
"""

from edit_robustness.statistics.regression.rows import check_names
from edit_robustness.statistics.regression.run import CHECK_COLUMNS, COLUMNS, regress
from edit_robustness.statistics.regression.settings import COLUMNS_OF_PROBES, RegressionModel

__all__ = ["CHECK_COLUMNS", "COLUMNS", "COLUMNS_OF_PROBES", "RegressionModel", "check_names", "regress"]
