"""Reading and changing the outputs of a running model, by hooks that are always removed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site


class _StopForward(Exception):
    """Raised inside a forward pass to leave it once all requested outputs have been read."""


@contextmanager
def output_changed(
    lm: LanguageModel, site: Site, change: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[LanguageModel]:
    """Replace a site's output by `change(input, output)` inside the block.

    Both are (rows, tokens, width), on the model's device, also where the site is on another one. At each token `change`
    may use only that token and those before it.
    """
    device = lm.device

    def change_there(inputs: Tensor, output: Tensor) -> Tensor:
        return change(inputs.to(device), output.to(device)).to(output.device)

    def hook(_: Any, args: tuple[Tensor, ...], output: Any) -> Any:
        if isinstance(output, tuple):  # the output of a whole block, in some architectures
            return change_there(args[0], output[0]), *output[1:]
        return change_there(args[0], output)

    handle = lm.module(site).register_forward_hook(hook)
    try:
        yield lm
    finally:
        handle.remove()


@contextmanager
def blocks_recorded(lm: LanguageModel, below: int) -> Iterator[list[Any]]:
    """Record the outputs of the first blocks in the forward pass inside the block, in a list that the pass fills."""
    outputs: list[Any] = []
    with ExitStack() as hooks:
        for block in lm.blocks[:below]:
            hooks.callback(block.register_forward_hook(lambda _, args, output: outputs.append(output)).remove)
        yield outputs


@contextmanager
def blocks_replayed(lm: LanguageModel, outputs: Sequence[Any]) -> Iterator[LanguageModel]:
    """Replace the first blocks by their recorded outputs inside the block; the inputs must be the same."""
    with ExitStack() as undo:
        for block, output in zip(lm.blocks, outputs, strict=False):
            undo.callback(_put_back, block, block.__dict__.get("forward"))
            block.forward = lambda *_, output=output, **__: output
        yield lm


def _put_back(module: nn.Module, forward: Any) -> None:
    """Restore an instance's own `forward` (accelerate sets one), or remove it, so that the class's is used again."""
    del module.forward
    if forward is not None:
        module.forward = forward


def output_of(lm: LanguageModel, site: Site, inputs: Tensor) -> Tensor:
    """Compute a site's output for inputs (..., d_in) on the model's device, without hooks."""
    output: Tensor = lm.module(site).forward(inputs.to(lm.weight(site).device))
    return output.to(inputs.device)


def output_at(lm: LanguageModel, place: Site, **batch: Tensor) -> Tensor:
    """Compute a site's output in one forward pass, (rows, tokens, width); the pass stops there.

    Args:
        lm: The model.
        place: The site.
        **batch: The model's inputs.
    """
    outputs: list[Tensor] = []

    def keep(_: Tensor, output: Tensor) -> Tensor:
        outputs.append(output)
        raise _StopForward

    with suppress(_StopForward), output_changed(lm, place, keep):
        lm.model(**batch, use_cache=False)
    return outputs[0]


def inputs_at(lm: LanguageModel, sites: Iterable[Site], **batch: Tensor) -> dict[Site, Tensor]:
    """Compute the inputs of each site in one forward pass, (rows, tokens, d_in); the pass stops at the last site.

    They are on the model's device, also where a site is on another one.

    Args:
        lm: The model.
        sites: The sites.
        **batch: The model's inputs.
    """
    inputs: dict[Site, Tensor] = {}
    ordered_sites = sorted(set(sites))

    def keep(site: Site, tensor: Tensor) -> None:
        inputs[site] = tensor.to(lm.device)
        if len(inputs) == len(ordered_sites):
            raise _StopForward

    with ExitStack() as hooks:
        for site in ordered_sites:
            handle = lm.module(site).register_forward_pre_hook(lambda _, args, site=site: keep(site, args[0]))
            hooks.callback(handle.remove)
        with suppress(_StopForward):
            lm.model(**batch, use_cache=False, logits_to_keep=1)
    return inputs
