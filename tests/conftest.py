"""One thread, so that parallel workers do not spin against each other; no test leaves Pyro's store or seeds behind.

Matrix products are torch's own, so that numbers computed by the engine and beside it can be compared to the bit.
"""

import gc
import os
import shutil

import pyro
import pytest
import torch

from inference.products import using_products

torch.set_num_threads(1)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory):
    """What a user has fitted is noted in a folder of the tests, the same for all test processes."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch, using_products("default"):
        patch.setenv("XDG_STATE_HOME", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "state"))
        yield


GROUPS = ("explorers", "site", "export")  # folders of tests that share fits: one worker runs each folder


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    for item in items:
        if {"browser", "site"} & {*item.fixturenames}:  # a browser is started, or all pages are written: a minute
            item.add_marker(pytest.mark.integration)
        for name in GROUPS:
            if f"tests/gallery/report/{name}/" in item.nodeid:
                item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # modules and tests stay: no collection has to go through them again


@pytest.fixture(autouse=True)
def clean():
    pyro.clear_param_store()
    torch.manual_seed(0)
    yield
    pyro.clear_param_store()


@pytest.fixture
def double():
    """Float64 as the default dtype of torch."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(**of the context): a page on a phone; at the end nothing may have failed."""
    pages, complaints = [], []

    def opened(**context):
        page = browser.new_context(**{"viewport": {"width": 390, "height": 844}} | context).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("response", lambda response: response.status < 400 or complaints.append(f"missing: {response.url}"))
        page.on("dialog", lambda dialog: complaints.append(f"a script ran: {dialog.message}"))
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert complaints == []
