"""Heat maps: inside the outlined box only, with a legend, under names of their own."""

import numpy as np
import pytest

from helpers import explain, lungs, models, predict
from helpers.predict import heat

GRAY = np.full((224, 224), 100, np.uint8)


def colored(page):
    """Where the picture of a page is not gray: bool, (448, 448)."""
    pixels = np.asarray(page)[: heat.SIDE].astype(int)
    return np.ptp(pixels, axis=2) > 0


@pytest.mark.parametrize("sign", [1, -1])
def test_heat_lies_inside_the_outlined_box_and_its_color_says_for_what(sign):
    page = heat.draw(GRAY, np.full((40, 40), sign, np.float32), np.array([0.25, 0.5, 0.75, 1.0]))
    assert page.size == (heat.SIDE, heat.SIDE + heat.LEGEND)
    warm = colored(page)
    inside = np.zeros_like(warm)
    inside[225:447, 113:335] = True
    assert warm[inside].all() and not warm[~inside].any()
    pixels = np.asarray(page)
    assert (pixels[224, 112:336] == heat.OUTLINE).all()
    red, _, blue = pixels[300, 200].astype(int)
    assert (red > blue) == (sign > 0)


def test_a_box_beyond_the_picture_shows_the_part_that_is_in_it():
    ramp = np.tile(np.linspace(-1, 1, 41, dtype=np.float32), (41, 1))
    pixels = np.asarray(heat.draw(GRAY, ramp, np.array([-0.5, 0.1, 0.5, 0.9])))[200].astype(int)
    assert (pixels[1:220, 0] >= pixels[1:220, 2]).all()  # the right half of the ramp: orange
    outside = heat.draw(GRAY, ramp, np.array([1.2, 0.1, 1.6, 0.9]))
    assert not colored(outside).any()


def test_the_legend_names_both_colors():
    page = np.asarray(heat.draw(GRAY, np.zeros((9, 9), np.float32), np.array([0, 0, 1, 1])))
    strip = page[heat.SIDE :].reshape(-1, 3).tolist()
    assert list(explain.FOR_PNEUMONIA) in strip and list(explain.FOR_NORMAL) in strip
    assert (page[heat.SIDE :, -8:] == 0).all()  # it fits


def test_maps_are_those_of_the_classifier_on_the_crops(exported, pictures):
    model = predict.open_model(exported / "pneumonia.keras")
    images = pictures[0][:3]
    boxes = model.answers(images)["boxes"]
    crops = lungs.crop(images, boxes, 32, model.facts.margin)
    expected = explain.balanced(explain.evidence(models.Ensemble((model.classifier,)), crops))
    wide = boxes + model.facts.margin * np.array([-1, -1, 1, 1])
    drawn = heat.heat_maps(model, images[..., 0], boxes)
    for page, *parts in zip(drawn, images[..., 0], expected, wide, strict=True):
        assert page.tobytes() == heat.draw(*parts).tobytes()


def test_each_file_gets_a_name_of_its_own():
    used = set()
    names = [heat.file_name(file, used) for file in ("a/x.png", "b/x.png", "b/X.jpeg", "y.dcm")]
    assert names == ["x-heatmap.png", "x-heatmap-2.png", "X-heatmap-3.png", "y-heatmap.png"]
