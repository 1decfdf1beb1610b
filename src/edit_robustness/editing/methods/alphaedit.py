"""AlphaEdit: MEMIT inside the null space of what the model knows (Fang et al. 2025, arXiv 2410.02355)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.closed_form import RowMap, least_squares, null_space, projector
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.layerwise import Layerwise
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.second_moments import energy_inside, unread_texts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.setting_types import STRICT

logger = logging.getLogger(__name__)

_HELD_OUT_TOKENS = 16_384


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AlphaEdit(Layerwise):
    """In each layer W' = W + R K^T P (K_p K_p^T P + K K^T P + L2 I)^-1, with R and K as in MEMIT.

    P projects onto the eigenvectors of C, the second moment of the layer's keys over text, with the smallest
    eigenvalues. These are not zero, so the change does affect the layer's output for other keys, in proportion to the
    part of each key that lies inside P. `prepare` measures the size of that part in text that C was not computed from
    (`Artefact.figures`).

    K_p are the keys of earlier edits, which are stored in those edits (`EditHistory.keys`). The released code
    stores K_p K_p^T in a global variable.

    Attributes:
        nullspace_energy: The share of the keys' energy, the trace of C, that may lie inside P. Set this or
            `nullspace_threshold`.
        nullspace_threshold: Eigenvalues of C, the mean of k k^T, below this count as zero, as in the paper. The share
            of the keys' energy below it depends on the model and the layer.
        l2: Weight of the change's squared norm: 1 in the paper's equation, 10 in its released hyperparameters (`L2`).
    """

    name: ClassVar[str] = "alphaedit"

    nullspace_energy: Annotated[float, Field(gt=0, lt=1)] | None = None
    nullspace_threshold: PositiveFloat | None = None
    l2: PositiveFloat

    @model_validator(mode="after")
    def _check_one_measure(self) -> AlphaEdit:
        if (self.nullspace_energy is None) == (self.nullspace_threshold is None):
            state = "none is" if self.nullspace_energy is None else "both are"
            raise ValueError(
                f"alphaedit takes one of nullspace_energy and nullspace_threshold, and {state} set: give one, and "
                "`null` for the other"
            )
        return self

    @property
    def keeps_keys(self) -> bool:
        """Return True: later edits protect the keys."""
        return True

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Compute the projections and the contexts, and measure the share of held-out text's key energy inside P."""
        artefact = super().prepare(lm, corpus)
        held_out_texts = unread_texts(lm, corpus.texts, self.mom2_tokens)
        projections = {site: self._projector(site, artefact) for site in self.key_sites}
        shares, tokens = energy_inside(lm, held_out_texts, projections, tokens=_HELD_OUT_TOKENS)
        if not tokens:
            logger.warning(
                "%s: alphaedit's mom2_tokens: %d reads the whole corpus, so that no text is left to measure on what "
                "its changes touch: lower it, or give the corpus more text",
                lm.name,
                self.mom2_tokens,
            )
        figures = {
            "held_out_energy": {str(site): round(share, 4) for site, share in shares.items()},
            "held_out_tokens": tokens,
        }
        return replace(artefact, figures={**artefact.figures, **figures})

    def condense(self, site: Site, moments: Tensor) -> dict[str, Tensor]:
        """Return a basis of the null space, or of its complement if that has fewer dimensions."""
        basis, spans = null_space(moments, threshold=self.nullspace_threshold, energy=self.nullspace_energy)
        return {f"{site}.{'null_space' if spans else 'complement'}": basis}

    def directions(self, site: Site, keys: Tensor, artefact: Artefact, history: EditHistory) -> Tensor:
        """Compute K^T P (K_p K_p^T P + K K^T P + L2 I)^-1."""
        project = self._projector(site, artefact)
        return least_squares(keys, lambda rows: project(rows) / self.l2, history.keys.get(site))

    def _projector(self, site: Site, artefact: Artefact) -> RowMap:
        spans = f"{site}.null_space" in artefact.tensors
        return projector(artefact.tensors[f"{site}.{'null_space' if spans else 'complement'}"], spans)
