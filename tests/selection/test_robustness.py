"""Changed validation images and subgroups: what ranks them, and who is caught."""

import numpy as np
import pandas as pd
import pytest

from helpers.selection import robustness
from tests import builders

SIDE = 32


def table(count=60):
    """An index, labels in turn, the first half for validation."""
    return builders.index_table(count, (0, count // 2, count - count // 2))


def pictures(count=60, seed=0):
    return np.random.default_rng(seed).integers(20, 230, (count, SIDE, SIDE, 1), dtype=np.uint8)


class Brightness:
    """Calls an image the more a pneumonia the brighter it is."""

    def predict(self, images):
        return images.mean(axis=(1, 2, 3)) / 255


@pytest.mark.parametrize("name", robustness.CORRUPTIONS)
def test_each_corruption_changes_every_image_the_same_way_and_keeps_its_form(name):
    before = pictures(3)
    after = robustness.corrupt(before, name)
    assert after.shape == before.shape and after.dtype == np.uint8
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    np.testing.assert_array_equal(robustness.corrupt(before[1:2], name), after[1:2])


def test_corruptions_do_what_their_names_say():
    picture = pictures(1)
    assert robustness.corrupt(picture, "darker").mean() < picture.mean()
    assert robustness.corrupt(picture, "brighter").mean() > picture.mean()
    assert robustness.corrupt(picture, "more contrast").std() > picture.std()
    assert robustness.corrupt(picture, "less contrast").std() < picture.std()
    assert robustness.corrupt(picture, "smaller")[0, 0, 0, 0] == 0
    detail = {
        name: np.diff(robustness.corrupt(picture, name).astype(float), axis=1).std()
        for name in (robustness.UNCHANGED, *robustness.CORRUPTIONS)
    }
    assert detail["sharpened"] > detail["unchanged"] > max(detail["blurred"], detail["coarser"])
    np.testing.assert_array_equal(robustness.corrupt(picture, robustness.UNCHANGED), picture)


def test_cropping_magnifies_the_middle_along_the_named_axes():
    picture = np.zeros((1, SIDE, SIDE, 1), np.uint8)
    picture[0, 12:20, 12:20] = 200
    sides = {
        name: [
            (robustness.corrupt(picture, name)[0, ..., 0] > 100).any(axis=axis).sum()
            for axis in (0, 1)
        ]
        for name in ("cropped", "cropped across", "cropped down")
    }
    assert sides == {"cropped": [10, 10], "cropped across": [12, 8], "cropped down": [8, 12]}


def test_a_letter_is_written_in_a_corner():
    flat = np.full((1, SIDE, SIDE, 1), 20, np.uint8)
    lettered = robustness.corrupt(flat, "lettered")[0, ..., 0] > 20
    assert lettered[: SIDE // 4, : SIDE // 4].any()
    assert not lettered[SIDE // 4 :].any() and not lettered[:, SIDE // 4 :].any()


def test_a_model_that_reads_brightness_is_caught_when_one_class_is_changed():
    images, rows = pictures() // 4, table()
    ill = (rows.label != "normal").to_numpy()
    images[ill] += 20  # pneumonias are brighter, and that is all it knows
    found = robustness.predict(Brightness(), images, rows)
    assert set(found.file) == set(rows.file[rows.split == "val"])
    aucs = robustness.aucs(found)
    assert aucs.loc[robustness.UNCHANGED].eq(1).all()
    assert aucs.loc["darker", "all"] == 1  # all alike: the order stays
    assert aucs.loc["brighter", "normal"] < 0.1
    assert aucs.loc["brighter", "pneumonia"] == 1
    scores = robustness.scores(found)
    assert list(scores) == ["val_auc", "corrupted_auc", "worst_case_auc"]
    assert scores["val_auc"] == 1
    assert scores["worst_case_auc"] == aucs.to_numpy().min() < scores["corrupted_auc"] < 1


def test_the_unchanged_images_do_not_count_as_corrupted():
    names = (robustness.UNCHANGED, *robustness.CORRUPTIONS)
    rows = table(4).assign(split="val")
    p = {True: [0.1, 0.9, 0.9, 0.1], False: [0.9, 0.1, 0.1, 0.9]}  # right, and upside down
    tables = [
        rows.assign(corruption=name, p_pneumonia=p[name != robustness.UNCHANGED]) for name in names
    ]
    scores = robustness.scores(pd.concat(tables))
    assert (scores["val_auc"], scores["worst_case_auc"]) == (0, 0.5)
    assert scores["corrupted_auc"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_a_subgroup_is_ranked_against_the_other_class():
    rows = table(12).assign(split="val")
    rows["p_pneumonia"] = np.where(rows.label == "normal", 0.2, 0.8)
    worst = rows.index[rows.label == "normal"][0]
    rows.loc[worst, "p_pneumonia"] = 0.9
    groups = pd.DataFrame({"kind": np.where(rows.index == worst, "odd", "usual")})
    found = robustness.group_aucs(rows, groups)
    first = found.iloc[0]
    assert (first.group, first.label, first.n, first.auc) == ("odd", "normal", 1, 0)
    assert found[(found.group == "usual") & (found.label == "normal")].auc.item() == 1


def test_groups_tell_series_number_sharpness_and_brightness():
    rows, images = table(12), pictures(12)
    images[0] = 250
    found = robustness.groups(rows, images)
    assert list(found) == ["series", "number", "sharpness", "brightness"]
    assert set(found.series) == {"IM", "person"}
    assert set(found.number) == {"low", "middle", "high"}
    assert (found.sharpness[0], found.brightness[0]) == ("blurred", "bright")


def test_numbers_are_ranked_within_a_label_and_series():
    rows = table(18)
    found = robustness.groups(rows, pictures(18)).number
    for _, part in rows.groupby("label"):
        thirds = found[part.sort_values("number").index]
        assert list(thirds) == ["low"] * 2 + ["middle"] * 2 + ["high"] * 2
