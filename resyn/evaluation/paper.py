"""The paper's own numbers, read from `papers/`, to stand beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from resyn.evaluation.metrics import Record


class PaperMetric(Record):
    """A column of the paper's tables; `kind` is the paper's heading for it."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower"]
    digits: int
    kind: Literal["intrusive", "perceptual"]

    @property
    def heading(self) -> str:
        """`WER (%)`."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float) -> str:
        """With the paper's decimals and a true minus sign."""
        return f"{value:.{self.digits}f}".replace("-", "−")


class PaperRow(Record):
    """A row of Table 1; `key` is the system key of our evaluation."""

    key: str
    group: Literal["baseline", "method", "topline"]
    title: str
    nfe: int | None = None
    values: Mapping[str, float]
    half_widths: Mapping[str, float] = {}


class AblationRow(Record):
    """A row of Table 2: trained on `all` data and on the `subset`."""

    key: str
    title: str
    nfe: int
    all: Mapping[str, float]
    subset: Mapping[str, float]


class Paper(Record):
    """All that is compared with."""

    title: str
    authors: str
    setting: str
    metrics: Mapping[str, PaperMetric]
    table1: tuple[PaperRow, ...]
    table2: tuple[AblationRow, ...]
    fig2: tuple[str, ...]
    """Metrics of Fig. 2; its points are those of Table 1."""
    fig3: tuple[str, ...]
    """Metrics of Fig. 3; likewise."""

    def row(self, key: str) -> PaperRow | None:
        """The row of Table 1 for a system, if the paper has one."""
        return next((row for row in self.table1 if row.key == key), None)

    def by_metric(self) -> dict[str, dict[str, float]]:
        """The values of Table 1 by metric, then by system key."""
        return {
            metric: {row.key: row.values[metric] for row in self.table1 if metric in row.values}
            for metric in self.metrics
        }


@cache
def load_paper() -> Paper:
    """The codec-resynthesis paper's Tables 1 and 2."""
    text = files("resyn.evaluation").joinpath("papers/codec_resynthesis.yaml").read_text()
    return Paper.model_validate(yaml.safe_load(text))
