"""Codec Schrödinger Bridge: learning rate and noise of the bridge."""

from ray.tune import choice, loguniform, uniform
from ray.tune.search.sample import Domain

SPACE: dict[str, Domain] = {
    "optim.lr": loguniform(1e-4, 3e-3),
    "method.beta_max": loguniform(0.03, 3.0),
}
#: The scale of the latents and the noise trade off: either moves the other's best value.
FURTHER: dict[str, Domain] = {
    "method.latent_scale": loguniform(0.3, 3.0),
    "method.mode": choice(["i2sb", "true_peak"]),
    "method.start_share": uniform(0.0, 0.7),
    "method.condition_dropout": choice([0.0, 0.1, 0.2]),
}
#: Not the loss: its target holds the very noise that is varied here.
METRIC = "validation_latent_error"
