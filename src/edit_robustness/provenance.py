"""Records of what each stored data set was computed from, so that runs of other settings are never mixed.

A run that starts in the middle (`--from-nodes`, `--namespaces`, `rescore`, `bake` ...) reads data sets that an earlier
run wrote. Beside each data set that a node writes, `Records` stores what it follows from: every parameter and every
source (raw data, language models) that any of its ancestors reads, and the versions of the rooms whose code decides
what kept files hold. Before a run, `Records.check` compares this with the settings of the run and with the code.
"""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import AbstractDataset, CatalogProtocol, MemoryDataset
from kedro.io.core import AbstractVersionedDataset
from kedro.pipeline import Pipeline

from edit_robustness.datasets.folders import FolderDataset, Manifest, StoredItem
from edit_robustness.origins import Leaves, Origins
from edit_robustness.runs.folders import LATEST, PROVENANCE, REPORTING, is_id
from edit_robustness.storage import file_checksum, make_folder, remove_file, remove_parts, write_text
from edit_robustness.versions import ROOMS

logger = logging.getLogger(__name__)

_SHOWN = 4
"""Differing settings, or data sets, that an error names."""

_WIDTH = 80
"""Characters of a value in an error."""


class OtherRun(ValueError):
    """A stored data set that a run needs, and that does not follow from its settings or cannot be trusted."""


class Records:
    """The records of a data folder, for one run.

    Args:
        folder: The data folder.
        catalog: The catalog of the run.
        origins: What data sets follow from.
        names: The pipelines that are run.
        options: The options of the run that leave nodes out, as on the command line.
        run: The id of the run, which each record of a data set names.
    """

    def __init__(
        self,
        folder: Path,
        catalog: CatalogProtocol[Any, AbstractDataset[Any, Any]],
        origins: Origins,
        names: Sequence[str],
        options: Sequence[str],
        run: str = "",
    ):
        self._folder, self._catalog, self._origins = folder / PROVENANCE, catalog, origins
        self._names, self._options, self._run = names, options, run
        self._reporting = folder / REPORTING
        self._keep_stale = origins.settings.parameters.get("keep_stale") is True
        self._read: dict[str, dict[str, Any]] = {}
        self._stale: set[str] = set()

    def check(self, pipeline: Pipeline) -> None:
        """Refuse a run that would read a stored data set that does not follow from its settings.

        Args:
            pipeline: The nodes that are run.

        Raises:
            OtherRun: Naming the data sets, what differs, and how to go on.
        """
        stored_inputs = [name for name in sorted(pipeline.inputs()) if self._origins.makers(name)]
        self._refuse("are not stored between runs", [name for name in stored_inputs if not self._is_stored(name)])
        self._refuse("are not stored yet", [name for name in stored_inputs if not self._dataset(name).exists()])
        records = {name: self._record(name) for name in stored_inputs}
        without_record = [name for name, record in records.items() if not record]
        self._refuse("have no record of what they were made from", without_record)
        other_runs = {name: changes for name, record in records.items() if (changes := self._changes(name, record))}
        differences = _join_first(
            {
                leaf: f"{leaf} (then {old}, now {new})"
                for run_changes in other_runs.values()
                for leaf, (old, new) in run_changes.items()
            }
        )
        self._refuse("were made with other settings", list(other_runs), differences, "or set them back")
        self._check_versions(records)
        corrupt = [name for name, record in records.items() if record["checksum"] != self._checksum(name)]
        files = [str(self._file(name)) for name in corrupt]
        self._refuse("are damaged, or were changed after a run wrote them", corrupt, ", ".join(files[:_SHOWN]))
        self._read = records

    @property
    def source_runs(self) -> set[str]:
        """Return the ids of the runs that wrote the data sets that this run starts from."""
        return {str(record["run"]) for record in self._read.values() if record.get("run")}

    def _check_versions(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse tables of another version of the project, or with `keep_stale` log which are used."""
        # files of folders have versions of their own
        tables = [name for name in records if not self._is_folder(name)]
        old = [name for name in tables if records[name].get("versions") != ROOMS]
        if not self._keep_stale:
            self._refuse("were made by another version of this project", old, also="or use --params=keep_stale=true")
        elif old:
            names = _join_first({name: f"`{name}`" for name in old})
            logger.warning("using data sets that were made by another version of this project (keep_stale): %s", names)
        self._stale.update(old)

    def confirm(self, dataset: str, data: object = None) -> None:
        """Stop if a data set that the run starts from was written anew after the check; note whether it is stale.

        Another run may write what this one only reads: it locks its own models alone.

        Args:
            dataset: The name of a data set that was loaded.
            data: What was loaded.

        Raises:
            OtherRun: Naming the data set.
        """
        if dataset in self._read and self._record(dataset) != self._read[dataset]:
            raise OtherRun(
                f"another run wrote `{dataset}` while this one was reading it: run this one again after the end of that"
            )
        items = data.values() if isinstance(data, dict) else ()
        if any(isinstance(item, StoredItem) and "stale" in item.header for item in items):
            self._stale.add(dataset)

    def forget(self, dataset: str, data: object) -> None:
        """Remove the record of a data set that is about to be written."""
        if self._begins(dataset, data):
            path = self._path(dataset)
            make_folder(path.parent)
            remove_parts(path.parent, glob.escape(path.name))
            remove_file(path)

    def remember(self, dataset: str, data: object, inputs: Sequence[str] = ()) -> None:
        """Write the record of a data set that was just written; of a folder, once its manifest is.

        Args:
            dataset: Its name.
            data: What was written.
            inputs: The data sets that it was made from. If one is stale, so is this.
        """
        if self._stale.intersection(inputs):
            self._stale.add(dataset)
        if not self._begins(dataset, data):
            return
        make_folder(self._path(dataset).parent)
        follows = self._origins.follows(dataset, self._pipelines(dataset)[0])
        versions = None if dataset in self._stale else ROOMS
        record = {"checksum": self._checksum(dataset), "follows": follows, "versions": versions, "run": self._run}
        write_text(self._path(dataset), json.dumps(record, ensure_ascii=False))

    def _refuse(self, wrong: str, datasets: Sequence[str], details: str = "", also: str = "") -> None:
        if datasets:
            names = _join_first({name: f"`{name}`" for name in datasets})
            ways = ", ".join(way for way in (self._way_out(datasets), also) if way)
            raise OtherRun(f"this run reads data sets that {wrong} ({names}): {details}{'; ' * bool(details)}{ways}")

    def _changes(self, name: str, record: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Return the settings in which a record differs from this run; empty if any pipeline computes the same."""
        settings = [self._origins.follows(name, pipeline) for pipeline in self._pipelines(name)]
        return {} if record["follows"] in settings else _differences(record["follows"], settings[0])

    def _pipelines(self, dataset: str) -> list[str]:
        """Return the pipelines that may have made a data set: those of this run if they make it, or any other."""
        makers = self._origins.makers(dataset)
        return [name for name in makers if name in self._names] or makers

    def _way_out(self, datasets: Sequence[str]) -> str:
        dataset = datasets[0]
        makers = self._pipelines(dataset)
        # one that makes them all, where there is one
        makers = [name for name in makers if all(name in self._origins.makers(source) for source in datasets)] or makers
        if not self._is_stored(dataset):
            return f"let it start from `{self._origins.maker(dataset, makers[0]).name}`, too"
        if set(makers) & set(self._names) and self._options:
            return f"run the pipeline without {', '.join(self._options)}, which makes them anew"
        pipelines = dict.fromkeys(
            name for source in datasets for name in self._pipelines(source) if name != "__default__"
        )
        # several pipelines make what is common to all; the right one makes the rest, too
        best = max(pipelines or makers, key=lambda name: sum(name in self._pipelines(source) for source in datasets))
        return f"run `kedro run --pipeline={best}` with these settings first, which makes them anew"

    def _begins(self, dataset: str, data: object) -> bool:
        """Return whether saving this data is what makes a stored data set one of this run."""
        if not self._origins.makers(dataset) or not self._is_stored(dataset):
            return False
        return isinstance(data, Manifest) or not self._is_folder(dataset)

    def _is_folder(self, name: str) -> bool:
        return isinstance(self._dataset(name), FolderDataset)

    def _is_stored(self, name: str) -> bool:
        return not isinstance(self._catalog.get(name), (MemoryDataset, type(None)))

    def _dataset(self, name: str) -> AbstractDataset[Any, Any]:
        dataset = self._catalog.get(name)
        assert dataset is not None
        return dataset

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record = json.loads(self._path(name).read_text(encoding="utf-8"))
            sound = "checksum" in record and isinstance(record["follows"], dict)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}
        return record if sound else {}

    def _path(self, name: str) -> Path:
        """Return the path of the record of a data set; each run's folder has its own records."""
        file, folder = self._file(name), self._folder
        if file is not None and file.is_relative_to(self._reporting):
            first = file.relative_to(self._reporting).parts[0]
            folder = self._reporting / first / PROVENANCE if is_id(first) or first == LATEST else folder
        return folder / f"{quote(name, safe='')}.json"

    def _checksum(self, name: str) -> str | None:
        file = self._file(name)
        return file_checksum(file) if file is not None and file.is_file() else None

    def _file(self, name: str) -> Path | None:
        """Return the file of a data set of one file, or the manifest of a folder; None without such a local file."""
        dataset = self._dataset(name)
        if isinstance(dataset, FolderDataset):
            return dataset.manifest_path
        if isinstance(dataset, AbstractVersionedDataset) and getattr(dataset, "_protocol", "") == "file":
            return Path(dataset._get_load_path())
        return None


def _differences(old: Leaves, new: Leaves) -> dict[str, tuple[str, str]]:
    """Return both values of each setting that differs, as an error shows them."""
    names = [*new, *(leaf for leaf in old if leaf not in new)]
    return {
        leaf: (_shorten(old, leaf), _shorten(new, leaf))
        for leaf in names
        if leaf not in old or leaf not in new or old[leaf] != new[leaf]
    }


def _shorten(leaves: Leaves, leaf: str) -> str:
    if leaf not in leaves:
        return "absent"
    text = json.dumps(leaves[leaf], ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def _join_first(texts: Mapping[str, str]) -> str:
    """Return the first texts, and how many more there are."""
    ending = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(list(texts.values())[:_SHOWN]) + ending
