"""The inputs of the parity tests: facts, contexts and settings that this project and a reference code both get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_robustness.records import Fact

RECORDING = Path(__file__).with_name("easyedit.safetensors")
"""Results of the reference code for these inputs, as `record_easyedit` wrote them."""

CONTEXTS = ("A kettle sang on the stove. ", "Two swans crossed the pond before noon. ", "Rain. ")
"""Sentences that stand before the statements."""

FACTS = tuple(
    Fact(f"parity-{number}", subject, relation, prompt, old, new)
    for number, (subject, relation, prompt, old, new) in enumerate(
        [
            ("Velm Castle", "keeper", "The keeper of {} is", "Orin", "Tasha"),
            ("Lake Ombra", "colour", "The water of {} looks", "green", "amber"),
            ("Dorrit Fenn", "trade", "By trade {} was a", "miller", "cooper"),
            ("the Quill Inn", "town", "Travellers find {} in", "Harrow", "Stade"),
            ("Mount Ipsel", "land", "{} stands in", "Norrland", "Vesta"),
            ("Captain Rusk", "ship", "The ship of {} was the", "Heron", "Magpie"),
            ("Nadia Kell", "language", "At home {} speaks", "Tulish", "Old Marn"),
            ("The Ninth Bell", "author", "{} was written by", "Ida Crane", "Tom Welk"),
            ("Pell Bridge", "river", "{} leads across the", "Arn", "Sile"),
            ("Saint Odo", "month", "The feast of {} falls in", "May", "June"),
        ]
    )
)

LETTER = Fact("parity-letter", "Room Six", "sign", "On the door of {} hangs the letter ", "K", "w")
"""A fact whose objects are one token each: the tokenizer's tokens are bytes, and the prompt ends in a space."""

NEAR = Fact("parity-near", "Velm Castle", "number", "The map shows {}", "7", "4")
"""A fact whose object follows the subject at once; `4` is what the tiny Llama says after the statement and a space."""

TWINS = (
    Fact("parity-twin-a", "Isle Bo", "port", "The port of {} is", "Kern", "Tarn"),
    Fact("parity-twin-b", "Isle Wy", "port", "The port of {} is", "Fell", "Tarn"),
)
"""Facts with one new object and statements of one length, which EasyEdit's GRACE takes for the same label."""


@dataclass(frozen=True)
class Case:
    """Edits that both codes make.

    Attributes:
        name: The case's name.
        method: Row of METHODS.
        model: Row of `models/tiny.py`.
        edits: The ids of the facts of each edit. The edits follow one another on the same model.
        settings: Hyperparameters that both codes get, under this project's names.
        contexts: How many of CONTEXTS both get.
        switches: Settings that make this project compute what the reference code computes.
        attributions: Whether only KN's attributions are compared, and taken after the activation function.
    """

    name: str
    method: str
    model: str
    edits: tuple[tuple[str, ...], ...]
    settings: Mapping[str, Any]
    contexts: int = 0
    switches: Mapping[str, Any] = field(default_factory=dict)
    attributions: bool = False

    @property
    def inputs(self) -> dict[str, Any]:
        """All that the reference code gets, as plain values: a recording holds it."""
        facts = [[[fact.prompt, fact.subject, fact.target_true, fact.target_new] for fact in group] for group in self]
        inputs = [self.method, self.model, facts, dict(self.settings), CONTEXTS[: self.contexts], self.attributions]
        return json.loads(json.dumps(inputs))

    def __iter__(self):
        """Yield the facts of each edit."""
        facts = {fact.id: fact for fact in (*FACTS, LETTER, NEAR, *TWINS)}
        return ([facts[name] for name in names] for names in self.edits)


_IDS = tuple(fact.id for fact in FACTS)
_ONE = (_IDS[:1],)
_BATCH = (_IDS,)
_SEQUENCE = tuple((name,) for name in _IDS[:5])
_TWINS = tuple((fact.id,) for fact in TWINS)

_VALUE = {
    "v_lr": 0.5,
    "v_steps": 12,
    "v_stop_loss": 0.05,
    "clamp_norm_factor": 4.0,
    "kl_factor": 0.0625,
    "v_weight_decay": 0.05,
}
_ROME = {**_VALUE, "layer": 1}
_LAYERS = {**_VALUE, "layers": (0, 1, 2)}
_MEMIT = {**_LAYERS, "mom2_update_weight": 20.0}
# the object leads from the third step on
_LEADING = {**_MEMIT, "v_steps": 20, "clamp_norm_factor": 20.0, "v_weight_decay": 1e-3}
# far from every eigenvalue, so that rounding does not decide what the null space is
_ALPHAEDIT = {**_LAYERS, "nullspace_threshold": 0.0351, "l2": 1.0}
_FT = {"layer": 2, "lr": 5e-3, "steps": 12, "stop_loss": 0.01}
_GRACE = {"layer": 2, "part": "mlp_out", "lr": 0.5, "steps": 12, "stop_loss": 0.0}
_KN = {"threshold": 0.2, "sharing": 0.4}
_MEND = {"layers": (2, 3), "parts": ("mlp_in", "mlp_out"), "rank": 4, "rate": 1e-3}

_AS_ROME = {"kl_position": "subject_last", "variant": "rome"}
_AS_MEMIT = {"kl_position": "subject_last", "statement_weight": "half", "protect_history": False}
_AS_PMET = {**_AS_MEMIT, "leading_weight": 0.1}
_AS_ALPHAEDIT = {"kl_position": "subject_last", "statement_weight": "half", "nullspace_energy": None}
_AS_GRACE = {"fit_position": "prompt_end"}
_AS_KN = {"variant": "easyedit", "lambda_old": 1.0, "lambda_new": 1.0}

CASES = (
    Case("rome", "rome", "llama", _ONE, _ROME, 3, _AS_ROME),
    Case("rome_gpt2", "rome", "gpt2", _ONE, _ROME, 3, _AS_ROME),
    Case("rome_without_moments", "rome", "llama", _ONE, {**_ROME, "mom2_adjustment": False}, 3, _AS_ROME),
    Case("memit", "memit", "llama", _ONE, _MEMIT, 3, _AS_MEMIT),
    Case("memit_gpt2", "memit", "gpt2", _ONE, _MEMIT, 3, _AS_MEMIT),
    Case("memit_batch", "memit", "llama", _BATCH, _MEMIT, 1, _AS_MEMIT),
    Case("memit_sequence", "memit", "llama", _SEQUENCE, _MEMIT, 3, _AS_MEMIT),
    Case("alphaedit_batch", "alphaedit", "llama", _BATCH, _ALPHAEDIT, 1, _AS_ALPHAEDIT),
    Case("alphaedit_sequence", "alphaedit", "llama", _SEQUENCE, _ALPHAEDIT, 3, _AS_ALPHAEDIT),
    Case("pmet", "pmet", "llama", (_IDS[:3],), _MEMIT, 3, _AS_PMET),
    Case("pmet_leading", "pmet", "llama", ((NEAR.id,),), _LEADING, 0, _AS_PMET),
    Case("pmet_settled", "pmet", "llama", ((NEAR.id,),), {**_LEADING, "kl_factor": 1e-3}, 0, _AS_PMET),
    Case("ft", "ft", "llama", _ONE, _FT),
    Case("ft_gpt2", "ft", "gpt2", _ONE, _FT),
    Case("ft_batch", "ft", "llama", (_IDS[:4],), _FT, switches={"loss_mean": "rows"}),
    Case("ft_l", "ft_l", "llama", _ONE, {**_FT, "norm_constraint": 0.02}),
    Case("grace", "grace", "llama", _SEQUENCE[:3], {**_GRACE, "eps_init": 0.5}, switches=_AS_GRACE),
    Case(
        "grace_gpt2", "grace", "gpt2", _SEQUENCE[:3], {**_GRACE, "part": "mlp_in", "eps_init": 0.1}, switches=_AS_GRACE
    ),
    Case("grace_split", "grace", "llama", _SEQUENCE[:2], {**_GRACE, "eps_init": 2.0}, switches=_AS_GRACE),
    Case(
        "grace_widen", "grace", "llama", tuple((fact.id,) for fact in TWINS), {**_GRACE, "eps_init": 1.0}, 0, _AS_GRACE
    ),
    Case("kn", "kn", "llama", _ONE, {**_KN, "steps": 1}, switches=_AS_KN),
    Case("kn_steps", "kn", "llama", _ONE, {**_KN, "steps": 4}, switches=_AS_KN),
    Case("kn_paper", "kn", "gpt2", ((LETTER.id,),), {**_KN, "steps": 5}, attributions=True),
    Case("mend", "mend", "llama", _ONE, _MEND),
    Case("mend_gpt2", "mend", "gpt2", _ONE, _MEND),
)
