"""A process that edits with a clone of EasyEdit: started for some edits, asked for one at a time, ended after the last.

The model's own weights are exported for it, so that both codes edit the same numbers. Requests and answers are lines of
JSON, and tensors are safetensors files in a temporary folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Self

import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from edit_robustness.editing.edits import Codebook, Dense, Edit, LowRank
from edit_robustness.editing.exchange.export import save_model
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact
from edit_robustness.storage import checksum

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("script.py")
URL = "https://github.com/zjunlp/EasyEdit"

_ALGORITHMS = Path("easyeditor", "util", "alg_dict.py")
_LAST_LINES = 8
_SEPARATOR = ". "
_MOMENTS = "moments.safetensors"


class EasyEditFailed(RuntimeError):
    """A clone of EasyEdit, or what it needs, that cannot make an edit."""


@dataclass(frozen=True)
class Installation:
    """A clone of EasyEdit with one of its methods, as the user names them.

    Attributes:
        clone: Folder of the clone.
        python: The Python of its environment: a path, or the name of a command.
        method: The method's name in EasyEdit.
        hparams: File of its hyperparameters.
    """

    clone: str
    python: str
    method: str
    hparams: str

    @property
    def program(self) -> str:
        """Return the full path of the Python; empty if there is none."""
        program = shutil.which(self.python)
        # not resolved: the link of a virtual environment is what finds its packages
        return str(Path(program).absolute()) if program else ""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the paths, each beginning with the name of a setting."""
        clone, hparams = Path(self.clone), Path(self.hparams)
        if list(clone.glob("easyeditor-*.dist-info")):
            yield (
                f"clone: {clone} holds the PyPI release of easyeditor, which is of 2023 and needs torch 2.0: clone "
                f"{URL} and name its folder"
            )
        elif not (clone / _ALGORITHMS).is_file():
            parent = clone.resolve().parent
            hint = f"name {parent}" if (parent / _ALGORITHMS).is_file() else f"git clone {URL}, and name its folder"
            reason = "there is no such folder" if not clone.is_dir() else f"it has no {_ALGORITHMS}"
            yield f"clone: {clone} is not a clone of EasyEdit ({reason}): {hint}"
        if not self.program:
            yield f"python: {self.python} cannot be run: give the path of the Python with which you run EasyEdit"
        if not hparams.is_file():
            inside = clone / hparams
            hint = f"write {inside}" if inside.is_file() else "paths begin at the project's folder, not at the clone's"
            yield f"hparams: there is no file {hparams}: {hint}"
        elif hparams.suffix != ".yaml":
            yield f"hparams: EasyEdit reads files that end in .yaml, and this is {hparams}: rename it"
        else:
            yield from self._misnamed(hparams)

    def _misnamed(self, hparams: Path) -> Iterator[str]:
        try:
            content = yaml.safe_load(hparams.read_text("utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            yield f"hparams: {hparams} cannot be read ({' '.join(str(error).split())}): correct it"
            return
        name = content.get("alg_name", content.get("alg")) if isinstance(content, Mapping) else None
        if name != self.method:
            yield f"hparams: {hparams} is of `alg_name: {name}`, and `method` is {self.method}: change one of them"

    def settings(self) -> dict[str, str]:
        """Return checksums of what edits follow from besides the paths: the hyperparameters and the clone's code."""
        code = [path.read_bytes() for path in sorted(Path(self.clone, "easyeditor").rglob("*.py"))]
        path = Path(self.hparams)
        hparams = [path.read_bytes()] if path.is_file() else []
        return {"hparams_checksum": checksum(*hparams), "clone_checksum": checksum(*code)}


@dataclass(frozen=True)
class CloneInputs:
    """Inputs that the clone gets from this project instead of making them.

    Attributes:
        moments: Second moments of keys by site, (d_in, d_in); empty if the clone takes its own.
        contexts: Texts that stand before the statements; None if the clone writes its own.
    """

    moments: Mapping[Site, Tensor] = field(default_factory=dict)
    contexts: Sequence[str] | None = None


@dataclass(frozen=True)
class TimedEdit:
    """An edit with what it took in the clone's process, without starting it.

    Attributes:
        edit: The edit.
        seconds: Wall time.
        cpu_seconds: CPU time of all threads.
    """

    edit: Edit
    seconds: float
    cpu_seconds: float


class CloneProcess:
    """A running process of a clone.

    Args:
        installation: The clone and the method.
        folder: Folder for its files.
        name: Name of the model in log lines.
        model: Folder of the exported model; empty to import the clone only.
        moments: File of second moments by module; empty if the clone takes its own.
        contexts: Texts that stand before the statements; None if the clone writes its own.

    Raises:
        EasyEditFailed: If it cannot be started, or the clone cannot be imported.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        *,
        name: str = "",
        model: str = "",
        moments: str = "",
        contexts: Sequence[str] | None = None,
    ):
        self._installation, self._name, self._output = installation, name, folder / "output.log"
        clone = Path(installation.clone).resolve()
        job = {
            "clone": str(clone),
            "method": installation.method,
            "hparams": str(Path(installation.hparams).resolve()),
            "folder": model,
            "moments": moments,
            "contexts": None if contexts is None else list(contexts),
        }
        path = folder / "job.json"
        path.write_text(json.dumps(job, ensure_ascii=False), "utf-8")
        # libraries of this environment must not stand before those of EasyEdit's
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        try:
            with self._output.open("w", encoding="utf-8") as output:
                self._process = Popen(
                    [installation.program or installation.python, str(SCRIPT), str(path)],
                    cwd=clone,  # files that EasyEdit names relatively are in its clone
                    env=environment,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=output,
                    text=True,
                    encoding="utf-8",
                )
        except OSError as error:
            raise EasyEditFailed(f"EasyEdit's process cannot be started: {error}") from error
        self._receive()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer; notes on the way are logged.

        Raises:
            EasyEditFailed: If the process refuses the request, fails or ends; it has ended then.
        """
        stream = self._process.stdin
        with suppress(OSError):  # what ended is told by `_receive`
            stream.write(json.dumps(request, ensure_ascii=False) + "\n")  # type: ignore[union-attr]
            stream.flush()  # type: ignore[union-attr]
        return self._receive()

    def end(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.kill()
        self._process.wait()

    def _receive(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            message: dict[str, Any] = json.loads(line)
            if message["kind"] == "note":
                logger.warning("%s: EasyEdit: %s", self._name, message["text"])
            elif message["kind"] in ("ready", "edit"):
                return message
            else:
                raise self._failure(message)
        end = _describe_end(self._process.wait())
        raise self._failure({"text": f"its process ended ({end})", "kind": "failed"})

    def _failure(self, message: Mapping[str, Any]) -> EasyEditFailed:
        self.end()
        text = self._output.read_text("utf-8", errors="replace")
        lines = deque((line.rstrip() for line in text.splitlines() if line.strip()), maxlen=_LAST_LINES)
        # what is refused is told in full; of a failure the output has more
        end = f"; the last lines of its output: {' | '.join(lines)}" if message["kind"] == "failed" and lines else ""
        subject = f"EasyEdit's {self._installation.method}" if message["kind"] == "failed" else "EasyEdit"
        return EasyEditFailed(f"{subject}: {message['text']}{end}")


def check_import(installation: Installation) -> None:
    """Import a clone and read the hyperparameters, in a process that then ends.

    Raises:
        EasyEditFailed: If that fails.
    """
    with tempfile.TemporaryDirectory(prefix="easyedit-") as folder:
        CloneProcess(installation, Path(folder)).end()


class Session:
    """Edits of one model by a process of a clone. It starts with the first edit, and ends with the `with` block.

    After an error the next edit starts another one, with the same weights.

    Args:
        installation: The clone and the method.
        lm: The model. Its weights are exported once, by `export` or before the first edit.
        inputs: Inputs that the clone gets from this project.
    """

    def __init__(self, installation: Installation, lm: LanguageModel, inputs: CloneInputs = CloneInputs()):
        self._installation, self._lm, self._inputs = installation, lm, inputs
        self._process: CloneProcess | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None

    def edit(self, facts: Sequence[Fact], *, weights: Mapping[Site, Tensor], continues: bool = False) -> TimedEdit:
        """Edit some facts at once.

        Args:
            facts: The facts.
            weights: Weights (d_out, d_in) in which the model may differ from the exported one, by earlier edits.
            continues: Whether the state that the last edit left in the process is kept.

        Raises:
            EasyEditFailed: If the process cannot be started, refuses the edit, or ends.
        """
        folder = self.export()
        weights_file, output = folder / "weights.safetensors", folder / "output.safetensors"
        request = {
            "facts": [describe(fact, number) for number, fact in enumerate(facts)],
            "weights": str(weights_file) if weights else "",
            "continues": continues,
            "output": str(output),
        }
        if weights:
            layout = self._lm.layout
            tensors = {f"{layout.module(site)}.weight": _turned(layout.transposed, w) for site, w in weights.items()}
            save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, weights_file)
        message = self._ask(request)
        tensors = load_file(output)
        output.unlink()
        return TimedEdit(self._read(message, tensors), message["seconds"], message["cpu_seconds"])

    def export(self) -> Path:
        """Export the model's present weights for the process, if that is not done yet, and return the folder."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="easyedit-")
            folder = Path(self._folder.name)
            save_model(self._lm, folder / "model")
            if moments := self._inputs.moments:
                module = self._lm.layout.module
                tensors = {module(site): moment.float().contiguous() for site, moment in moments.items()}
                save_file(tensors, folder / _MOMENTS)
        return Path(self._folder.name)

    def close(self) -> None:
        """End the process and remove its files."""
        process, self._process = self._process, None
        if process is not None:
            process.end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the process, which is started if it does not run."""
        process, self._process = self._process or self._start(), None
        message = process.ask(request)
        self._process = process  # not after an error, which has ended it
        return message

    def _start(self) -> CloneProcess:
        folder, contexts = self.export(), self._inputs.contexts
        return CloneProcess(
            self._installation,
            folder,
            name=self._lm.name,
            model=str(folder / "model"),
            moments=str(folder / _MOMENTS) if self._inputs.moments else "",
            # the clone ends a context with a full stop and a space itself
            contexts=None if contexts is None else [text.removesuffix(_SEPARATOR) for text in contexts],
        )

    def _read(self, message: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Edit:
        if message["form"] == "codebook":
            site, labels = self._site(message["module"]), tuple(message["labels"])
            return Codebook(site, tensors["keys"], tensors["values"], tensors["radii"], labels)
        is_transposed, names = self._lm.layout.transposed, sorted({name.rpartition(".")[0] for name in tensors})
        sites = {name: self._site(name.removesuffix(".weight"), name) for name in names}
        if all(f"{name}.left" in tensors for name in names):
            pairs = {site: (tensors[f"{name}.left"], tensors[f"{name}.right"]) for name, site in sites.items()}
            return LowRank(
                {
                    site: (right_factor.T.contiguous(), left_factor.T.contiguous())
                    if is_transposed
                    else (left_factor, right_factor)
                    for site, (left_factor, right_factor) in pairs.items()
                }
            )
        return Dense({site: _turned(is_transposed, _whole(name, tensors)).contiguous() for name, site in sites.items()})

    def _site(self, module: str, name: str = "") -> Site:
        site = self._lm.layout.site(module)
        if site is None or name == module:
            parts = ", ".join(sorted({self._lm.layout.module(Site(0, part)) for part in self._lm.shape.parts}))
            raise EasyEditFailed(
                f"EasyEdit's {self._installation.method} changes `{name or module}`, and edits here are of the weights "
                f"of MLPs and attention ({parts}, and the same in other layers): choose another method or "
                f"other layers in {self._installation.hparams}"
            )
        return site


def describe(fact: Fact, number: int) -> dict[str, Any]:
    """Return a fact as a request in EasyEdit's form, with the subject in the prompt as its editor takes it."""
    return {
        "case_id": number,
        "prompt": fact.statement,
        "subject": fact.subject,
        "target_new": fact.target_new,
        "ground_truth": fact.target_true or None,
        "rephrase_prompt": fact.paraphrases[0] if fact.paraphrases else fact.statement,
        "portability": {},
        "locality": {},
    }


def _whole(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the change of a weight from what stands for it in a file."""
    change = tensors.get(f"{name}.change")
    return tensors[f"{name}.left"] @ tensors[f"{name}.right"] if change is None else change


def _turned(is_transposed: bool, weight: Tensor) -> Tensor:
    """Return a weight as it is tensors from (d_out, d_in), or the other way round."""
    weight = weight.detach().float().cpu()
    return weight.T if is_transposed else weight


def _describe_end(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"signal {-status}"
