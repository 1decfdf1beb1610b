"""Products of float32 matrices on a CPU, by oneDNN if that is faster and as exact.

torch passes them to MKL, which on AMD processors uses half the width of their registers (AVX2, although they have
AVX-512). On such a core oneDNN takes 2.1 to 2.4 times less time for 64 rows and more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

_PROCESSOR = Path("/proc/cpuinfo")
_KEPT = "64"
"""Number of compiled products that oneDNN caches, unless the environment sets it. Its default is 1,024 of several MB
each, and a growing text adds two with every token."""

_SETTING: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def prefer_onednn() -> bool:
    """Use oneDNN for products in this process, if the CPU is an AMD processor with AVX-512 and the products stay exact.

    torch offers oneDNN only through a setting that allows rounding to bfloat16. oneDNN rounds only on processors with
    units for it (AMX), so the setting stays only if a product that rounding would change comes out exactly. The setting
    also applies to the many small products inside torch's fused attention, which it makes 4 to 15 times slower. So
    attention is then computed by plain products (`models/attention.py`). On a machine with a GPU nothing is changed.

    Returns:
        Whether oneDNN is used now.
    """
    if torch.cuda.is_available() or not _is_worth_it():
        return False
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT)  # read when oneDNN is first used
    before = _SETTING.fp32_precision
    _SETTING.fp32_precision = "bf16"
    if not _is_exact():
        _SETTING.fp32_precision = before
        return False
    torch.backends.cuda.enable_flash_sdp(False)  # this disables the CPU's fused attention too
    return True


def _is_worth_it() -> bool:
    wide = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and _is_amd()


def _is_amd() -> bool:
    return _PROCESSOR.exists() and "AuthenticAMD" in _PROCESSOR.read_text("utf-8", errors="replace")


def _is_exact() -> bool:
    """Return whether products of numbers that need float32's 24 bits are correct to the last bit."""
    numbers = 1 + torch.arange(1.0, 65) * 2.0**-20
    return bool((numbers.diag() @ torch.eye(64) == numbers.diag()).all())
