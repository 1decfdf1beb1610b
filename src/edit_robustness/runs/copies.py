"""Copies of runs at addresses: a run is copied from a data folder to a store, and from there to another data folder.

Copied are the run's own folder, the data sets of its pipeline with the folders of items, and the records of what these
were made from. So the run can be continued or scored again elsewhere. The user's inputs (`01_raw`) and the models are
not copied.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from edit_robustness.locking import RunLock
from edit_robustness.runs.folders import LATEST, PROVENANCE, RECORD, REPORTING, RunFolders, is_id, last_end, read_record
from edit_robustness.runs.stores import LISTING, Listing, Store, StoredFile, is_inside
from edit_robustness.storage import PART, CorruptFile
from edit_robustness.text.closest import did_you_mean

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

_THREADS = 8
"""Files at a time: a small file at an address is mostly waiting."""

_LISTED = 15.0
"""Seconds after which the listing of an incomplete copy is written again: a kill costs no more than that."""


class CopyRefused(ValueError):
    """A copy that cannot be made, or that would replace something else."""


class Progress(Protocol):
    """Passes items on and shows how many of `total` are done, as `progress.track` does."""

    def __call__(self, items: Iterable[T], label: str, total: int) -> Iterator[T]:
        """Pass items on."""
        ...


@dataclass(frozen=True)
class Copy:
    """Outcome of a copy.

    Attributes:
        run: The id of the run.
        files: Number of files of the copy.
        copied: Number of those that were missing or different.
        size: Size of the copy in bytes.
    """

    run: str
    files: int
    copied: int
    size: int

    def __str__(self) -> str:
        return f"run {self.run}: {self.files:,} files ({self.size / 1e6:,.1f} MB), {self.copied:,} of them copied"


def copy_to(store: Store, data: Path, run_id: str, progress: Progress) -> Copy:
    """Copy a run to a store; files that are there already are left as they are, and nothing is removed.

    Args:
        store: The store.
        data: The data folder.
        run_id: The id of a run, or `latest`.
        progress: Shows how many files are done.

    Raises:
        CopyRefused: If there is no such run, a file of it could not be copied back, or the store holds something else
            or a later state of the run.
        FolderInUse: If another command is writing the run's data.
        AddressError: If the store cannot be read or written.
    """
    record = _find(RunFolders(data / REPORTING), run_id)
    run_id, data_sets, sessions = record["id"], _data_sets(record), _sessions(record)
    with _locked(data, record.get("models", ())):
        target_listing = _check_target(store, run_id, sessions)
        paths = dict(_local_files(data, run_id, data_sets))
        if strange_name := next((name for name in paths if not is_inside(name, run_id)), None):
            raise CopyRefused(
                f"{data / strange_name} cannot be copied back: a data set of a run must be in a folder of the data "
                "folder, and its name must be a name on every system. Change its path in the catalog"
            )
        files = dict(_each(lambda name: (name, StoredFile.of(paths[name])), list(paths), "Comparing files", progress))
        kept_files = _keep_in_store(data, {run_id, *record.get("source_runs", ())}, data_sets, files, target_listing)
        files |= kept_files
        sizes = store.sizes()
        names_to_copy = [
            name
            for name in files
            if target_listing.files.get(name) != files[name] or sizes.get(name) != files[name].size
        ]
        if lost_files := [name for name in names_to_copy if name in kept_files]:
            raise CopyRefused(
                f"{store.address}/{lost_files[0]} is missing, and another run has written it anew since: give the "
                f"command of run {run_id} again (`{record.get('repeat')}`), and then copy it"
            )
        goal = Listing(run_id, True, sessions, tuple(record.get("models", ())), data_sets, files)
        if names_to_copy or target_listing != goal:
            _fill(store, goal, paths, names_to_copy, progress)
    return _summary(goal, names_to_copy)


def copy_from(store: Store, data: Path, run_id: str | None, progress: Progress) -> Copy:
    """Copy a run from a store to a data folder; what other runs wrote there is never replaced.

    Args:
        store: The store.
        data: The data folder; it need not exist.
        run_id: The id that the run must have; None for any.
        progress: Shows how many files are done.

    Raises:
        CopyRefused: If the store holds no whole copy of the run, or the data folder a later state or other content.
        FolderInUse: If another command is writing in the data folder.
        AddressError: If the store cannot be read.
        CorruptFile: If a file is not what was copied to the store, or is of no data set of the run.
    """
    listing = _check_source(store, run_id)
    folders = RunFolders(data / REPORTING)
    record = read_record(folders.folder(listing.run))
    if later := set(_sessions(record)) - set(listing.sessions):
        raise CopyRefused(
            f"run {listing.run} was continued in {data} after it was copied to {store.address} ({len(later)} "
            f"commands): copy it there first, or copy it into another data folder (`data` in conf/<env>/globals.yml)"
        )
    with _locked(data, listing.models):
        states = dict(
            _each(
                lambda name: (name, _state(data / name, listing.files[name])),
                [*listing.files],
                "Comparing files",
                progress,
            )
        )
        names_to_copy = _select(data, listing, states)
        for names in _in_order(names_to_copy, listing.run):
            get = _getter(store, data, listing)
            for _ in _each(get, names, _label(listing, names), progress):
                pass
        latest = folders.latest()
        if latest is None or last_end(read_record(folders.folder(listing.run))) > last_end(
            read_record(folders.folder(latest))
        ):
            folders.point(listing.run)
    return _summary(listing, names_to_copy)


def _find(folders: RunFolders, run_id: str) -> dict[str, Any]:
    """Return the record of a run.

    Raises:
        CopyRefused: If there is no such run, with those that there are.
    """
    name = folders.latest() if run_id == LATEST else run_id
    record = read_record(folders.folder(name)) if name and is_id(name) else {}
    if not name or record.get("id") != name:
        runs = [str(record["id"]) for record in folders.records()]
        hint = did_you_mean(run_id, runs) if runs else "there are no runs yet"
        raise CopyRefused(f"no run `{run_id}` in {folders.reporting}; {hint}")
    return record


def _data_sets(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((str(name), str(place)) for name, place in record["data_sets"])
    except (KeyError, TypeError, ValueError):
        raise CopyRefused(
            f"the record of run {record['id']} does not list its data sets: an earlier version wrote it. Give its "
            f"command again (`{record.get('repeat')}`), which computes nothing that is finished"
        ) from None


def _sessions(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(session.get("key")) for session in record.get("sessions", ()))


@contextmanager
def _locked(data: Path, models: Iterable[str]) -> Iterator[None]:
    """Keep runs out of the data folder, as a run would."""
    lock = RunLock()
    lock.acquire(data, {"", *models})
    try:
        yield
    finally:
        lock.release()


def _check_target(store: Store, run_id: str, sessions: Sequence[str]) -> Listing:
    """Return what the store holds of a run; an empty listing if it is empty."""
    target_listing = store.listing()
    if target_listing is None:
        if file_names := sorted(store.sizes()):
            raise CopyRefused(f"{store.address} holds other files ({file_names[0]} ...): name an empty place")
        return Listing(run_id, False, (), (), ())
    if target_listing.run != run_id:
        raise CopyRefused(
            f"{store.address} holds run {target_listing.run}, and each run needs a place of its own: name another"
        )
    if later := set(target_listing.sessions) - set(sessions):
        raise CopyRefused(
            f"{store.address} holds a later state of run {run_id}, which was continued elsewhere ({len(later)} "
            "commands): copy it from there first (--from), or name another place"
        )
    return target_listing


def _check_source(store: Store, run_id: str | None) -> Listing:
    listing = store.listing()
    if listing is None:
        raise CopyRefused(f"{store.address} holds no copy of a run: there is no {LISTING}")
    if run_id is not None and listing.run != run_id:
        raise CopyRefused(f"{store.address} holds run {listing.run}, not {run_id}")
    if not listing.complete:
        raise CopyRefused(
            f"the copy of run {listing.run} in {store.address} is incomplete: the command that made it was "
            "interrupted. Give it again where the run is (`kedro copy-run RUN --to=ADDRESS`)"
        )
    # what no data set holds, `_select` could not tell from a file of another run
    records = {_record_name(data_set) for data_set, _ in listing.data_sets}
    places = {place for _, place in listing.data_sets}
    for name in listing.files:
        path = PurePosixPath(name)
        if not (name.startswith(f"{REPORTING}/") or name in records or {name, *map(str, path.parents)} & places):
            raise CorruptFile(f"{store.address}/{LISTING}: `{name}` is of no data set of the run, and is not copied")
    return listing


def _local_files(data: Path, run_id: str, data_sets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Path]]:
    """Yield every file of a run by its name in the data folder; what a killed run left half written is left out."""
    places = [f"{REPORTING}/{run_id}"]
    for name, place in data_sets:
        # a record that was copied from elsewhere may name any place
        if is_inside(f"{place}/x", run_id) and not place.startswith(f"{REPORTING}/"):
            places += [place, _record_name(name)]
    for place in dict.fromkeys(places):
        path = data / place
        members = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in members:
            if file.is_file() and not file.name.endswith(PART):
                yield file.relative_to(data).as_posix(), file


def _record_name(data_set: str) -> str:
    return f"{PROVENANCE}/{quote(data_set, safe='')}.json"


def _writer(data: Path, data_set: str) -> str:
    """Return the id of the run that last wrote a data set; empty if it is unknown."""
    try:
        record = json.loads((data / _record_name(data_set)).read_text(encoding="utf-8"))
        return str(record.get("run") or "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def _of_data_set(names: Iterable[str], data_set: str, place: str) -> list[str]:
    """Return the files of a data set, its record of what it was made from among them."""
    record = _record_name(data_set)
    return [name for name in names if name in (place, record) or name.startswith(f"{place}/")]


def _keep_in_store(
    data: Path,
    runs: Collection[str],
    data_sets: Iterable[tuple[str, str]],
    files: dict[str, StoredFile],
    target_listing: Listing,
) -> dict[str, StoredFile]:
    """Return the files in the store of data sets that another run has written since, and take them from `files`."""
    kept_files: dict[str, StoredFile] = {}
    other_writers: dict[str, str] = {}
    for data_set, place in data_sets:
        writer = _writer(data, data_set)
        if not writer or writer in runs:
            continue
        names = _of_data_set(target_listing.files, data_set, place)
        # in an incomplete copy, a data set is whole if its record is there (`_fill`)
        if not names or not (target_listing.complete or _record_name(data_set) in names):
            other_writers[data_set] = writer
            continue
        for name in _of_data_set(list(files), data_set, place):
            del files[name]
        kept_files |= {name: target_listing.files[name] for name in names}
    if kept_files:
        logger.info(
            "%d files in the copy stay as they are: another run has written their data sets since", len(kept_files)
        )
    if other_writers:
        data_set, writer = next(iter(other_writers.items()))
        logger.warning(
            "%d data sets were last written by other runs (%s by %s): if their settings differ, the copy can be read "
            "but not scored again",
            *(len(other_writers), data_set, writer),
        )
    return kept_files


def _fill(
    store: Store, goal: Listing, paths: Mapping[str, Path], names_to_copy: Sequence[str], progress: Progress
) -> None:
    """Write files to the store; the listing says that the copy is incomplete until the last is checked.

    Until then it names the record of a data set only if it names all files of the data set.
    """
    pending_names = set(names_to_copy)
    for data_set, place in goal.data_sets:
        if not pending_names.isdisjoint(_of_data_set(goal.files, data_set, place)):
            pending_names.add(_record_name(data_set))
    files = {name: entry for name, entry in goal.files.items() if name not in pending_names}
    # of a copy that is killed, the next command can tell what is there
    store.write_listing(replace(goal, complete=False, files=files))
    last = time.monotonic()

    def put(name: str) -> str:
        store.put(paths[name], name)
        return name

    for group in _in_order(names_to_copy, goal.run):
        with closing(_each(put, group, _label(goal, group), progress)) as names:
            for name in names:
                files[name] = goal.files[name]
                if time.monotonic() - last > _LISTED:
                    last = time.monotonic()
                    store.write_listing(replace(goal, complete=False, files=files))
    store.check_sizes(goal.files, names_to_copy)
    store.write_listing(goal)


def _state(path: Path, entry: StoredFile) -> str:
    """Return how a file here is to the one in the store: `missing`, `same` or `other`."""
    if not path.is_file():
        return "missing"
    is_same = path.stat().st_size == entry.size and StoredFile.of(path) == entry
    return "same" if is_same else "other"


def _select(data: Path, listing: Listing, states: Mapping[str, str]) -> list[str]:
    """Return the files to copy from a store.

    Raises:
        CopyRefused: If the data folder holds other content that this run did not write.
    """
    names_to_copy = [name for name, state in states.items() if state != "same"]
    skipped_names: set[str] = set()
    conflicts: dict[str, str] = {}
    for data_set, place in listing.data_sets:
        record, names = _record_name(data_set), _of_data_set(listing.files, data_set, place)
        content = [states[name] for name in names if name != record]
        writer = _writer(data, data_set)
        if record not in listing.files:
            # answers of the web and the like, which any run may use: those here stay
            skipped_names.update(name for name in names if states[name] == "other")
        elif "other" in content and writer != listing.run:
            conflicts[data_set] = f"run {writer}" if writer else "an unknown run"
        elif states.get(record) == "other" and set(content) == {"same"}:
            # two runs share the data set, and it stays with the one here
            skipped_names.add(record)
    if conflicts:
        data_set, writer = next(iter(conflicts.items()))
        raise CopyRefused(
            f"{data} holds other content in {len(conflicts)} data sets of run {listing.run} (`{data_set}` of {writer} "
            "...), which would be lost: copy the run into another data folder (`data` in conf/<env>/globals.yml)"
        )
    return [name for name in names_to_copy if name not in skipped_names]


def _in_order(names: Iterable[str], run_id: str) -> Iterator[list[str]]:
    """Yield the files in the order in which they may appear: the run exists once its record does."""
    record = f"{REPORTING}/{run_id}/{RECORD}"
    late = (f"{PROVENANCE}/", f"{REPORTING}/")
    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name in names:
        groups[2 if name == record else 1 if name.startswith(late) else 0].append(name)
    yield from filter(None, groups)


def _getter(store: Store, data: Path, listing: Listing) -> Callable[[str], None]:
    return lambda name: store.get(name, data / name, listing.files[name])


def _each(function: Callable[[T], R], items: Sequence[T], label: str, progress: Progress) -> Generator[R]:
    """Yield the results of a function, several at a time and in no order; after an error nothing more is begun."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures: list[Future[R]] = [pool.submit(function, item) for item in items]
        try:
            for future in progress(as_completed(futures), label, len(futures)):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _label(listing: Listing, names: Iterable[str]) -> str:
    return f"Copying files ({sum(listing.files[name].size for name in names) / 1e6:,.1f} MB)"


def _summary(listing: Listing, names_to_copy: Collection[str]) -> Copy:
    return Copy(listing.run, len(listing.files), len(names_to_copy), sum(file.size for file in listing.files.values()))
