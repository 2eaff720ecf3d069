"""When products are sent to oneDNN, shown by a fake test product, and that torch's switch is put back."""

from contextvars import ContextVar

import pytest
import torch

from gallery.models import MODELS
from inference import SVI, InferenceError, Settings, eval_mode, evaluate, products
from inference.examples import LinearGaussian
from inference.products import choose_products, decide, is_exact, using_products

CPU = torch.device("cpu")


@pytest.fixture
def switch(monkeypatch):
    """torch's switch, replaced by an attribute; its value is None where torch has none."""

    class Switch:
        value: str | None = "none"
        sets: list[str]

        def set(self, value):
            self.value = value
            self.sets.append(value)

    fake = Switch()
    fake.sets = []
    monkeypatch.setattr(products, "_switch", lambda: fake.value)
    monkeypatch.setattr(products, "_set_switch", fake.set)
    monkeypatch.setattr(products, "_chosen", ContextVar("chosen", default=None))  # the tests' own block is left
    monkeypatch.setattr(products, "_base", ContextVar("base", default=None))
    decide.cache_clear()
    is_exact.cache_clear()
    yield fake
    decide.cache_clear()
    is_exact.cache_clear()


def answering(monkeypatch, onednn, seconds):
    """Let the test product by oneDNN be `onednn(exact product)`, in that many seconds; torch's own takes 1e-3."""

    def multiply(a, b, on):
        exact = a.double() @ b.double()
        return (onednn(exact).float(), seconds) if on else ((a @ b), 1e-3)

    monkeypatch.setattr(products, "_multiply", multiply)


def in_bfloat16(exact):
    return exact.bfloat16()


def in_float32(exact):
    return exact.float() * (1 + 2e-7)


@pytest.mark.parametrize(
    ("onednn", "seconds", "expected"),
    [
        (in_float32, 0.5e-3, "onednn"),
        (in_float32, 0.95e-3, "default"),
        (in_float32, 2e-3, "default"),
        (in_bfloat16, 0.1e-3, "default"),
        (lambda exact: exact * (1 + 1e-4), 0.1e-3, "default"),
        (lambda exact: exact * torch.nan, 0.1e-3, "default"),
    ],
    ids=["faster", "hardly faster", "slower", "with AMX", "inexact", "nan"],
)
def test_the_test_product_decides(switch, monkeypatch, onednn, seconds, expected):
    answering(monkeypatch, onednn, seconds)
    assert choose_products("auto", CPU, torch.float32) == expected
    assert SVI(LinearGaussian(), torch.zeros(4, 1)).products == expected


def test_products_of_the_same_library_are_left_alone(switch, monkeypatch):
    monkeypatch.setattr(products, "_multiply", lambda a, b, on: (a @ b, 1e-3 / (1 + on)))
    assert decide() == "default"


def test_other_types_and_devices_are_left_alone(switch, monkeypatch):
    answering(monkeypatch, in_float32, 0.5e-3)
    for setting in ("auto", "onednn"):
        assert choose_products(setting, CPU, torch.float64) == "default"
        assert choose_products(setting, torch.device("cuda"), torch.float32) == "default"


def test_without_the_switch_all_is_left_alone_and_forcing_it_is_refused(switch):
    switch.value = None
    assert decide() == "default"
    with using_products("onednn"):
        assert switch.sets == []
    with pytest.raises(InferenceError, match=r'cannot send products to oneDNN here\. Use products="default"\.'):
        SVI(LinearGaussian(), torch.zeros(4, 1), settings=Settings(products="onednn"))


def test_an_unknown_setting_is_refused():
    with pytest.raises(InferenceError, match="products must be one of auto, default, onednn, not 'mkl'"):
        Settings(products="mkl")  # type: ignore[arg-type]


@pytest.mark.parametrize(("half", "expected"), [(0.5e-3, True), (40e-3, False)], ids=["computed", "imitated"])
def test_products_in_bfloat16_are_taken_where_they_are_faster(monkeypatch, half, expected):
    monkeypatch.setattr(products, "_seconds", lambda a, b: half if a.dtype == torch.bfloat16 else 1e-3)
    products._cpu_has_bfloat16.cache_clear()
    try:
        assert products.has_bfloat16(CPU) is expected
        assert products.has_bfloat16(torch.device("cuda"))
    finally:
        products._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize("before", ["none", "ieee", "bf16"])
def test_blocks_are_nested_and_the_value_of_the_user_is_put_back(switch, monkeypatch, before):
    answering(monkeypatch, in_float32, 0.5e-3)
    switch.value = before
    with using_products():
        assert switch.value == "bf16"
        with using_products("default"):
            assert switch.value == before
            with using_products():  # that of the block around it
                assert switch.value == before
            with using_products("onednn"):
                assert switch.value == "bf16"
            assert switch.value == before
        assert switch.value == "bf16"
    assert switch.value == before
    with pytest.raises(ZeroDivisionError), using_products("onednn"):
        _ = 1 / 0
    assert switch.value == before


def test_steps_and_evaluation_run_with_it_and_the_code_between_without(switch, monkeypatch):
    answering(monkeypatch, in_float32, 0.5e-3)
    during = []

    class Watched(LinearGaussian):
        def model(self, x, total=None):
            during.append(switch.value)
            return super().model(x, total)

    fit = SVI(Watched(), torch.zeros(4, 1), settings=Settings(epochs=2, batch_size=2, engine="pyro"))
    during.clear()
    for _ in fit:
        assert switch.value == "none"
    evaluate(fit.pair, fit.x)
    assert set(during) == {"bf16"}
    assert switch.value == "none"

    during.clear()
    pinned = SVI(Watched(), torch.zeros(4, 1), settings=Settings(epochs=1, engine="pyro", products="default"))
    during.clear()
    pinned.train_step()
    with using_products(pinned.products), eval_mode(pinned.pair):
        pinned.pair.model(pinned.x)
    assert set(during) == {"none"}


def test_auto_is_that_of_the_block_around(switch, monkeypatch):
    answering(monkeypatch, in_float32, 0.5e-3)
    with using_products("default"):
        assert SVI(LinearGaussian(), torch.zeros(4, 1)).products == "default"
    assert SVI(LinearGaussian(), torch.zeros(4, 1)).products == "onednn"


@pytest.mark.parametrize(("model", "objective"), [("vae", "trace"), ("gmvae", "enum_analytic")])
def test_losses_and_gradients_are_those_of_torchs_products_within_float_error(model, objective):
    if not is_exact():
        pytest.skip("oneDNN computes in bfloat16 here, or torch has no switch")
    pair, x = MODELS[model](data_dim=64, latent_dim=4, hidden=(64, 64)), torch.rand(100, 64).round()
    computed = {}
    for name in ("default", "onednn"):
        fit = SVI(pair, x, settings=Settings(objective=objective, products=name))
        torch.manual_seed(0)
        with using_products(fit.products):
            computed[name] = fit.loss.gradients(*fit.loss.step_arguments(torch.arange(100)))
    _, loss, *gradients = computed["onednn"]
    _, expected, *others = computed["default"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for gradient, other in zip(gradients, others, strict=True):
        assert (gradient - other).abs().max() <= 1e-5 * other.abs().max()


def test_the_real_switch_is_put_back():
    if products._switch() is None:
        pytest.skip(f"torch {torch.__version__} has no such switch here")
    before = products._switch()
    torch.manual_seed(0)
    a, b = torch.randn(64, 96), torch.randn(96, 80)
    expected = a @ b
    with using_products("onednn"):
        assert products._switch() == "bf16"
        given = a @ b
    assert products._switch() == before
    if is_exact():
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    with using_products("onednn"):
        torch.testing.assert_close(a.double() @ b.double(), expected.double(), rtol=1e-4, atol=1e-4)
