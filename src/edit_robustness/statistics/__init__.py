"""Estimates from scores: rates with intervals, correlations, a regression and a prediction.

One fact has many probes, so probes are not independent: every interval is clustered by subject. All functions take and
return tidy tables, without torch or Kedro, so any estimate can be recomputed from stored scores.
"""
