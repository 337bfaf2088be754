"""What an evaluation without training leaves: CSV, figure, and a table for the terminal."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from slimcls.pruning.settings import PruneConfig
from slimcls.reporting import figure_style, figures
from slimcls.reporting.tables import csv_table, markdown_table
from slimcls.storage.files import write_text

#: File names, without ending, of the comparison of criteria and of parts of blocks.
REMOVAL, PARTS, BITS = "removal", "parts", "bits"


def write_evaluation(table: pd.DataFrame, config: PruneConfig, out: Path) -> str:
    """Write the figures found; return the table for people.

    Raises UserError where the folder cannot be written.
    """
    if config.quantise:
        return _write_bits(table, out)
    name = PARTS if config.parts else REMOVAL
    draw = figures.part_removal if config.parts else figures.removal
    figure_style.save_figure(draw(table), out / name)
    shown = markdown_table(by_layer(table) if config.parts else by_removed(table))
    write_text(out / f"{name}.md", shown + "\n")
    write_text(out / f"{name}.csv", csv_table(table))
    return shown


def _write_bits(table: pd.DataFrame, out: Path) -> str:
    text = markdown_table(by_step(table))
    write_text(out / f"{BITS}.md", text + "\n")
    write_text(out / f"{BITS}.csv", csv_table(table))
    return text


#: Digits of each column of the table of removal and quantisation.
_FORMATS = {"memory_mb": ".1f", "disk_mb": ".1f", "perplexity": ".4g", "accuracy": ".3f"}


def by_step(table: pd.DataFrame) -> pd.DataFrame:
    """Steps of removal and quantisation down: what stays, figures that were measured, sizes."""
    shown = table.drop(columns=["kept", "low", "high"]).dropna(axis=1, how="all")
    for name in shown.columns.intersection(list(_FORMATS)):
        shown[name] = [format(value, _FORMATS[name]) for value in shown[name]]
    return shown


def by_removed(table: pd.DataFrame) -> pd.DataFrame:
    """Criteria down, removed layers across: perplexity, and accuracy behind it where measured."""
    shown = table.assign(
        figure=[
            f"{perplexity:.4g}" + ("" if pd.isna(accuracy) else f" ({accuracy:.3f})")
            for perplexity, accuracy in zip(table.perplexity, table.accuracy, strict=True)
        ]
    )
    wide = shown.pivot(index="criterion", columns="removed", values="figure")
    wide = wide.loc[list(dict.fromkeys(table.criterion))].reset_index()
    return wide.rename(columns={"criterion": "perplexity (accuracy) after removing"})


def by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Layers down, what was removed of each across: perplexity."""
    whole = float(table[table.criterion == "nothing"].perplexity.iloc[0])
    parts = table[table.criterion != "nothing"]
    wide = parts.pivot(index="layer", columns="criterion", values="perplexity")
    shown = wide[["block", "attention", "mlp"]].map("{:.4g}".format).reset_index()
    first = {"layer": "none", "block": f"{whole:.4g}", "attention": "", "mlp": ""}
    return pd.concat([pd.DataFrame([first]), shown], ignore_index=True)
