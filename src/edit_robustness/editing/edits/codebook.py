"""Edits that leave the weights unchanged: a codebook replaces a site's output near stored inputs (GRACE)."""

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
    """Entries of one site: if its input is near an entry's key, its output is that entry's value.

    This is the adaptor of Hartvigsen et al. 2023 (GRACE, section 3.1). It decides for each token from that token's own
    input: the entry with the nearest key, by Euclidean distance in float32, replaces the output if the input is within
    its radius. So prompts, cached steps and padded batches give the same result. The output at the last token of a
    statement is replaced. Tokens generated after it have other inputs and see the edit through attention to that token.

    An increment contains the entries that it sets. Entries are identified by their keys: if a later codebook has the
    same key, bit for bit, its entry replaces the earlier one.

    Attributes:
        site: The weight whose module's output is replaced.
        keys: (entries, d_in), inputs of the site.
        values: (entries, d_out), the outputs that replace the site's own.
        radii: (entries,), the largest distance from its key at which an entry applies: the paper's deferral radius.
        labels: For each entry the object that it makes the model say.
    """

    kind: ClassVar[str] = "codebook"
    acts_by_hooks: ClassVar[bool] = True
    site: Site
    keys: Tensor
    values: Tensor
    radii: Tensor
    labels: tuple[str, ...]

    def nearest(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance to the nearest key and the number of its entry, for inputs (..., tokens, d_in)."""
        # a product of matrices would round away small distances between long vectors
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(inputs.detach().float().flatten(0, -2), self.keys, compute_mode=mode)
        shortest = distances.min(dim=1)
        return shortest.values.view(inputs.shape[:-1]), shortest.indices.view(inputs.shape[:-1])

    def select_entries(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return a mask of the inputs (..., tokens, d_in) within an entry's radius, and the nearest entry of each."""
        distances, entry = self.nearest(inputs)
        return distances <= self.radii[entry], entry

    def answers(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Replace the site's output, (..., tokens, d_out), at the tokens within an entry's radius."""
        in_radius, entry = self.select_entries(inputs)
        return torch.where(in_radius[..., None], self.values[entry].to(output.dtype), output)

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """Replace the site's output by a hook, with and without rows.

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
        """Return the codebook with the entries of a later one, which replace entries of the same key.

        Raises:
            NotCombined: If the later codebook is of another site.
        """
        if later.site != self.site:
            raise NotCombined(
                f"a codebook at {later.site} cannot follow one at {self.site}: edit with one `layer` and `part`"
            )
        mask = torch.ones(len(self.keys), dtype=torch.bool)
        for key in later.keys:
            mask &= (self.keys != key).any(dim=1)
        labels = (label for label, keep in zip(self.labels, mask.tolist(), strict=True) if keep)
        return replace(
            self,
            keys=torch.cat([self.keys[mask], later.keys]),
            values=torch.cat([self.values[mask], later.values]),
            radii=torch.cat([self.radii[mask], later.radii]),
            labels=(*labels, *later.labels),
        )

    def entry(self, number: int) -> Codebook:
        """Return a codebook of the one entry with this number."""
        selection = slice(number, number + 1)
        return replace(
            self,
            keys=self.keys[selection],
            values=self.values[selection],
            radii=self.radii[selection],
            labels=(self.labels[number],),
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the entries' keys, values and radii, and as texts the site and the labels."""
        tensors = {"keys": self.keys, "values": self.values, "radii": self.radii}
        texts = {"site": str(self.site), "labels": json.dumps(self.labels, ensure_ascii=False)}
        return {name: tensor.contiguous() for name, tensor in tensors.items()}, texts

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Codebook:
        """Rebuild the codebook from what `to_tensors` returned."""
        labels = tuple(json.loads(texts["labels"]))
        return cls(Site.parse(texts["site"]), tensors["keys"], tensors["values"], tensors["radii"], labels)

    def on(self, lm: LanguageModel) -> Codebook:
        """Return the codebook with its tensors on the model's device.

        Raises:
            ValueError: If the site has another shape.
        """
        shape, site_shape = (self.values.shape[1], self.keys.shape[1]), tuple(lm.weight(self.site).shape)
        if shape != site_shape:
            raise ValueError(
                f"the codebook is for {self.site} of shape {shape}, but in {lm.name} its shape is {site_shape}"
            )
        device = lm.device
        return replace(self, keys=self.keys.to(device), values=self.values.to(device), radii=self.radii.to(device))
