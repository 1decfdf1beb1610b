import os

import pytest
import torch

from edit_robustness.models import products

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.fixture(autouse=True)
def as_before():
    before, flash = torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.flash_sdp_enabled()
    yield
    torch.backends.mkldnn.matmul.fp32_precision = before
    torch.backends.cuda.enable_flash_sdp(flash)


@pytest.fixture
def amd(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\n")
    monkeypatch.setattr(products, "_PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"


def test_products_are_float32s_whatever_was_chosen():
    products.prefer_onednn()
    torch.manual_seed(0)
    left, right = torch.randn(64, 300), torch.randn(300, 64)
    exact = left.double() @ right.double()
    assert ((left @ right).double() - exact).abs().max() < 1e-4  # rounded to bfloat16 it would be .1


def test_an_amd_processor_with_exact_products_uses_onednn(amd, monkeypatch):
    monkeypatch.setattr(products, "_is_exact", lambda: torch.backends.mkldnn.matmul.fp32_precision == "bf16")
    assert products.prefer_onednn()
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert not torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize(("setting", "capacity"), [(None, "64"), ("7", "7")])
def test_few_compiled_products_are_kept_unless_the_environment_says_it(amd, monkeypatch, setting, capacity):
    monkeypatch.setenv(CAPACITY, setting or "")
    if setting is None:
        monkeypatch.delenv(CAPACITY)
    products.prefer_onednn()
    assert os.environ[CAPACITY] == capacity


def test_where_products_would_be_rounded_all_stays_as_it_was(amd, monkeypatch):
    monkeypatch.setattr(products, "_is_exact", lambda: False)
    assert not products.prefer_onednn()
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize(
    ("attribute", "value"), [("vendor", "GenuineIntel"), ("capability", "AVX2"), ("available", False), ("gpu", True)]
)
def test_another_machine_keeps_mkl(amd, monkeypatch, tmp_path, attribute, value):
    if attribute == "vendor":
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {value}\n")
    elif attribute == "capability":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: value)
    elif attribute == "gpu":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: value)
    else:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: value)
    assert not products.prefer_onednn()
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


def test_the_check_sees_rounding(monkeypatch):
    multiply = torch.Tensor.__matmul__
    assert products._is_exact()
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: multiply(a.bfloat16(), b.bfloat16()).float())
    assert not products._is_exact()
