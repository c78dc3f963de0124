"""Codec: learning rate, and how hard the encoder is held to its codebooks."""

from ray.tune import loguniform
from ray.tune.search.sample import Domain

SPACE: dict[str, Domain] = {
    "optim.lr": loguniform(1e-4, 3e-3),
    "method.commitment_weight": loguniform(0.05, 1.0),
}
METRIC = "validation_loss"
