"""A small folder of results."""

import pytest

from helpers import results
from tests import builders


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    points = {"balanced": 0.25, "screening": 0.2}
    results.write_selection(folder, thresholds={"final": points})
    builders.save_fit(folder, "most_frequent", signal=0)
    return folder
