"""Scale-invariant signal-to-noise ratio, at the codec's rate."""

from __future__ import annotations

import numpy as np
import torch

from resyn.evaluation.metrics.base import Metric, NoValueError, Pair


def si_snr(pair: Pair) -> float:
    """SI-SNR in dB, of any sign. Raises NoValueError for an exact copy, where it has no bound."""
    from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

    if np.array_equal(pair.reference, pair.estimate):
        raise NoValueError("the estimate equals the reference, where SI-SNR has no upper bound")
    # float64, because torchmetrics adds an epsilon of the input's type to both energies.
    reference, estimate = (
        torch.from_numpy(samples.astype(np.float64)) for samples in (pair.reference, pair.estimate)
    )
    return scale_invariant_signal_noise_ratio(estimate, reference).item()


SI_SNR = Metric(
    name="si_snr",
    title="SI-SNR",
    unit="dB",
    better="higher",
    digits=2,
    package="torchmetrics",
    definition="scale_invariant_signal_noise_ratio on zero-mean signals, in float64",
    compute=si_snr,
    sample_rate=None,
)
