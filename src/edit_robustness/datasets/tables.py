"""Kedro's datasets of single files, saved atomically: after a kill a file has its old content or its new one.

Nodes write these. On an object store (a filepath with a protocol, such as `s3://`) Kedro's own write is used, and only
one run may write there at a time.
"""

from __future__ import annotations

import glob
import inspect
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pandas as pd
from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.plotly import JSONDataset as PlotlyDataset
from kedro_datasets.text import TextDataset

from edit_robustness.datasets.spreadsheet import SpreadsheetSafe, spreadsheet
from edit_robustness.storage import make_folder, remove_file, remove_parts, write_atomically


class Atomic:
    """Mixin for a dataset of one file: it writes to a part file, which is synced and renamed.

    Put it before Kedro's class. Arguments, loading and previews are those of Kedro's class.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class a constructor with a signature, by which `kedro catalog resolve-patterns` names arguments."""
        parent_init = cls.__init__

        @wraps(parent_init)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            parent_init(self, *args, **kwargs)

        init.__signature__ = inspect.signature(parent_init)  # type: ignore[attr-defined]
        cls.__init__ = init  # type: ignore[method-assign]
        super().__init_subclass__(**options)

    def save(self, data: Any) -> None:
        """Save the data as Kedro's class does, to a part file first."""
        dataset: Any = self
        if dataset._protocol != "file":
            super().save(data)  # type: ignore[misc]
            return
        path = Path(dataset._get_save_path())
        make_folder(path.parent)
        remove_parts(path.parent, glob.escape(path.name))

        def write(part: Path) -> None:
            part_dataset = dataset._copy(_filepath=PurePosixPath(part), _version=None)
            super(Atomic, part_dataset).save(data)  # type: ignore[misc]

        write_atomically(path, write)


class ParquetTable(Atomic, ParquetDataset):
    """A table as Parquet, with the arguments of `kedro_datasets.pandas.ParquetDataset`."""


class ReportTable(ParquetTable):
    """A table that people look at: as Parquet, and for spreadsheets as CSV of the same name beside it.

    The Parquet file is the table; nothing reads the other one.
    """

    def save(self, data: pd.DataFrame) -> None:
        """Save the table in both forms; if either cannot be written, the old files stay."""
        dataset: Any = self
        path = dataset._get_save_path().with_suffix(".csv")
        text = spreadsheet(data)
        if dataset._protocol != "file":
            super().save(data)
            with dataset._fs.open(str(path), "wb") as file:
                file.write(text.encode("utf-8"))
            return
        make_folder(Path(path).parent)
        remove_parts(Path(path).parent, glob.escape(path.name))

        def write(part: Path) -> None:
            # pandas ends the lines as this system does
            part.write_text(text, encoding="utf-8", newline="")
            # before the other file is put in its place, so that none of them is replaced if one cannot be written
            super(ReportTable, self).save(data)

        write_atomically(Path(path), write)


class LongReportTable(ReportTable):
    """A table of many rows: as Parquet, and as CSV beside it only if a spreadsheet can open it well."""

    MOST_ROWS: ClassVar[int] = 100_000
    """Rows of a table that is written as CSV, too."""

    def save(self, data: pd.DataFrame) -> None:
        """Save the table; one that is too long for CSV leaves no CSV of an earlier run behind."""
        if len(data) <= self.MOST_ROWS:
            super().save(data)
            return
        dataset: Any = self
        path = dataset._get_save_path().with_suffix(".csv")
        if dataset._protocol == "file":
            remove_file(Path(path))
        elif dataset._fs.exists(str(path)):
            dataset._fs.rm(str(path))
        # the parent's `save` would write CSV again
        super(ReportTable, self).save(data)


class CsvTable(Atomic, SpreadsheetSafe, CSVDataset):
    """A table as CSV that a spreadsheet may open, with the arguments of `kedro_datasets.pandas.CSVDataset`."""


class JsonFile(Atomic, JSONDataset):
    """Plain values as JSON, with the arguments of `kedro_datasets.json.JSONDataset`."""


class PredictorFile(JsonFile):
    """A predictor of edits (`statistics.predictor`), as JSON, which an analysis writes."""

    def load(self) -> Any:
        """Return the content of the file.

        Raises:
            DatasetError: If there is no file, with the command that makes one, or if it is not JSON.
        """
        dataset: Any = self
        path = dataset._get_load_path()
        if not dataset._fs.exists(str(path)):
            raise DatasetError(
                f"there is no predictor at {path}: make one with `kedro run` on at least 100 facts "
                "(--params=sample.size=...), or give a file with --params=predictor_path=..."
            )
        try:
            return super().load()
        except ValueError as error:
            raise DatasetError(f"{path}: not a predictor in JSON ({error}); make it again with `kedro run`") from error


class CheckRecord(JsonFile):
    """The result of a check, as JSON. Its readers wait for the check and take nothing from it."""


class TextFile(Atomic, TextDataset):
    """A text, such as a page, with the arguments of `kedro_datasets.text.TextDataset`."""


class Figure(Atomic, PlotlyDataset):
    """A Plotly figure as JSON, with the arguments of `kedro_datasets.plotly.JSONDataset`."""
