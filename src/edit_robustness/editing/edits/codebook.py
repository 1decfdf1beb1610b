"""Edits kept beside the model: a codebook of inputs that a site answers with stored outputs (GRACE)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from edit_robustness.editing.edits.edit import Edit, NotCombined
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows
from edit_robustness.models.trace import output_changed


@dataclass(frozen=True, eq=False)
class Codebook(Edit):
    """Entries of one site: where its input is near an entry's key, its output is that entry's value.

    The adaptor of Hartvigsen et al. 2023 (GRACE, section 3.1). It decides for each token from that token's own input:
    the entry with the nearest key, by Euclidean distance in float32, answers if the input is within its radius; so
    prompts, cached steps and padded batches are all answered alike. A statement's last token is answered so, and the
    tokens generated after it have inputs of their own: they see the edit through attention to that token.

    An increment holds the entries that it sets. An entry is known by its key: where a later codebook has the same
    key, bit for bit, its entry takes the earlier one's place.

    Attributes:
        site: The weight whose module is answered for.
        keys: (entries, d_in), inputs of the site.
        values: (entries, d_out), the outputs that stand in for the site's own.
        radii: (entries,), how far from its key an entry answers: the paper's deferral radius.
        labels: For each entry what it makes the model say.
    """

    kind: ClassVar[str] = "codebook"
    acts_by_hooks: ClassVar[bool] = True
    site: Site
    keys: Tensor
    values: Tensor
    radii: Tensor
    labels: tuple[str, ...]

    def nearest(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Distance to the nearest key, and which entry has it, for inputs (..., tokens, d_in)."""
        # not by a product of matrices, which rounds away small distances between long vectors
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(inputs.detach().float().flatten(0, -2), self.keys, compute_mode=exact)
        shortest = distances.min(dim=1)
        return shortest.values.view(inputs.shape[:-1]), shortest.indices.view(inputs.shape[:-1])

    def chosen(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the inputs (..., tokens, d_in) are answered, and which entry is nearest to each."""
        distances, entry = self.nearest(inputs)
        return distances <= self.radii[entry], entry

    def answers(self, inputs: Tensor, output: Tensor) -> Tensor:
        """The site's output, (..., tokens, d_out), replaced at the tokens that an entry answers."""
        answered, entry = self.chosen(inputs)
        return torch.where(answered[..., None], self.values[entry].to(output.dtype), output)

    def put_on(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """See `Edit.put_on`; always by a hook.

        Raises:
            ValueError: If the site has another shape.
        """
        book = self.on(lm)

        def change(inputs: Tensor, output: Tensor) -> Tensor:
            if rows is None:
                return book.answers(inputs, output)
            index = rows.index.to(output.device)
            return output.index_copy(0, index, book.answers(inputs[index], output[index]))

        return output_changed(lm, self.site, change)

    def then(self, later: Codebook) -> Codebook:
        """See `Edit.then`."""
        if later.site != self.site:
            raise NotCombined(
                f"a codebook at {later.site} cannot follow one at {self.site}: edit with one `layer` and `part`"
            )
        stays = torch.ones(len(self.keys), dtype=torch.bool)
        for key in later.keys:
            stays &= (self.keys != key).any(dim=1)
        labels = (label for label, kept in zip(self.labels, stays.tolist(), strict=True) if kept)
        return replace(
            self,
            keys=torch.cat([self.keys[stays], later.keys]),
            values=torch.cat([self.values[stays], later.values]),
            radii=torch.cat([self.radii[stays], later.radii]),
            labels=(*labels, *later.labels),
        )

    def entry(self, number: int) -> Codebook:
        """A codebook of one entry."""
        one = slice(number, number + 1)
        return replace(
            self, keys=self.keys[one], values=self.values[one], radii=self.radii[one], labels=(self.labels[number],)
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        tensors = {"keys": self.keys, "values": self.values, "radii": self.radii}
        texts = {"site": str(self.site), "labels": json.dumps(self.labels, ensure_ascii=False)}
        return {name: tensor.contiguous() for name, tensor in tensors.items()}, texts

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Codebook:
        """See `Edit.from_tensors`."""
        labels = tuple(json.loads(texts["labels"]))
        return cls(Site.parse(texts["site"]), tensors["keys"], tensors["values"], tensors["radii"], labels)

    def on(self, lm: LanguageModel) -> Codebook:
        """Return the same codebook on the model's device.

        Raises:
            ValueError: If the site has another shape.
        """
        ours, theirs = (self.values.shape[1], self.keys.shape[1]), tuple(lm.weight(self.site).shape)
        if ours != theirs:
            raise ValueError(f"the codebook answers for {self.site} of shape {ours}, but {lm.name} has {theirs} there")
        device = lm.device
        return replace(self, keys=self.keys.to(device), values=self.values.to(device), radii=self.radii.to(device))
