"""The cases of `make soak`, once: what they rely on is still there."""

import random

import pytest

from tests.soak import cases


@pytest.mark.slow
def test_a_download_that_is_killed_once_loses_nothing(tmp_path):
    (outcome,) = cases.downloaded(cases.Setting(tmp_path, times=1, random=random.Random(0)))
    assert (outcome.tried, outcome.survived, outcome.lost) == (1, 1, 0)
