"""Coarse-to-fine: its cross-entropy wants a smaller learning rate than the regressions."""

from ray.tune import choice, loguniform
from ray.tune.search.sample import Domain

SPACE: dict[str, Domain] = {
    "optim.lr": loguniform(3e-5, 1e-3),
    "model.layer_dropout": choice([0.0, 0.05, 0.1]),
}
#: Masking changes which frames the loss counts: compare by `--metric validation_latent_error`.
FURTHER: dict[str, Domain] = {"method.masking": choice([0.0, 0.5, 0.8])}
METRIC = "validation_loss"
