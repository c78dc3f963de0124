"""Codec Schrödinger Bridge: learning rate and noise of the bridge."""

from ray.tune import loguniform
from ray.tune.search.sample import Domain

SPACE: dict[str, Domain] = {
    "optim.lr": loguniform(1e-4, 3e-3),
    "method.beta_max": loguniform(0.03, 3.0),
}
#: Not the loss: its target holds the very noise that is varied here.
METRIC = "validation_latent_error"
