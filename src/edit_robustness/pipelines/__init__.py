"""Kedro pipelines. Their nodes call the other packages and contain little logic."""
