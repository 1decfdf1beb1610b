"""Figures that the two papers report, as tables in long form (CSV), one row per figure."""

from __future__ import annotations

from csv import DictReader
from importlib.resources import files

import pandas as pd


def read_figures(file: str) -> pd.DataFrame:
    """Read the texts of one of the tables in this folder: ``paper1.csv`` (percent) or ``paper2.csv`` (shares).

    The cells stay texts, so that the method ``none`` is no missing value.
    """
    with files(__name__).joinpath(file).open(encoding="utf-8") as stream:
        return pd.DataFrame(DictReader(stream))
