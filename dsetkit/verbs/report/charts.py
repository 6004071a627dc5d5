"""Charts as inline SVG: bars of a histogram, and curves. Their colours come from the page's CSS."""

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 370, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 30  # margins
SERIES = 8  # colours of curves in the page's CSS


def bars(
    counts: Sequence[int], edges: Sequence[float], *, title: str, unit: str, percent: bool = False
) -> Markup:
    """A histogram; heights are shares of all counts.

    Args:
        counts: Of each bar.
        edges: One more than there are bars.
        title: Told to those who cannot see it.
        unit: What the horizontal axis shows.
        percent: Whether the axis shows shares as percent.
    """
    total = max(1, sum(counts))
    highest = max([count / total for count in counts], default=0) or 1
    inner, drop = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    step = inner / max(1, len(counts))
    body = [_grid(0, highest, lambda value: f"{value:.0%}" if highest >= 0.05 else f"{value:.1%}")]
    for number, count in enumerate(counts):
        tall = drop * count / total / highest
        span = f"{_axis(edges[number], percent)} to {_axis(edges[number + 1], percent)}"
        body.append(
            f'<rect class="bar" x="{LEFT + number * step + 1:.1f}" y="{TOP + drop - tall:.1f}" '
            f'width="{max(0.5, step - 2):.1f}" height="{tall:.1f}" rx="1.5">'
            f"<title>{escape(span)}: {count:,} ({count / total:.1%})</title></rect>"
        )
    for place in (0, len(counts) // 2, len(counts)):
        anchor = "start" if place == 0 else "end" if place == len(counts) else "middle"
        x = LEFT + place * step
        text = escape(_axis(edges[place], percent))
        body.append(f'<text x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="{anchor}">{text}</text>')
    middle = LEFT + inner / 2
    body.append(f'<text x="{middle}" y="{HEIGHT - 1}" text-anchor="middle">{escape(unit)}</text>')
    return _svg(title, body)


def curves(series: Mapping[str, Sequence[tuple[float, float]]], *, title: str) -> Markup:
    """Curves over epochs.

    Args:
        series: Name -> (epoch, value) of each point; finite numbers.
        title: Told to those who cannot see it.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return Markup("")
    (first, low), (last, high) = (
        map(min, zip(*points, strict=True)),
        map(max, zip(*points, strict=True)),
    )
    if high - low < 1e-12:
        spare = abs(high) * 0.1 or 1
        low, high = low - spare, high + spare
    inner, drop = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    wide = max(last - first, 1e-12)
    body = [_grid(low, high, lambda value: f"{value:.3g}")]
    for number, (name, line) in enumerate(series.items()):
        places = [
            (LEFT + inner * (x - first) / wide, TOP + drop * (high - y) / (high - low))
            for x, y in sorted(line)
        ]
        colour = f"series-{number % SERIES}"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        end_x, end_y = places[-1]
        body.append(
            f'<g class="{colour}"><title>{escape(name)}</title><polyline points="{path}"/>'
            f'<circle cx="{end_x:.1f}" cy="{end_y:.1f}" r="3"/></g>'
        )
    for x, value, anchor in ((LEFT, first, "start"), (WIDTH - RIGHT, last, "end")):
        body.append(
            f'<text x="{x}" y="{HEIGHT - 14}" text-anchor="{anchor}">epoch {value:g}</text>'
        )
    return _svg(title, body)


def _grid(low: float, high: float, shown: Callable[[float], str]) -> str:
    """Three lines across, with their values at the left."""
    parts = []
    for share in (0, 0.5, 1):
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)
        text = escape(shown(low + share * (high - low)))
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return "".join(parts)


def _axis(value: float, percent: bool) -> str:
    return f"{value:.0%}" if percent else f"{value:.3g}"


def _svg(title: str, body: Sequence[str]) -> Markup:
    name = escape(title)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
        f"{''.join(body)}</svg>"
    )
