"""Parameters of parity: which methods are compared, and what both codes get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import PositiveInt, StringConstraints, ValidationError
from pydantic.dataclasses import dataclass

from edit_robustness.editing.easyedit.process import Installation
from edit_robustness.editing.method import Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.easyedit import EasyEdit, Expressible
from edit_robustness.setting_types import STRICT
from edit_robustness.text.closest import did_you_mean

_Text = Annotated[str, StringConstraints(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Pair:
    """A method of this project and one of EasyEdit that are compared.

    Attributes:
        method: The method's name in EasyEdit.
        hparams: File of its hyperparameters in EasyEdit's format.
        settings: Hyperparameters of this project's method that replace those of `methods`, so that both codes compute
            the same.
    """

    method: Expressible
    hparams: _Text
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class ParityParameters:
    """Parameters of parity.

    Attributes:
        pairs: For each model and each of this project's methods, EasyEdit's method; null for one that is left out.
        clone: Folder of the clone of EasyEdit; empty if there is none.
        python: The Python of its environment.
        size: Number of facts.
        seed: Seed of the choice of facts and prompts.
        share: Whether EasyEdit gets this project's second moments and contexts. If not, it makes its own, and edits
            differ by them, too.
        paraphrases: Maximum number of paraphrases per fact.
        neighbours: Maximum number of prompts per fact about other subjects of the same relation.
    """

    pairs: Mapping[str, Mapping[str, Pair | None] | None]
    clone: str = ""
    python: str = "python"
    size: PositiveInt = 10
    seed: int = 0
    share: bool = True
    paraphrases: PositiveInt = 2
    neighbours: PositiveInt = 2

    def of_model(self, model: str) -> dict[str, Pair]:
        """Return the pairs of a model by this project's method."""
        return {name: pair for name, pair in (self.pairs.get(model) or {}).items() if pair is not None}

    def easyedit(self, model: str, name: str) -> EasyEdit:
        """Return EasyEdit's method beside one of this project.

        Raises:
            ValueError: If it cannot be used here.
        """
        pair = self.of_model(model)[name]
        return EasyEdit(clone=self.clone, python=self.python, method=pair.method, hparams=pair.hparams)

    def ours(self, methods: Mapping[str, Any], model: str, name: str) -> Method:
        """Return this project's method with the hyperparameters of the comparison.

        Args:
            methods: The parameter `methods`.
            model: The model.
            name: The method.

        Raises:
            ValueError: If there are no hyperparameters, or the method needs more than running text.
        """
        where = f"parity.pairs.{model}.{name}"
        if name not in METHODS:
            raise ValueError(f"{where}: no method `{name}`; {did_you_mean(name, METHODS)}")
        settings = (methods.get(name) or {}).get(model)
        if settings is None:
            raise ValueError(f"methods.{name}.{model}: there are no hyperparameters for {where}; set them")
        plain = settings.settings() if isinstance(settings, Method) else settings
        method = METHODS[name](**{**plain, **self.of_model(model)[name].settings})
        if "facts" in method.learns_from or method.edits_need_artefact or method.is_in_context:
            raise ValueError(f"{where}: `{name}` cannot be compared here: it learns from facts or adds text to prompts")
        return method

    def problems(self, methods: Mapping[str, Any], model: str) -> Iterator[str]:
        """Yield what is wrong with the clone and the pairs of a model."""
        if not self.clone:
            yield (
                "parity.clone: it is not set: give the folder of your clone of EasyEdit and the Python of its "
                'environment, --params="parity.clone=../EasyEdit,parity.python=../EasyEdit/.venv/bin/python"'
            )
            return
        for name in self.of_model(model):
            where = f"parity.pairs.{model}.{name}"
            try:
                self.ours(methods, model, name)
                installation: Installation = self.easyedit(model, name).installation
            except ValidationError as error:
                for wrong in error.errors():
                    yield f"{where}.settings.{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
                continue
            except ValueError as error:
                yield str(error)
                continue
            for problem in installation.problems():
                of_all = problem.startswith(("clone", "python"))
                yield f"parity.{problem}" if of_all else f"{where}.{problem}"
