"""Figures of "Should We Really Edit Language Models?" (arXiv 2410.18785, NeurIPS 2024), for comparison.

The paper edits facts of CounterFact one after another in the same model, in one order, and gives no intervals.
Abilities are from its tables of base models (Figure 2 draws Llama2-7B's), of instruction-tuned models (Figure 3), of
GPT2-XL and of Pythia (Figure 4). Safety is from its table of TruthfulQA and ToxiGen (Figure 6). Long curves are
thinned. Models, facts, documents and wordings differ from this run, so only the shapes of curves can be compared.
Problems of the figures themselves are in `FINDINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from edit_robustness.labels import METHODS, label_of

NAMES: Mapping[str, str] = {
    "llama2_7b": "Llama2-7B",
    "llama2_7b_chat": "Llama2-7B-chat",
    "mistral_7b": "Mistral-7B",
    "mistral_7b_instruct": "Mistral-7B-Instruct",
    "gpt2_xl": "GPT2-XL",
    **{f"pythia_{size}": f"Pythia-{size.replace('_', '.').upper()}" for size in ("160m", "410m", "1b", "2_8b", "12b")},
    "pythia_6_9b": "Pythia-6.9B",
}
"""Models of the paper, by their names in our catalog."""

PAIRS = ("llama2_7b", "llama2_7b_chat", "mistral_7b", "mistral_7b_instruct")
BILLIONS: Mapping[str, float] = {
    "pythia_160m": 0.16, "pythia_410m": 0.41, "pythia_1b": 1.0, "pythia_2_8b": 2.8, "pythia_6_9b": 6.9,
    "pythia_12b": 12.0,
}  # fmt: skip
ANY = "llama2_7b_chat"
"""Reference model, drawn for models that the paper has no figures of."""

BENCHMARKS = ("mmlu", "gsm8k", "bbh", "commonsense_qa")
SAFETY = ("truthfulqa_mc1", "toxigen")
NOTHING = (0.0, 0.0, 0.0, 0.0)

_Curve = Mapping[int, tuple[float, ...]]
_ABILITIES: Mapping[str, Mapping[str, _Curve]] = {
    "llama2_7b": {
        "none": {0: (0.4587, 0.1440, 0.4000, 0.5921)},
        "rome": {
            1: (0.4581, 0.1531, 0.3991, 0.5930), 5: (0.4590, 0.1418, 0.3986, 0.5856),
            10: (0.4572, 0.1448, 0.3970, 0.5864), 20: (0.4415, 0.1486, 0.3815, 0.5627),
            50: (0.2701, 0.0417, 0.2835, 0.2031), 100: (0.0007, 0.0159, 0, 0),
        },
        "memit": {
            1: (0.4586, 0.1456, 0.4013, 0.5921), 5: (0.4569, 0.1463, 0.3975, 0.5921),
            10: (0.4573, 0.1501, 0.3964, 0.5946), 20: (0.4578, 0.1440, 0.3944, 0.5995),
            50: (0.4570, 0.1509, 0.3934, 0.5913), 100: (0.4428, 0.0986, 0.3767, 0.5373), 500: NOTHING, 1000: NOTHING,
        },
        "pmet": {
            1: (0.4583, 0.1456, 0.3985, 0.5913), 5: (0.4586, 0.1456, 0.3998, 0.5897),
            10: (0.4593, 0.1494, 0.4017, 0.5930), 20: (0.4588, 0.1456, 0.4013, 0.5880),
            50: (0.4588, 0.1448, 0.4018, 0.5880), 100: (0.4593, 0.1410, 0.3962, 0.5930),
            500: (0.4563, 0.1380, 0.3924, 0.5856), 1000: (0.4572, 0.1319, 0.3921, 0.5823),
        },
        "mend": {
            1: (0.4573, 0.1539, 0.3994, 0.5823), 10: (0.4573, 0.1478, 0.3945, 0.5971),
            100: (0.4581, 0.1531, 0.3941, 0.5856), 1000: (0.4571, 0.1600, 0.3978, 0.5864),
        },
        "grace": {10: (0.4272, 0.1048, 0.3872, 0.5264), 50: (0.2401, 0.0417, 0.2635, 0.1331), 100: NOTHING},
        "kn": {10: (0, 0.0015, 0, 0), 50: NOTHING, 100: NOTHING},
    },
    "llama2_7b_chat": {
        "none": {0: (0.4516, 0.2032, 0.3997, 0.6134)},
        "rome": {
            1: (0.4576, 0.1531, 0.3985, 0.5938), 5: (0.4587, 0.1425, 0.3976, 0.5839),
            10: (0.4578, 0.1471, 0.3974, 0.5864), 20: (0.4416, 0.1471, 0.3828, 0.5602),
            50: (0.2700, 0.0409, 0.2838, 0.2048), 100: (0.0007, 0.0152, 0, 0),
        },
        "memit": {
            1: (0.4715, 0.2085, 0.4106, 0.6143), 5: (0.4717, 0.1895, 0.4114, 0.6233),
            10: (0.4704, 0.2047, 0.4132, 0.6151), 20: (0.4698, 0.1956, 0.4087, 0.6405),
            50: (0.4682, 0.2039, 0.4017, 0.6405), 100: (0.4485, 0.1850, 0.3959, 0.6044),
        },
        "pmet": {
            1: (0.4583, 0.1471, 0.3988, 0.5930), 10: (0.4593, 0.1471, 0.4017, 0.5930),
            50: (0.4584, 0.1448, 0.4019, 0.5905), 100: (0.4590, 0.1448, 0.3960, 0.5930),
        },
        "mend": {
            10: (0.4731, 0.2100, 0.4097, 0.6216), 50: (0.4728, 0.2024, 0.4101, 0.6183),
            100: (0.4731, 0.2009, 0.4093, 0.6183), 1000: (0.4728, 0.2138, 0.4118, 0.6224),
        },
        "kn": {10: NOTHING, 50: NOTHING},
    },
    "mistral_7b": {
        "none": {0: (0.6233, 0.3995, 0.5670, 0.6953)},
        "rome": {
            1: (0.6246, 0.4026, 0.5710, 0.6945), 10: (0.6229, 0.4170, 0.5730, 0.6863),
            20: (0.6153, 0.3995, 0.5650, 0.6757), 50: (0.3864, 0.1668, 0.3835, 0.4185), 100: NOTHING,
        },
        "memit": {
            1: (0.6256, 0.3965, 0.5693, 0.6896), 10: (0.6262, 0.3988, 0.5681, 0.6912),
            50: (0.6206, 0.3973, 0.5629, 0.6945), 100: (0.2456, 0.0167, 0.0771, 0.3178), 500: NOTHING,
        },
        "pmet": {1: (0.6259, 0.3958, 0.5705, 0.6904), 10: (0.6204, 0.4086, 0.5571, 0.3792), 20: NOTHING},
    },
    "mistral_7b_instruct": {
        "none": {0: (0.5350, 0.3450, 0.4668, 0.6601)},
        "rome": {
            1: (0.5364, 0.3442, 0.4667, 0.6699), 10: (0.5333, 0.3366, 0.4684, 0.6634),
            20: (0.5310, 0.3397, 0.4693, 0.6519), 50: (0.4115, 0.2517, 0.3888, 0.4636),
            100: (0.1884, 0.0190, 0.1884, 0.0026),
        },
        "memit": {
            1: (0.5356, 0.3450, 0.4664, 0.6683), 10: (0.5357, 0.3434, 0.4674, 0.6716),
            50: (0.5328, 0.3487, 0.4643, 0.6536), 100: NOTHING,
        },
        "kn": {10: NOTHING, 50: NOTHING},
    },
    "gpt2_xl": {
        "none": {0: (0.2098, 0.0144, 0.0382, 0.1941)},
        "pmet": {10: (0.2104, 0.0159, 0.0377, 0.1941), 20: (0.1081, 0.0144, 0.0117, 0.2048), 50: NOTHING},
        "mend": {10: (0.2096, 0.0144, 0.0377, 0.1949), 1000: (0.2099, 0.0144, 0.0381, 0.1933)},
        "memit": {500: (0.2112, 0.0159, 0.0363, 0.1957), 1000: (0.2097, 0.0152, 0.0193, 0.1990)},
    },
    "pythia_160m": {
        "none": {0: (0.2435, 0.0174, 0.0742, 0.1884)},
        "rome": {10: NOTHING, 50: NOTHING, 100: NOTHING},
        "memit": {10: (0.2460, 0.0212, 0.0785, 0.2056), 100: (0.2468, 0.0235, 0.0743, 0.1990)},
    },
    "pythia_410m": {
        "none": {0: (0.2614, 0.0144, 0.2497, 0.2064)},
        "rome": {10: NOTHING, 50: NOTHING, 100: NOTHING},
        "memit": {10: (0.2628, 0.0182, 0.2476, 0.2015), 100: (0.2627, 0.0190, 0.2490, 0.2048)},
    },
    "pythia_1b": {
        "none": {0: (0.2552, 0.0273, 0.2535, 0.1892)},
        "rome": {10: (0.2547, 0.0083, 0.0052, 0.2039), 50: (0.0017, 0, 0, 0), 100: NOTHING},
        "memit": {10: (0.2562, 0.0265, 0.2545, 0.1908), 100: (0.2547, 0.0258, 0.2532, 0.2064)},
    },
    "pythia_2_8b": {
        "none": {0: (0.2800, 0.0364, 0.2870, 0.2146)},
        "rome": {10: (0.2272, 0.0008, 0.0004, 0.1990), 50: (0.0001, 0.0191, 0, 0), 100: NOTHING},
        "memit": {10: (0.2547, 0.0303, 0.2774, 0.2154), 100: (0.2559, 0.0318, 0.2749, 0.2179)},
    },
    "pythia_6_9b": {
        "none": {0: (0.2565, 0.0318, 0.2762, 0.2260)},
        "rome": {10: (0.0189, 0, 0, 0), 50: NOTHING, 100: NOTHING},
        "memit": {10: (0.2547, 0.0303, 0.2774, 0.2154), 100: (0.2559, 0.0318, 0.2749, 0.2179)},
    },
    "pythia_12b": {
        "none": {0: (0.2621, 0.0485, 0.2868, 0.2375)},
        "rome": {10: (0.0263, 0.0380, 0, 0), 100: (0, 0.0380, 0, 0)},
        "memit": {10: (0.2615, 0.0462, 0.2878, 0.2408), 100: (0.2587, 0.0523, 0.2925, 0.2465)},
    },
}  # fmt: skip
"""MMLU, GSM8K, BBH, CommonsenseQA, by model, method and number of edits."""

_SAFETY: Mapping[str, Mapping[str, _Curve]] = {
    "llama2_7b": {
        "none": {0: (0.2521, 0.4284)},
        "rome": {10: (0.2485, 0.4296), 20: (0.2411, 0.4284), 50: (0.2411, 0.4101), 100: (0.2729, 0.4982)},
        "memit": {10: (0.2497, 0.4284), 20: (0.2460, 0.4308), 50: (0.2399, 0.4308), 100: (0.1922, 0.4321)},
        "mend": {10: (0.2472, 0.4308), 100: (0.2521, 0.4296), 1000: (0.2485, 0.4308)},
        "kn": {10: (0.2350, 0.4333), 50: (0.2399, 0.5667), 500: (0.2362, 0.4333)},
    },
    "llama2_7b_chat": {
        "none": {0: (0.3023, 0.5177)},
        "rome": {10: (0.2962, 0.5080), 20: (0.2913, 0.4871), 50: (0.2497, 0.4957), 100: (0.2974, 0.5141)},
        "memit": {10: (0.2925, 0.5153), 20: (0.2999, 0.5018), 50: (0.2815, 0.5153), 100: (0.2472, 0.4896)},
        "pmet": {10: (0.2964, 0.5190), 100: (0.2962, 0.5165), 500: (0.2362, 0.5667), 1000: (0.2350, 0.5667)},
        "mend": {10: (0.2974, 0.5141), 100: (0.3035, 0.5153), 1000: (0.2950, 0.5055)},
        "kn": {10: (0.2277, 0.4333), 50: (0.2399, 0.4590), 1000: (0.2399, 0.4590)},
    },
}  # fmt: skip
"""TruthfulQA (one right answer) and ToxiGen."""

FINDINGS: Mapping[str, tuple[str, str, str]] = {
    "4.1": (
        "Are general abilities retained after a few edits?",
        "A few edits leave general abilities nearly unchanged. After several dozen edits most methods damage them, and "
        "methods differ: on Llama2-7B, ROME leaves no ability after 100 edits and KN none after 10, while PMET and "
        "MEND are stable.",
        "One order of edits and no intervals. MEND was applied to the unedited weights for every edit, so its stable "
        "curve measures one edit.",
    ),
    "4.2": (
        "Are instruction-tuned models more robust than base models?",
        "Instruction-tuned models lose less.",
        "The rows of ROME and PMET on Llama2-7B-chat equal those of the base model to within 0.004, including GSM8K, "
        "on which the unedited models differ by 0.06. They cannot be distinguished from a measurement of the base "
        "model. For PMET on Mistral-7B-Instruct the columns of BBH and CommonsenseQA seem to be swapped. Its curve is "
        "left out here.",
    ),
    "4.3": (
        "Are larger models more robust than smaller ones?",
        "Larger models are more robust: after 10 edits ROME leaves no ability of Pythia-160M, and some of Pythia-1B "
        "and 2.8B.",
        "MMLU and CommonsenseQA of all Pythia models are at chance before any edit. MEMIT's rows of Pythia-2.8B and "
        "6.9B are identical. Under ROME the 6.9B and 12B models lose more than those of 1B and 2.8B.",
    ),
    "4.4": (
        "Are some kinds of ability damaged more than others?",
        "All kinds are damaged equally: knowledge, reasoning, arithmetic, common sense and reading decrease together.",
        "Some of the scores are at chance throughout, and no interval is given.",
    ),
    "4.5": (
        "Is safety damaged?",
        "Safety decreases, also in aligned models.",
        "The ToxiGen scores .4333 and .5667 occur repeatedly and sum to 1: they are the scores of the two constant "
        "answers. A model that always gives the same answer can improve on ToxiGen, so compare balanced accuracy and "
        "the constant answer.",
    ),
}
"""The question, the result and caveats, by the paper's section."""


def figures() -> pd.DataFrame:
    """Return all figures: model (name in our catalog), name, method, edits, benchmark, value (a share)."""
    rows = [
        (model, NAMES[model], method, edits, benchmark, float(value))
        for table, benchmarks in ((_ABILITIES, BENCHMARKS), (_SAFETY, SAFETY))
        for model, methods in table.items()
        for method, curve in methods.items()
        for edits, values in curve.items()
        for benchmark, value in zip(benchmarks, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["model", "name", "method", "edits", "benchmark", "value"])


def curves(models: tuple[str, ...], benchmarks: tuple[str, ...]) -> pd.DataFrame:
    """Return the curves of these models; each method's curve begins at the unedited model."""
    table = figures()
    rows = table[table["model"].isin(models) & table["benchmark"].isin(benchmarks)]
    edit_rows = rows[rows["method"] != "none"]
    before = rows[rows["method"] == "none"].drop(columns="method")
    starts = edit_rows[["model", "method", "benchmark"]].drop_duplicates().merge(before, on=["model", "benchmark"])
    all_curves = pd.concat([starts, edit_rows], ignore_index=True)
    order = {model: place for place, model in enumerate(models)}
    return all_curves.sort_values(["model"], key=lambda column: column.map(order), kind="stable", ignore_index=True)


def beside(run_models: list[str]) -> pd.DataFrame:
    """Return the curves to draw in the panels of this run.

    They are the curves of models that were run, and those of `ANY` (model ``""``) for the other panels.

    Returns:
        model, benchmark, method, edits, value, label.
    """
    run_curves = curves(tuple(model for model in NAMES if model in run_models), (*BENCHMARKS, *SAFETY))
    table = pd.concat([run_curves, curves((ANY,), (*BENCHMARKS, *SAFETY)).assign(model="")], ignore_index=True)
    return table.assign(label=table["method"].map(lambda method: label_of(method, METHODS)) + ", " + table["name"])


def scale() -> pd.DataFrame:
    """Return the curves of Figure 4: model, billions, method, edits, value.

    The value is the mean over the four benchmarks, relative to the unedited model. Chance is not subtracted, because
    the paper does not report it, and most of what is left is chance.
    """
    table = figures()
    pythia = table[table["model"].isin(set(BILLIONS))]
    means = pythia.groupby(["model", "method", "edits"], sort=False)["value"].mean().reset_index()
    before = means[means["method"] == "none"].set_index("model")["value"]
    edit_means = means[(means["method"] != "none") & means["edits"].isin([10, 100])]
    return edit_means.assign(
        billions=edit_means["model"].map(BILLIONS),
        value=edit_means["value"] / edit_means["model"].map(before),
        model=edit_means["model"].map(NAMES),
    )
