"""ViSQOL in speech mode (Chinen et al., 2020).

The polynomial mapping is pinned: it gives an exact copy 5.0, as the paper's Table 1 does, where
the lattice mapping gives 4.707 and is chosen silently whenever its runtime is installed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from resyn.evaluation.metrics.base import Metric, Pair

if TYPE_CHECKING:
    from visqol import VisqolApi


@functools.cache
def _speech_model() -> VisqolApi:
    from visqol import VisqolApi

    model = VisqolApi()
    model.create(mode="speech", use_lattice_model=False)
    return model


def visqol(pair: Pair) -> float:
    """ViSQOL MOS-LQO, 1 to 5. Raises the package's ValueError on clips too short for a patch."""
    reference, estimate = (
        samples.astype(np.float64) for samples in (pair.reference, pair.estimate)
    )
    return _speech_model().measure_from_arrays(reference, estimate, pair.sample_rate).moslqo


VISQOL = Metric(
    name="visqol",
    title="ViSQOL",
    unit="",
    better="higher",
    digits=2,
    package="visqol-python",
    definition="speech mode, polynomial mapping (use_lattice_model=False), MOS-LQO",
    compute=visqol,
)
