"""Each fit starts with a search for garbage; what other tests left is kept out of it."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def little_to_collect(backend):
    gc.collect()
    gc.freeze()
