"""Figures are drawn without a screen, and closed behind each test."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")
