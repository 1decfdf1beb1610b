"""The pipelines of Kedro: thin nodes between rooms."""
