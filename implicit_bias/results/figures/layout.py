"""Sheets: figures with one or many panels, legends and notes outside the data, and files.

A legend or a note gets a strip of its own: the figure grows by what the strip needs, so that
neither lies on data nor squeezes the panels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.figures.style import SMALL_PRINT, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
DPI = 150
_PAD = 0.08  # inches between strips
_BELOW, _RIGHT = "strip below", "strip right"


def axes(width: float = 6.0, height: float = 3.8, *, title: str = "") -> tuple[Figure, Axes]:
    """Make a figure with one set of axes.

    Args:
        width: Inches, before legends.
        height: Inches, before legends and notes.
        title: Title of the figure.

    Returns:
        The figure and its axes.
    """
    figure = _figure(width, height, title)
    with style():
        return figure, figure.subplots()


def panels(
    names: Iterable[Hashable],
    draw: Callable[[Any, Any], Any],
    *,
    columns: int | None = None,
    width: float = 2.5,
    height: float = 2.1,
    share_x: bool = True,
    share_y: bool = True,
    title: str = "",
) -> Figure:
    """Draw small multiples: one panel a name (such as an arm), with common axes.

    Args:
        names: What to draw, one panel each; the name becomes the panel's title.
        draw: Called with the panel's axes and the name, inside ``style()``. Axis labels that it
            sets stay only at the left and lower edges where axes are shared.
        columns: Panels a row; by default at most four, in rows as even as possible.
        width: Inches of one panel.
        height: Inches of one panel.
        share_x: Give all panels the same x axis.
        share_y: Give all panels the same y axis.
        title: Title of the figure.

    Returns:
        The figure; its axes are ``figure.axes``, in the order of ``names``.

    Raises:
        UserError: There is nothing to draw.
    """
    names = list(names)
    if not names:
        raise UserError("there are no panels to draw; give at least one name")
    if columns is None:
        columns = math.ceil(len(names) / math.ceil(len(names) / 4))
    rows = math.ceil(len(names) / columns)
    figure = _figure(columns * width + 0.4, rows * height + 0.3, title)
    with style():
        grid = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False)
        for index, ax in enumerate(grid.flat):
            if index >= len(names):
                ax.remove()
                continue
            draw(ax, names[index])
            ax.set_title(str(names[index]), loc="left")
            lowest = index + columns >= len(names)  # nothing below: this panel carries the axis
            ax.tick_params(
                labelbottom=lowest or not share_x, labelleft=not (index % columns and share_y)
            )
            if share_x and not lowest:
                ax.set_xlabel("")
            if lowest and index + columns < rows * columns:
                # It hangs into the empty place below; the rows need not move apart for it.
                ax.xaxis.set_in_layout(False)
            if share_y and index % columns:
                ax.set_ylabel("")
    return figure


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        # Text is measured at the resolution it is saved at: hinting makes its width depend on it.
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return figure


# --------------------------------------------------------------------------------------------------
# Strips


@style()
def legend(
    figure: Figure,
    handles: Sequence[Any] | None = None,
    *,
    title: str = "",
    side: Literal["below", "right"] = "below",
    order: Iterable[str] = (),
) -> Any:
    """Put a legend outside the axes, in a strip that the figure grows by.

    May be called several times; each legend goes below (or to the right of) what is there.

    Args:
        figure: The figure.
        handles: Labelled artists; by default, those of all panels, each label once.
        title: What the entries are, such as ``"batch size"``.
        side: Where to put it. Below, it has as many columns as fit.
        order: Labels in the order in which to show them; those that are not named follow. By default,
            the order in which they were drawn.

    Returns:
        Matplotlib's legend, or None where there is nothing to explain.
    """
    if handles is None:
        found: dict[str, Any] = {}
        for ax in figure.axes:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        handles = list(found.values())
    if not handles:
        return None
    rank = {label: place for place, label in enumerate(order)}
    handles = sorted(handles, key=lambda handle: rank.get(handle.get_label(), len(rank)))
    drawn_as_line = any(_is_line(handle) for handle in handles)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    rows = len(handles) if side == "right" else 1
    while True:
        columns = math.ceil(len(handles) / rows)
        box = figure.legend(
            handles=_by_row(handles, columns),
            title=title or None,
            ncols=columns,
            loc="lower left",
            alignment="left",
            borderaxespad=0.0,
            borderpad=0.2,
            handlelength=3.8 if drawn_as_line else 1.2,  # long enough to show a dash pattern
            columnspacing=1.6,
        )
        size = box.get_window_extent(renderer)
        if (
            side == "right"
            or size.width <= figure.bbox.width - 2 * _PAD * figure.dpi
            or columns == 1
        ):
            break
        box.remove()
        rows += 1
    _add_strip(figure, box, size.width / figure.dpi, size.height / figure.dpi, side)
    return box


def _is_line(handle: Any) -> bool:
    """Say whether a legend's handle is a line rather than a marker or a patch."""
    return hasattr(handle, "get_linestyle") and str(handle.get_linestyle()).lower() not in (
        "none",
        "",
    )


def _by_row(handles: list[Any], columns: int) -> list[Any]:
    """Reorder handles, which matplotlib fills in by column, so that they read row by row."""
    tall = len(handles) % columns or columns  # so many columns reach into the last row
    rows = math.ceil(len(handles) / columns)
    return [
        handles[row * columns + column]
        for column in range(columns)
        for row in range(rows if column < tall else rows - 1)
    ]


@style()
def note(figure: Figure, text: str) -> Any:
    """Put a line of small print below the figure, wrapped to its width.

    Args:
        figure: The figure.
        text: Such as the result of ``count_note``.

    Returns:
        Matplotlib's text, or None where there is nothing to say.
    """
    if not text.strip():
        return None
    from matplotlib.text import Text

    line = Text(0, 0, "", fontsize=7.5, color=SMALL_PRINT, va="bottom", ha="left", linespacing=1.25)
    figure.add_artist(line)
    line.set_in_layout(False)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    room = figure.bbox.width - 3 * _PAD * figure.dpi
    lines: list[str] = []
    for word in text.split():
        tried = f"{lines[-1]} {word}" if lines else word
        line.set_text(tried)
        # Only the last line is measured: the others are shorter than the figure already.
        if lines and line.get_window_extent(renderer).width <= room:
            lines[-1] = tried
        else:
            lines.append(word)
    line.set_text("\n".join(lines))
    size = line.get_window_extent(renderer)
    _add_strip(figure, line, size.width / figure.dpi, size.height / figure.dpi, "below")
    return line


def _add_strip(
    figure: Figure, artist: Any, width: float, height: float, side: Literal["below", "right"]
) -> None:
    """Grow the figure by a strip of the given size (inches) and put the artist into it."""
    engine = figure.get_layout_engine()
    old_width, old_height = figure.get_size_inches()
    left, bottom, across, up = engine.get()["rect"] if engine is not None else (0, 0, 1, 1)
    x, y = _PAD, _PAD
    if side == "below":
        grown = height + 2 * _PAD
        new = old_width, old_height + grown
        for strip in _strips(figure):
            _place(strip, *(_at(strip)[0], _at(strip)[1] + grown))
        rect = (left, (bottom * old_height + grown) / new[1], across, up * old_height / new[1])
    else:
        grown = width + 2 * _PAD
        new = old_width + grown, old_height
        x, y = old_width + _PAD, (bottom + up) * old_height - height - 3 * _PAD
        rect = (left, bottom, across * old_width / new[0], up)
    figure.set_size_inches(*new)
    if engine is not None:
        engine.set(rect=rect)  # type: ignore[call-arg]  # the constrained engine has one
    artist.set_gid(_BELOW if side == "below" else _RIGHT)
    artist.set_in_layout(False)
    _place(artist, x, y)


def _strips(figure: Figure) -> list[Any]:
    return [
        one
        for one in (*figure.legends, *figure.texts, *figure.artists)
        if one.get_gid() in (_BELOW, _RIGHT)
    ]


def _at(artist: Any) -> tuple[float, float]:
    """Position of a strip's artist in inches from the lower left corner."""
    if hasattr(artist, "get_bbox_to_anchor"):
        corner = artist.get_bbox_to_anchor()
        return corner.x0 / artist.figure.dpi, corner.y0 / artist.figure.dpi
    x, y = artist.get_position()
    return float(x), float(y)


def _place(artist: Any, x: float, y: float) -> None:
    # Inches, so that a later strip's growth does not move or stretch this one.
    inches = artist.figure.dpi_scale_trans
    if hasattr(artist, "set_bbox_to_anchor"):
        artist.set_bbox_to_anchor((x, y), transform=inches)
    else:
        artist.set_transform(inches)
        artist.set_position((x, y))


# --------------------------------------------------------------------------------------------------
# Files


def image_bytes(figure: Figure, format: str = "png", *, dpi: int = DPI) -> bytes:
    """Render a figure. The same figure gives the same bytes: no dates, no random identifiers.

    Args:
        figure: The figure.
        format: ``"png"``, ``"pdf"`` or ``"svg"``.
        dpi: Pixels per inch of a PNG.

    Returns:
        The file's content.

    Raises:
        UserError: The format is not known.
    """
    if format not in FORMATS:
        raise UserError(f"format is {format!r}; choose one of {', '.join(FORMATS)}")
    every: dict[str, dict[str, Any]] = {
        "png": {"Software": "implicit_bias"},
        "pdf": {"Creator": "implicit_bias", "Producer": "implicit_bias", "CreationDate": None},
        "svg": {"Creator": "implicit_bias", "Date": None},
    }
    buffer = io.BytesIO()
    engine = figure.get_layout_engine()
    with style():
        if engine is not None:
            # Laid out once here: left to savefig, the figure would be drawn once more only for that.
            engine.execute(figure)
            figure.set_layout_engine("none")
        try:
            figure.savefig(buffer, format=format, dpi=dpi, metadata=every[format])
        finally:
            figure.set_layout_engine(engine)
    return buffer.getvalue()


def save(
    figure: Figure, stem: str | Path, formats: Sequence[str] = ("png",), *, dpi: int = DPI
) -> list[Path]:
    """Write a figure to files, each of them whole or not at all.

    Args:
        figure: The figure.
        stem: Path without the extension. Its folder is made if it does not exist.
        formats: Any of ``"png"``, ``"pdf"``, ``"svg"``.
        dpi: Pixels per inch of a PNG.

    Returns:
        The paths written, in the order of ``formats``.

    Raises:
        UserError: A format is not known, or a file cannot be written.
    """
    stem = Path(stem)
    images = {format: image_bytes(figure, format, dpi=dpi) for format in formats}
    paths = []
    for format, content in images.items():
        path = stem.with_name(f"{stem.name}.{format}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make the folder {path.parent} ({error.strerror}); choose another one"
            ) from error
        write_atomic(path, content)
        paths.append(path)
    return paths
