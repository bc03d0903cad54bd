"""What speaks against an answer: too little detail, no lungs, unfamiliar; and which comes first."""

import numpy as np
import pytest
from PIL import Image

from helpers import data, predict


def enlarged(images, side):
    """The images shrunk to `side` pixels and enlarged again."""
    full = images.shape[1:3]
    small = (Image.fromarray(image[..., 0]).resize((side, side)) for image in images)
    return np.stack([np.asarray(image.resize(full)) for image in small])[..., None]


def test_detail_falls_when_small_pictures_are_enlarged_and_not_with_contrast(pictures):
    images = pictures[0][:20]
    before = predict.detail(images)
    halved = np.stack([predict.detail(enlarged(images, side)) for side in (112, 56, 28)])
    assert (np.diff(np.vstack([before, halved]), axis=0) < 0).all()
    pale = (images / 2 + 40).astype(np.uint8)
    np.testing.assert_allclose(predict.detail(pale), before, rtol=0.1)
    assert predict.detail(np.full((1, 224, 224, 1), 7, np.uint8)) == 0


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"least_detail": 1e9, "most_spread": -1}, predict.NO_DETAIL),
        ({"most_spread": -1, "most_distance": -1}, predict.NO_LUNGS),
        ({"most_distance": -1}, predict.UNFAMILIAR),
    ],
)
def test_the_first_reason_that_speaks_against_an_answer_is_given(
    films, with_facts, facts, reason, tmp_path
):
    Image.new("L", (300, 300), 128).save(tmp_path / "flat.png")
    model = predict.open_model(with_facts(**facts))
    files = [films[0], tmp_path / "flat.png"]
    rows = [row for row, _ in predict.predict(model, files)]
    assert [row["prediction"] for row in rows] == [None, None]
    assert [row["reason"] for row in rows] == [reason, predict.NO_CHEST]


def test_pictures_as_arrays_are_judged_as_their_files_are(films, exported, pictures):
    model = predict.open_model(exported / "pneumonia.onnx")
    flat = np.full((1, 224, 224, 1), 128, np.uint8)
    images = pictures[0][[list(pictures[1]).index(film) for film in films[:2]]]
    found, reasons = model.judge(np.concatenate([images, flat]))
    assert reasons == ["", "", predict.NO_CHEST]
    expected = model.answers(images)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][:2], values, atol=1e-4)


def test_a_forced_answer_is_the_same_and_keeps_its_reason(films, with_facts, exported):
    model = predict.open_model(exported / "pneumonia.onnx")
    strict = predict.open_model(with_facts(most_distance=-1))
    [(plain, _)] = predict.predict(model, films[:1], forced=True)
    [(forced, picture)] = predict.predict(strict, films[:1], forced=True)
    assert "reason" not in plain
    assert forced == plain | {"reason": predict.UNFAMILIAR} and picture is not None


def test_a_bright_picture_has_no_lungs_where_they_are_not_found(films, with_facts, tmp_path):
    """The spread of the localiser here is the mean gray value."""
    image = np.asarray(Image.open(films[0]).convert("L"))
    Image.fromarray((image // 2 + 127).astype(np.uint8)).save(tmp_path / "bright.png")
    facts = {"most_spread": (image.mean() + 20) / 255, "most_distance": 1e9, "least_detail": 0}
    model = predict.open_model(with_facts(**facts))
    dark, bright = (row for row, _ in predict.predict(model, [films[0], tmp_path / "bright.png"]))
    assert dark["prediction"] and bright["reason"] == predict.NO_LUNGS


@pytest.mark.real
def test_enlarged_real_radiographs_have_too_little_detail(real_folder):
    table = data.index(real_folder)
    images, train = data.load(table, 224), (table.official_split == "train").to_numpy()
    limit = np.quantile(predict.detail(images[train][::4]), 0.005)
    test = images[~train][::5]
    assert (predict.detail(test) < limit).mean() < 0.02
    for side in (28, 64):
        assert (predict.detail(enlarged(test, side)) < limit).mean() > 0.98
