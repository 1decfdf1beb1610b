"""Watching and changing a running model through hooks that are always taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

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

    def hook(_: Any, args: tuple[Tensor, ...], output: Any) -> Any:
        if isinstance(output, tuple):  # a whole block's, in some architectures
            return change(args[0], output[0]), *output[1:]
        return change(args[0], output)

    handle = lm.module(site).register_forward_hook(hook)
    try:
        yield lm
    finally:
        handle.remove()


@contextmanager
def blocks_recorded(lm: LanguageModel, below: int) -> Iterator[list[Any]]:
    """What each block below a layer puts out in the forward pass inside, as a list filled by the pass."""
    seen: list[Any] = []
    with ExitStack() as hooks:
        for block in lm.blocks[:below]:
            hooks.callback(block.register_forward_hook(lambda _, args, output: seen.append(output)).remove)
        yield seen


@contextmanager
def blocks_replayed(lm: LanguageModel, outputs: Sequence[Any]) -> Iterator[LanguageModel]:
    """For the length of the block, the first blocks are not run: they put out what was recorded of the same inputs."""
    with ExitStack() as undo:
        for block, output in zip(lm.blocks, outputs, strict=False):
            undo.callback(_put_back, block, block.__dict__.get("forward"))
            block.forward = lambda *_, output=output, **__: output
        yield lm


def _put_back(module: nn.Module, forward: Any) -> None:
    """An instance's own `forward` (accelerate gives it one), or none, so that its class's counts again."""
    del module.forward
    if forward is not None:
        module.forward = forward


def output_at(lm: LanguageModel, place: Site, **batch: Tensor) -> Tensor:
    """What a place puts out in one forward pass, (rows, tokens, width); the pass stops there.

    Args:
        lm: The model.
        place: Where to look.
        **batch: The model's inputs.
    """
    seen: list[Tensor] = []

    def keep(_: Tensor, output: Tensor) -> Tensor:
        seen.append(output)
        raise _Enough

    with suppress(_Enough), output_changed(lm, place, keep):
        lm.model(**batch, use_cache=False)
    return seen[0]


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
