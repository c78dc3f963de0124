"""Settings of promotion."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from resyn.config.base import Settings
from resyn.errors import UserError


class RegisterConfig(Settings):
    """Which model gets which name, and when."""

    name: str
    """Name in the registry, such as `resyn-sb`."""
    run: str | None = None
    """Id of the MLflow run whose newest checkpoint is meant; `ID@best` means its best."""
    model: str | None = None
    """Or: the folder of a checkpoint or of a run, whose newest is meant, or `FOLDER@best`."""
    alias: str | None = None
    """Alias to point at the version, such as `champion`."""
    if_better: str | None = None
    """Metric in which it must beat the holder of the alias; a holder without it gives way."""
    tracking_uri: str | None = None

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        if (self.run is None) == (self.model is None):
            raise UserError("name one model: either --run ID or --model FOLDER")
        if self.if_better and not self.alias:
            raise UserError(
                f"--if-better {self.if_better}: needs --alias, whose holder it compares with"
            )
        return self
