"""Changed held-out images and subgroups: what ranks them, and who is caught."""

import numpy as np
import pandas as pd
import pytest

from helpers import lungs
from helpers.selection import Recipe, robustness
from tests import builders

SIDE = 96


def table(count=60):
    """An index, labels in turn, the first half for validation."""
    return builders.index_table(count, (0, count // 2, count - count // 2))


def pictures(count=60, seed=0, side=SIDE):
    shape = (count, side, side, 1)
    return np.random.default_rng(seed).integers(20, 230, shape, dtype=np.uint8)


# Corruptions


@pytest.mark.parametrize("name", robustness.CORRUPTIONS)
def test_each_corruption_changes_every_image_the_same_way_and_keeps_its_form(name):
    before = pictures(3)
    after = robustness.corrupt(before, name)
    assert after.shape == before.shape and after.dtype == np.uint8
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    np.testing.assert_array_equal(robustness.corrupt(before[1:2], name), after[1:2])


def test_corruptions_do_what_their_names_say():
    picture = pictures(1, side=224)
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
    assert detail["coarser"] > 1.5 * detail["enlarged from 64 pixels"]
    np.testing.assert_array_equal(robustness.corrupt(picture, robustness.UNCHANGED), picture)


def test_darkened_and_brightened_are_linear_and_cut_off():
    picture = np.array([0, 10, 100, 175, 200, 255], np.uint8).repeat(6).reshape(1, 6, 6, 1)
    found = {
        name: robustness.corrupt(picture, name)[0, :, 0, 0].tolist()
        for name in ("darkened", "brightened")
    }
    assert found["darkened"] == [0, 3, 30, 52, 60, 76]
    assert found["brightened"] == [80, 90, 180, 255, 255, 255]


def test_mirrored_pictures_have_left_and_right_changed():
    picture = pictures(2)
    np.testing.assert_array_equal(robustness.corrupt(picture, "mirrored"), picture[:, :, ::-1])


def test_a_turned_picture_is_turned_by_its_angle():
    picture = np.zeros((1, SIDE, SIDE, 1), np.uint8)
    picture[0, SIDE // 2, :] = 255
    turned = robustness.corrupt(picture, "turned by 15 degrees")[0, ..., 0].astype(float)
    columns = np.arange(SIDE // 4, 3 * SIDE // 4)
    centres = (turned * np.arange(SIDE)[:, None]).sum(axis=0) / np.maximum(turned.sum(axis=0), 1)
    slope = np.polyfit(columns, centres[columns], 1)[0]
    assert slope == pytest.approx(np.tan(np.deg2rad(15)), abs=0.01)


def test_a_black_border_covers_a_tenth_along_each_edge():
    picture, edge = pictures(1), round(SIDE / 10)
    found, inside = robustness.corrupt(picture, "black border"), np.zeros((SIDE, SIDE), bool)
    inside[edge:-edge, edge:-edge] = True
    np.testing.assert_array_equal(found[0, inside], picture[0, inside])
    assert not found[0, ~inside].any()


def test_cropping_magnifies_the_middle_along_the_named_axes():
    picture = np.zeros((1, 32, 32, 1), np.uint8)
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


# What candidates say of corrupted pictures


class Brightness:
    """Calls an image the more a pneumonia the brighter it is."""

    def __init__(self, classes=2):
        self.classes, self.seen = classes, []

    def predict(self, images):
        self.seen.append(images)
        p = images.mean(axis=(1, 2, 3)) / 255
        return p if self.classes == 2 else np.stack([1 - p, 0.7 * p, 0.3 * p], axis=1)


WHOLE = Recipe(side=32, training=None, margin=None)
CROPPED = Recipe(side=32, training=None, margin=0.0, standardised=False)


@pytest.fixture
def sought(monkeypatch):
    """Pictures that lungs were sought in; they are found the further in, the darker it is."""
    found = []

    def locate(model, images):
        assert model == "a localiser"
        found.append(images)
        inset = 0.4 - 0.3 * images.mean(axis=(1, 2, 3)) / 255
        boxes = np.stack([inset, inset, 1 - inset, 1 - inset], axis=1).astype(np.float32)
        return boxes, np.zeros(len(images))

    monkeypatch.setattr(lungs, "locate", locate)
    monkeypatch.setattr(robustness.training, "room", lambda: 1)
    return found


def test_whole_pictures_are_corrupted_and_the_lungs_are_sought_in_what_comes_out(sought):
    images, rows = pictures(6), table(6)
    candidates = {"whole": (WHOLE, Brightness()), "cropped": (CROPPED, Brightness(3))}
    found = robustness.predict(candidates, images, rows, "a localiser")
    names = [robustness.UNCHANGED, *robustness.CORRUPTIONS]
    expected = {(name, corruption) for name in candidates for corruption in names}
    asked = found.groupby(["candidate", "corruption"])
    assert set(asked.groups) == expected
    for number, name in enumerate(names):
        changed = robustness.corrupt(images, name)
        np.testing.assert_array_equal(sought[number], changed)
        boxes, _ = lungs.locate("a localiser", changed)
        for candidate, (recipe, fit) in candidates.items():
            shown = recipe.show(changed, boxes)
            np.testing.assert_array_equal(fit.seen[number], shown)
            part = asked.get_group((candidate, name))
            assert list(part.file) == list(rows.file) and list(part.split) == list(rows.split)
            p = shown.mean(axis=(1, 2, 3)) / 255
            np.testing.assert_allclose(part.p_pneumonia, p, atol=2e-6)
    columns = ["candidate", "corruption", "file", "patient", "split", "label", "p_pneumonia"]
    assert list(found) == columns


def test_side_by_side_gives_the_same_table(sought, monkeypatch):
    images, rows = pictures(6), table(6)
    candidates = {"whole": (WHOLE, Brightness()), "cropped": (CROPPED, Brightness(3))}
    alone = robustness.predict(candidates, images, rows, "a localiser")
    asked = []
    monkeypatch.setattr(robustness.training, "room", lambda: 3)
    monkeypatch.setattr(
        robustness.training,
        "call_all",
        lambda function, jobs: [asked.append(job[-1]) or function(*job) for job in jobs],
    )
    together = robustness.predict(candidates, images, rows, "a localiser")
    pd.testing.assert_frame_equal(alone, together)
    assert [len(names) for names in asked] == [7, 7, 6]
    named = [name for names in asked for name in names]
    assert sorted(named) == sorted([robustness.UNCHANGED, *robustness.CORRUPTIONS])


def test_a_model_that_reads_brightness_is_caught_when_one_class_is_changed(sought):
    images, rows = pictures(30) // 4, table(30)
    ill = (rows.label != "normal").to_numpy()
    images[ill] += 20  # pneumonias are brighter, and that is all it knows
    found = robustness.predict({"it": (WHOLE, Brightness())}, images, rows, "a localiser")
    aucs = robustness.aucs(found)
    assert list(aucs.index) == [robustness.UNCHANGED, *robustness.CORRUPTIONS]
    assert aucs.loc[robustness.UNCHANGED].eq(1).all()
    assert aucs.loc["darker", "all"] == 1  # all alike: the order stays
    for name in ("brighter", "brightened"):
        assert aucs.loc[name, "normal"] < 0.1
        assert aucs.loc[name, "pneumonia"] == 1
    assert aucs.loc["darkened", "pneumonia"] < 0.1
    scores = robustness.scores(found)
    assert list(scores) == ["unchanged_auc", "corrupted_auc", "worst_case_auc", "framing_auc"]
    assert scores["unchanged_auc"] == 1
    assert scores["worst_case_auc"] == aucs.to_numpy().min() < scores["corrupted_auc"] < 1


def test_the_unchanged_images_do_not_count_as_corrupted():
    names = (robustness.UNCHANGED, *robustness.CORRUPTIONS)
    rows = table(4).assign(split="val")
    p = {True: [0.1, 0.9, 0.9, 0.1], False: [0.9, 0.1, 0.1, 0.9]}  # right, and upside down
    tables = [
        rows.assign(corruption=name, p_pneumonia=p[name != robustness.UNCHANGED]) for name in names
    ]
    scores = robustness.scores(pd.concat(tables))
    assert (scores["unchanged_auc"], scores["worst_case_auc"]) == (0, 0.5)
    assert scores["corrupted_auc"] == pytest.approx((1 + 0.5 + 0.5) / 3)


@pytest.mark.parametrize(("name", "framing"), [("cropped down", 0), ("brightened", 1)])
def test_corruptions_of_the_frame_count_by_themselves(name, framing):
    names = (robustness.UNCHANGED, *robustness.CORRUPTIONS)
    rows = table(4).assign(split="val")
    p = {True: [0.9, 0.1, 0.1, 0.9], False: [0.1, 0.9, 0.9, 0.1]}  # upside down, and right
    tables = [rows.assign(corruption=one, p_pneumonia=p[one == name]) for one in names]
    scores = robustness.scores(pd.concat(tables))
    assert (scores["worst_case_auc"], scores["framing_auc"]) == (0, framing)


# Subgroups


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
