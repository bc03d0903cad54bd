"""A figure of how many go where: boxes with text, and arrows between them."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.plotting.style import WIDTH


def flow(boxes: dict[str, tuple[float, float, str]], arrows: list[tuple[str, str]]) -> Figure:
    """Boxes of text, joined by arrows, as in a STARD diagram.

    Args:
        boxes: by name the place of its middle, across and up (0-1), and its text.
        arrows: from which box to which, by name.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2))
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.axis("off")
    frame = {"boxstyle": "square,pad=0.5", "facecolor": "white", "edgecolor": "dimgray"}
    style = {"size": 9, "ha": "center", "va": "center", "bbox": frame}
    drawn = {name: axis.text(x, y, text, **style) for name, (x, y, text) in boxes.items()}
    figure.canvas.draw()  # now the boxes have a size
    for start, end in arrows:
        ends = {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        line = {"arrowstyle": "->", "color": "dimgray", "shrinkA": 0, "shrinkB": 2}
        axis.annotate("", boxes[end][:2], boxes[start][:2], arrowprops=line | ends)
    return figure
