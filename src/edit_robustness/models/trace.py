"""Watching and changing a running model through hooks that are always taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site


class _Enough(Exception):
    """Raised inside a forward pass to leave it once all that was wanted has been seen."""


@contextmanager
def output_changed(
    lm: LanguageModel, site: Site, change: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[LanguageModel]:
    """For the length of the block, a site's output is `change(input, output)`.

    Both are (rows, tokens, width). `change` must decide per token from that token and those before it only.
    """
    handle = lm.module(site).register_forward_hook(lambda _, args, output: change(args[0], output))
    try:
        yield lm
    finally:
        handle.remove()


def inputs_at(lm: LanguageModel, sites: Iterable[Site], **batch: Tensor) -> dict[Site, Tensor]:
    """What enters each site in one forward pass, (rows, tokens, d_in); the pass stops at the last site.

    Args:
        lm: The model.
        sites: Where to look.
        **batch: The model's inputs.
    """
    seen: dict[Site, Tensor] = {}
    wanted = sorted(set(sites))

    def keep(site: Site, tensor: Tensor) -> None:
        seen[site] = tensor
        if len(seen) == len(wanted):
            raise _Enough

    with ExitStack() as hooks:
        for site in wanted:
            handle = lm.module(site).register_forward_pre_hook(lambda _, args, site=site: keep(site, args[0]))
            hooks.callback(handle.remove)
        with suppress(_Enough):
            lm.model(**batch, use_cache=False, logits_to_keep=1)
    return seen
