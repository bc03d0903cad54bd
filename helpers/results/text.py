"""Figures as text: intervals, differences, tables in Markdown."""

import pandas as pd


def format_interval(row, digits: int = 1, unit: str = " %") -> str:
    """A row of metrics (value, low, high in 0-1) as text: `98.3 % (97.4-99.0)`.

    Args:
        row: with these three as attributes, such as a row that `metric` found.
        digits: behind the point.
        unit: behind the value; empty in a table of percentages.
    """
    value, low, high = (f"{100 * number:.{digits}f}" for number in (row.value, row.low, row.high))
    return f"{value}{unit} ({low}-{high})"


def format_difference(row, digits: int = 1) -> str:
    """A difference (difference, low, high in 0-1) as text, and whether zero lies in its interval.

    Args:
        row: of `evaluation.compare`.
        digits: after the point.
    """
    value, low, high = (100 * row[name] for name in ("difference", "low", "high"))
    nearest = min(abs(low), abs(high))
    if low <= 0 <= high:
        place = "zero lies inside the interval"
    elif nearest < 0.1 * (high - low):
        place = "zero lies just outside the interval: weak evidence"
    else:
        place = "zero lies outside the interval"
    return f"{value:+.{digits}f} points ({low:+.{digits}f} to {high:+.{digits}f}; {place})"


def markdown(table: pd.DataFrame) -> str:
    """A table of texts, its index first, as Markdown."""
    lines = [f"| {table.index.name} | " + " | ".join(table.columns) + " |"]
    lines.append("|---|" + "---|" * len(table.columns))
    lines += [f"| {' | '.join(cells)} |" for cells in table.itertuples()]
    return "\n".join(lines)
