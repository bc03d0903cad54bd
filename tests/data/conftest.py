"""What the tests of the data share."""

import pandas as pd
import pytest

from helpers import paths
from tests import builders


@pytest.fixture
def folder(tmp_path):
    """Twelve unmarked pictures in the Kaggle layout."""
    return builders.kermany_folder(tmp_path / "chest_xray")


@pytest.fixture(scope="session")
def kermany():
    """The 5,856 rows of the manifest, with a digest that duplicates share."""
    table = pd.read_csv(paths.MANIFEST)
    unique = table.file.where(table.duplicate_group < 0, table.duplicate_group.astype(str))
    return table.assign(digest=unique, pneumonia=table.label != "normal", synthetic=False)
