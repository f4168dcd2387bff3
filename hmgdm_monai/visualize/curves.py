"""Draw curves of a training run: losses, probe, collapse scores, attention, learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float]]
_LOSSES = {"loss": ("training", "C0"), "val_loss": ("validation", "C1")}
_COLLAPSE = {"collapse": ("collapse", "C3"), "collapse_rank": ("collapse of the rank", "C1")}
_ATTENTION = {
    "attention_entropy": ("entropy", "C0"),
    "attention_gini": ("Gini coefficient", "C3"),
    "attention_share_60": ("share for 60 %", "C2"),
    "attention_head_cosine": ("cosine of heads", "C4"),
}
_LOG_RATIO = 20  # losses that span more than this ratio get a logarithmic axis
_MANY = 40  # number of epochs above which no markers are drawn


def draw_curves(
    history: History, title: str = "Pretraining", probe_chance: float | None = None, note: str | None = None
) -> Figure:
    """Draw the values recorded in each epoch of a run, one panel for each kind of quantity.

    Keys are ``epoch`` (default 1, 2, ...), ``loss`` and ``val_loss``, ``probe_balanced_accuracy`` (a linear probe on
    frozen embeddings), ``collapse`` and ``collapse_rank`` (aggregate and effective rank score of MONAI's
    EmbeddingCollapseMetric, 0 spread to 1 collapsed), ``effective_rank``, ``attention_entropy``, ``attention_gini``,
    ``attention_share_60`` and ``attention_head_cosine``, ``lr``; other keys are ignored. An epoch may lack any key:
    curves connect the epochs that have a value. A value that is not finite interrupts the curve, and a text in the
    panel lists its epochs.

    Args:
        history: one dictionary for each epoch, in order.
        title: title of the figure.
        probe_chance: balanced accuracy of guessing, 1 / number of classes, as a dashed line; None for none.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no epochs, or none of them has a known key.
    """
    if len(history) == 0:
        raise InputError("No curves to draw: the history has no epoch.")
    panels: list[tuple[tuple[str, ...], Callable[[Axes, History], None]]] = [
        (tuple(_LOSSES), _draw_losses),
        (("probe_balanced_accuracy",), partial(_draw_probe, chance=probe_chance)),
        ((*_COLLAPSE, "effective_rank"), _draw_collapse),
        (tuple(_ATTENTION), _draw_attention),
        (("lr",), _draw_rate),
    ]
    present = {key for record in history for key in record}
    wanted = [draw for keys, draw in panels if present.intersection(keys)]
    if not wanted:
        known = ", ".join(key for keys, _ in panels for key in keys)
        raise InputError(f"No curves to draw: the history holds {sorted(present)} and none of {known}.")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [float(record.get("epoch", number)) for number, record in enumerate(history, start=1)]
    margin = max(0.03 * (max(epochs) - min(epochs)), 0.5)
    figure = Figure(figsize=(max(5.5, 4.4 * len(wanted)), 3.9), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(wanted), squeeze=False)[0], wanted, strict=True):
        draw(axes, history)
        axes.set_xlim(min(epochs) - margin, max(epochs) + margin)
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    figure.suptitle(title, fontsize=12)
    add_note(figure, note)
    return figure


def _draw_losses(axes: Axes, history: History) -> None:
    for key, (name, color) in _LOSSES.items():
        _plot(axes, history, key, name, color)
    axes.set_title("Loss", fontsize=10)
    finite = [v for key in _LOSSES for _, v in _series(history, key) if math.isfinite(v)]
    if finite and min(finite) > 0 and max(finite) > _LOG_RATIO * min(finite):
        axes.set_yscale("log")
    _legend(axes)
    _tell_not_finite(axes, history, {key: name for key, (name, _) in _LOSSES.items()})


def _draw_probe(axes: Axes, history: History, chance: float | None) -> None:
    _plot(axes, history, "probe_balanced_accuracy", "linear probe", "C2")
    if chance is not None:
        axes.axhline(chance, color="0.4", linestyle="--", linewidth=1, label=f"chance ({chance:.2f})")
    axes.set_ylim(0.0, 1.0)  # an automatic scale would make the noise of a flat curve look like a trend
    axes.set_title("Balanced accuracy of the probe", fontsize=10)
    _legend(axes)
    _tell_not_finite(axes, history, {"probe_balanced_accuracy": "probe"})


def _draw_collapse(axes: Axes, history: History) -> None:
    axes.set_title("Collapse of the embedding", fontsize=10)
    scored = any(_series(history, key) for key in _COLLAPSE)
    if scored:
        for key, (name, color) in _COLLAPSE.items():
            _plot(axes, history, key, name, color)
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("collapse score (0 spread, 1 collapsed)", fontsize=9)
        # "best" would ignore the curve of the second axis.
        _legend(axes, "lower right" if _series(history, "effective_rank") else "best")
    if _series(history, "effective_rank"):
        rank_axes = axes.twinx() if scored else axes
        _plot(rank_axes, history, "effective_rank", "effective rank", "C4")
        rank_axes.set_ylim(bottom=0)
        rank_axes.set_ylabel("effective rank (dimensions in use)", fontsize=9, color="C4")
        rank_axes.tick_params(labelsize=8)
    names = {key: name for key, (name, _) in _COLLAPSE.items()}
    _tell_not_finite(axes, history, {**names, "effective_rank": "effective rank"})


def _draw_attention(axes: Axes, history: History) -> None:
    for key, (name, color) in _ATTENTION.items():
        _plot(axes, history, key, name, color)
    axes.set_ylim(-0.03, 1.03)
    axes.set_title("Attention", fontsize=10)
    _legend(axes)
    _tell_not_finite(axes, history, {key: name for key, (name, _) in _ATTENTION.items()})


def _draw_rate(axes: Axes, history: History) -> None:
    _plot(axes, history, "lr", "learning rate", "0.3")
    axes.set_title("Learning rate", fontsize=10)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axes.yaxis.get_offset_text().set_fontsize(8)
    _tell_not_finite(axes, history, {"lr": "learning rate"})


def _series(history: History, key: str) -> list[tuple[float, float]]:
    """(epoch, value) for the epochs that have the key."""
    return [(float(r.get("epoch", n)), float(r[key])) for n, r in enumerate(history, start=1) if key in r]


def _plot(axes: Axes, history: History, key: str, name: str, color: str) -> None:
    series = _series(history, key)
    if not series:
        return
    epochs = [epoch for epoch, _ in series]
    values = [v if math.isfinite(v) else math.nan for _, v in series]  # infinity would stretch the axis
    marker = "o" if len(series) <= _MANY or any(map(math.isnan, values)) else None
    axes.plot(epochs, values, color=color, label=name, linewidth=1.5, marker=marker, markersize=3.5)


def _legend(axes: Axes, place: Literal["best", "lower right"] = "best") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, framealpha=0.8, loc=place)


def _tell_not_finite(axes: Axes, history: History, names: Mapping[str, str]) -> None:
    """Write in the panel at which epochs a value is not finite."""
    lines = []
    for key, name in names.items():
        epochs = [f"{epoch:g}" for epoch, value in _series(history, key) if not math.isfinite(value)]
        if epochs:
            listed = ", ".join(epochs[:6]) + (f" and {len(epochs) - 6} more" if len(epochs) > 6 else "")
            lines.append(f"{name} not finite at epoch {listed}")
    if lines:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.text(
            0.03, 0.03, "\n".join(lines), transform=axes.transAxes, fontsize=8, color="firebrick", va="bottom", bbox=box
        )
