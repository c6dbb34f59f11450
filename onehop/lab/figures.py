"""Curves as SVG, drawn by hand so that a page needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from onehop.lab.measured import Figure

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 72, 16, 34, 48
NAMED = 138  # the width of a name
COLOURS = ("#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900")
Scale = Callable[[float], float]


def draw(figure: Figure) -> str:
    """Return a figure as one `<svg>`; its text takes the colour of the page.

    Example:
        >>> draw(Figure("Squares", "x", "y", {"x^2": [(0.0, 0.0), (1.0, 1.0), (2.0, 4.0)]}))[:4]
        '<svg'
    """
    points = [point for curve in figure.curves.values() for point in curve]
    xs = _ticks([x for x, _ in points], figure.log_x)
    ys = _ticks([y for _, y in points], figure.log_y)
    x = _scale(xs, LEFT, WIDTH - RIGHT, figure.log_x)
    y = _scale(ys, HEIGHT - BOTTOM, TOP, figure.log_y)
    parts = [*_grid(xs, ys, x, y), *_names(figure)]
    for number, (name, curve) in enumerate(figure.curves.items()):
        parts += _curve(name, curve, COLOURS[number % len(COLOURS)], number, x, y)
    label = escape(f"{figure.title}: {figure.y} by {figure.x}", quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _ticks(values: Sequence[float], log: bool) -> list[float]:
    """Return round numbers that enclose all values, four to eight of them."""
    low, high = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        step = max(1, round((last - first) / 6))
        return [10.0**power for power in range(first, max(last, first + 1) + step, step)]
    span = (high - low) or 1.0
    unit = 10 ** math.floor(math.log10(span / 5))
    step = next(unit * k for k in (1, 2, 5, 10) if span / (unit * k) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def _scale(ticks: Sequence[float], start: float, end: float, log: bool) -> Scale:
    """Return the map from a value to its place on the paper."""

    def place(value: float) -> float:
        low, high = (math.log10(ticks[i]) if log else ticks[i] for i in (0, -1))
        value = math.log10(value) if log else value
        return start + (value - low) / (high - low) * (end - start)

    return place


def _grid(xs: Sequence[float], ys: Sequence[float], x: Scale, y: Scale) -> list[str]:
    parts: list[str] = []
    for tick in xs:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in ys:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    return parts


def _names(figure: Figure) -> list[str]:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(figure.x)}</text>',
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(figure.y)}</text>',
    ]


def _curve(name: str, curve: Sequence[tuple[float, float]], colour: str, number: int, x: Scale, y: Scale) -> list[str]:
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve)
    left, top = LEFT + number * NAMED, 18  # of its name, above the curves
    dots = [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in curve if len(curve) <= 20]
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots,
        f'<line x1="{left}" x2="{left + 22}" y1="{top - 4}" y2="{top - 4}" stroke="{colour}" stroke-width="3"/>',
        f'<text x="{left + 28}" y="{top}">{escape(name)}</text>',
    ]  # fmt: skip
