"""What is compared: the baseline, every method at every NFE, and the toplines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

from torch import Tensor

from resyn.codec.base import CodecSpec
from resyn.errors import UserError
from resyn.evaluation.metrics import Record
from resyn.methods import ResynthesisMethod
from resyn.types import LatentSpace

#: Order of the paper's Table 1; other methods follow in the order given.
PAPER_ORDER = ("c2f", "onestep", "sb")
GROUND_TRUTH = "reference"
LATENT = "z"


class LatentMaker(Protocol):
    """The part of `resyn.resynthesis.Resynthesizer` that evaluation uses."""

    @property
    def method(self) -> ResynthesisMethod:
        """The generation method."""
        ...

    @property
    def num_coarse(self) -> int:
        """Coarse levels it starts from."""
        ...

    @property
    def max_nfe(self) -> int:
        """The largest number of network evaluations it can use."""
        ...

    @property
    def space(self) -> LatentSpace:
        """Codebooks and statistics of the training latents."""
        ...

    def latents(self, codes: Tensor, nfe: int, seeds: Sequence[int]) -> Tensor:
        """Coarse codes (B,c,T) to latents (B,T,D) in codec units; one seed per item."""
        ...


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model as the user named it, with a hash of its files."""

    uri: str
    fingerprint: str
    resynthesizer: LatentMaker


def public_name(uri: str) -> str:
    """What a published page may say of a model: a registered name whole, of a path its last part.

    A path tells of the machine, and of an object store the bucket.
    """
    if uri.startswith(("models:/", "runs:/")):
        return uri
    return PurePosixPath(uri.rstrip("/")).name


class System(Record):
    """One row of the table, or (group `codebooks`) one more point of the codebook figure.

    `key` is fit for file names. `symbol` is the paper's, such as `x1:8`. `model` is the URI; in
    results only its `public_name`.
    """

    key: str
    group: Literal["baseline", "method", "topline", "codebooks"]
    title: str
    symbol: str = ""
    method: str | None = None
    nfe: int | None = None
    model: str | None = None
    num_codebooks: int | None = None

    @property
    def label(self) -> str:
        """Title and NFE in one phrase."""
        if self.nfe is None:
            return f"{self.title} {self.symbol}".strip()
        return f"{self.title}, NFE {self.nfe}"


def shared_num_coarse(models: Sequence[EvaluatedModel]) -> int:
    """Coarse levels that all `models` start from, 1 without models. Raises UserError if mixed."""
    counts = {model.uri: model.resynthesizer.num_coarse for model in models}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{uri}: {count}" for uri, count in counts.items())
        raise UserError(f"--model: different numbers of coarse codes ({listed}); evaluate apart")
    return next(iter(counts.values()), 1)


def list_systems(
    models: Sequence[EvaluatedModel], spec: CodecSpec, nfe: Sequence[int]
) -> tuple[System, ...]:
    """Every system in the order of the paper's Table 1, then the further codebook counts.

    Raises UserError for models that cannot share a table, and for counts of evaluations in `nfe`
    that `check_nfe` refuses.
    """
    check_nfe(models, spec, nfe)
    given, most = shared_num_coarse(models), spec.num_codebooks
    between = [k for k in range(1, most) if k != given]
    return (
        _codes("baseline", given),
        *_method_systems(models, spec, nfe),
        _codes("topline", most),
        System(key=LATENT, group="topline", title="Pre-quantised embedding", symbol=LATENT),
        System(key=GROUND_TRUTH, group="topline", title="Ground truth"),
        *(_codes("codebooks", count) for count in between),
    )


def nfe_counts(model: EvaluatedModel, spec: CodecSpec, wanted: Sequence[int]) -> list[int]:
    """The `wanted` counts that fit, and the method's last where its walk has a natural end.

    Level by level, coarse-to-fine ends after K - c evaluations, and one-step after one; the
    bridge's T = 1000 is no such end.
    """
    most = model.resynthesizer.max_nfe
    ends = {most} if _has_end(model, spec) else set()
    return sorted({count for count in wanted if count <= most} | ends)


def check_nfe(models: Sequence[EvaluatedModel], spec: CodecSpec, wanted: Sequence[int]) -> None:
    """Raises UserError where a count in `wanted` would be dropped for every model.

    Where all models have a natural end, counts beyond it stand for that end, unless all are. So
    that every model has a row, one without an end needs a count that fits.
    """
    limits = {model.uri: model.resynthesizer.max_nfe for model in models}
    told = ", ".join(f"{uri}: at most {most}" for uri, most in limits.items())
    beyond = [count for count in wanted if limits and count > max(limits.values())]
    if beyond and (len(beyond) == len(wanted) or not all(_has_end(m, spec) for m in models)):
        listed = ", ".join(map(str, beyond))
        raise UserError(f"--nfe {listed}: more evaluations than any model can use ({told})")
    for model in models:
        if not nfe_counts(model, spec, wanted):
            listed = ", ".join(map(str, wanted))
            raise UserError(f"--nfe {listed}: no count that {model.uri} can use ({told})")


def _has_end(model: EvaluatedModel, spec: CodecSpec) -> bool:
    return model.resynthesizer.max_nfe < spec.num_codebooks


def _codes(group: Literal["baseline", "topline", "codebooks"], count: int) -> System:
    one = count == 1
    return System(
        key="x1" if one else f"x1-{count}",
        group=group,
        title="First RVQ code" if one else f"{count} RVQ codes",
        symbol="x1" if one else f"x1:{count}",
        num_codebooks=count,
    )


def _method_systems(
    models: Sequence[EvaluatedModel], spec: CodecSpec, nfe: Sequence[int]
) -> list[System]:
    repeats = Counter(model.resynthesizer.method.name for model in models)
    taken: Counter[str] = Counter()
    systems: list[System] = []
    for model in sorted(models, key=_paper_rank):
        method = model.resynthesizer.method
        title, stem = method.title, _slug(method.name)
        if repeats[method.name] > 1:
            taken[stem] += 1
            title = f"{title} [{public_name(model.uri)}]"
            stem = f"{stem}-{taken[stem]}"
        if method.passes > 1:
            title = f"{title} ({method.passes} passes per NFE)"
        for count in nfe_counts(model, spec, nfe):
            systems.append(
                System(
                    key=f"{stem}-nfe{count}",
                    group="method",
                    title=title,
                    method=method.name,
                    nfe=count,
                    model=model.uri,
                )
            )
    return systems


def _paper_rank(model: EvaluatedModel) -> int:
    name = model.resynthesizer.method.name
    return PAPER_ORDER.index(name) if name in PAPER_ORDER else len(PAPER_ORDER)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "method"
