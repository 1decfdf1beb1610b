"""From scores to estimates with honest intervals: rates, correlations, a regression, a prediction.

One fact is asked about many times, so probes are not independent: every interval here knows which probes share a
subject. Tables in, tidy tables out; no torch, no Kedro, so that any estimate can be made again from stored scores.
"""
