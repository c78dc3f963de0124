"""The registered model's own code: MLflow copies this file into the model and runs it there.

It must import neither ray nor deepspeed, directly or through others: whoever loads the model has
MLflow and resyn, and no cluster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from resyn.methods import change_sampling
from resyn.resynthesis import Resynthesizer


class ResynthesisModel(PythonModel):
    """Coarse codes (c,T) int64 to a waveform (S,) float32 at the codec's rate."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint inside the model.

        `model_config` of `load_model` chooses `device`, `precision` ("fp32" or "bf16"), `weights`
        ("ema" or "raw") and `codec_weights`, a file for a codec whose weights are not resyn's to
        hand on.
        """
        chosen = context.model_config or {}
        self.resynthesizer = Resynthesizer.from_checkpoint(
            context.artifacts["checkpoint"],
            codec_weights=chosen.get("codec_weights"),
            device=chosen.get("device", "cpu"),
            precision=chosen.get("precision", "fp32"),
            weights=chosen.get("weights", "ema"),
        )

    # The base class declares no result.
    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """The waveform of `model_input` (c,T).

        `params` may hold `nfe`, `seed` and the method's sampling settings, which the signature
        lists with their defaults. Raises UserError for values that the method refuses.
        """
        chosen = dict(params or {})
        nfe, seed = chosen.pop("nfe", None), chosen.pop("seed", 0)
        model = self.resynthesizer
        if chosen:
            method = change_sampling(model.method, chosen)
            parts = (model.network, model.space, model.codec, str(model.device), model.precision)
            model = Resynthesizer(method, *parts)
        return model.resynthesize(model_input, nfe=nfe, seed=seed).samples


set_model(ResynthesisModel())
