"""UltraEdit: one gradient per fact, normalised by all edits so far, written by least squares (arXiv 2505.14679)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Chain, Dense, Edit, FeatureStatistics, LowRank
from edit_robustness.editing.mend.networks import Batch, prompt_and_answer_ids, token_gradients
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting

Part = Literal["mlp_in", "mlp_out", "mlp_gate", "attention_out"]


def _check_not_empty(layers: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    if not any(layers.values()):
        raise ValueError("layers_by_part names no weight; name some layers of a part, such as mlp_out: [20, 21]")
    return layers


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UltraEdit(Method):
    """At each weight W' = W + V^T H (H^T H + ridge I)^-1 from one forward and one backward pass per fact.

    For every token of the statements with their objects, h is the weight's input and g the gradient of the likelihood
    of the object with respect to its output. Both are normalised by their mean and standard deviation over all edits so
    far, those of this call included, in weights of the same shape together. The value of a token is
    v = -rate |h_n|^2 g_n, with the normalised h_n and g_n. H has the inputs h themselves as rows, V the values. The
    statistics are part of the edit (`FeatureStatistics`), so that a sequence continues them.

    A single fact gives few tokens to normalise by. The method is made for many facts per edit (100 in the paper).

    Attributes:
        layers_by_part: For each part of a layer the layers whose weight is edited.
        rate: eta.
        ridge: Weight of the change's squared norm; 1 in the paper.
        step_facts: Number of facts per forward and backward pass; it makes no difference to the edit.
    """

    name: ClassVar[str] = "ultraedit"
    batch_size: ClassVar[int | None] = None

    layers_by_part: Annotated[Mapping[Part, ListSetting[NonNegativeInt]], AfterValidator(_check_not_empty)]
    rate: PositiveFloat
    ridge: PositiveFloat = 1.0
    step_facts: PositiveInt = 10

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the edited weights."""
        return tuple(Site(layer, part) for part, layers in self.layers_by_part.items() for layer in layers)

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory) -> Edit:
        """Compute the edit of any number of facts, with the statistics that later edits need."""
        features = self._collect(lm, facts)
        shapes = {site: "x".join(map(str, lm.weight(site).shape)) for site in self.sites}
        own_statistics = FeatureStatistics.of(
            {
                shape: torch.cat([torch.cat(features[site], dim=-1) for site in self.sites if shapes[site] == shape])
                for shape in dict.fromkeys(shapes.values())
            }
        )
        earlier_edits = history.combined_edits.get(FeatureStatistics.kind)
        statistics = own_statistics
        if isinstance(earlier_edits, FeatureStatistics):
            statistics = earlier_edits.then(own_statistics)
        factors = {site: self._solve(*features[site], statistics, shapes[site]) for site in self.sites}
        sizes = {site: sum(factor.numel() for factor in factors[site]) for site in factors}
        if any(size > lm.weight(site).numel() for site, size in sizes.items()):
            return Chain((Dense({site: left @ right for site, (left, right) in factors.items()}), own_statistics))
        return Chain((LowRank(factors), own_statistics))

    def _collect(self, lm: LanguageModel, facts: Sequence[Fact]) -> dict[Site, tuple[Tensor, Tensor]]:
        """Return for each weight its inputs (tokens, d_in) and the gradients of its outputs (tokens, d_out)."""
        parts: dict[Site, list[tuple[Tensor, Tensor]]] = {site: [] for site in self.sites}
        for batch in self._batches(lm, facts):
            gradients, _ = token_gradients(lm, self.sites, batch)
            for site, gradient in gradients.items():
                is_token = batch.mask.bool()
                parts[site].append((gradient.inputs[is_token].cpu(), gradient.deltas[is_token].cpu()))
        return {
            site: (torch.cat([inputs for inputs, _ in pairs]), torch.cat([deltas for _, deltas in pairs]))
            for site, pairs in parts.items()
        }

    def _batches(self, lm: LanguageModel, facts: Sequence[Fact]) -> Iterator[Batch]:
        rows = [prompt_and_answer_ids(lm, fact.statement, fact.target_new, fact.join) for fact in facts]
        for first in range(0, len(rows), self.step_facts):
            yield Batch.of(lm, rows[first : first + self.step_facts])

    def _solve(
        self, inputs: Tensor, deltas: Tensor, statistics: FeatureStatistics, shape: str
    ) -> tuple[Tensor, Tensor]:
        """Compute `left` (d_out, tokens) and `right` (tokens, d_in), in float32.

        V^T H (H^T H + ridge I)^-1 is V^T (H H^T + ridge I)^-1 H, and the smaller of the two systems is solved.
        """
        normal = statistics.normalise(shape, torch.cat([inputs, deltas], dim=-1))
        normal_inputs, normal_deltas = normal.split([inputs.shape[1], deltas.shape[1]], dim=-1)
        values = -self.rate * normal_inputs.square().sum(-1, keepdim=True) * normal_deltas
        keys = inputs.double()
        n_tokens, width = keys.shape
        if n_tokens <= width:
            right = torch.linalg.solve(keys @ keys.T + self.ridge * torch.eye(n_tokens).double(), keys)
        else:
            right = torch.linalg.solve(keys.T @ keys + self.ridge * torch.eye(width).double(), keys.T).T
        return values.T.float().contiguous(), right.float().contiguous()
