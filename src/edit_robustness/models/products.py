"""Products of float32 matrices on a CPU: by oneDNN where that is faster and as exact.

torch hands them to MKL, which on AMD's processors uses half the width of their registers (AVX2, where they have
AVX-512): on such a core oneDNN takes 2.1 to 2.4 times less time for 64 rows and more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

_PROCESSOR = Path("/proc/cpuinfo")
_KEPT = "64"
"""How many compiled products oneDNN keeps, unless the environment says it. By itself it keeps 1,024 of several MB each,
and a text that grows makes two new ones with every token."""

_SETTING: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def prefer_onednn() -> bool:
    """Let oneDNN multiply in this process, if this is an AMD processor with AVX-512 and its products are float32's.

    The one way to oneDNN is a setting that allows it to round to bfloat16. It does so only where there are units for
    that (AMX), so the setting stays only where a product that rounding would change comes out exactly. It reaches the
    many small products inside torch's fused attention too, which it makes 4 to 15 times slower: attention is made of
    plain products then (`models/attention.py`). On a machine with a GPU nothing is changed.

    Returns:
        Whether it multiplies now.
    """
    if torch.cuda.is_available() or not _worth_it():
        return False
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT)  # read when oneDNN is first used
    before = _SETTING.fp32_precision
    _SETTING.fp32_precision = "bf16"
    if not _exact():
        _SETTING.fp32_precision = before
        return False
    torch.backends.cuda.enable_flash_sdp(False)  # the CPU's fused attention heeds it too
    return True


def _worth_it() -> bool:
    wide = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and _amd()


def _amd() -> bool:
    return _PROCESSOR.exists() and "AuthenticAMD" in _PROCESSOR.read_text("utf-8", errors="replace")


def _exact() -> bool:
    """Whether products of numbers that need float32's 24 bits are right to the last bit."""
    numbers = 1 + torch.arange(1.0, 65) * 2.0**-20
    return bool((numbers.diag() @ torch.eye(64) == numbers.diag()).all())
