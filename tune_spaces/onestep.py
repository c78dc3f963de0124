"""One-step regression."""

from ray.tune import choice, loguniform
from ray.tune.search.sample import Domain

SPACE: dict[str, Domain] = {
    "optim.lr": loguniform(1e-4, 3e-3),
    "model.layer_dropout": choice([0.0, 0.05, 0.1]),
}
FURTHER: dict[str, Domain] = {"method.residual": choice([0.0, 0.3, 1.0])}
METRIC = "validation_loss"
