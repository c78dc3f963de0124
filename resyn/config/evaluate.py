"""Settings of evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from resyn.config.base import Settings


def _split(value: Any) -> Any:
    """`"1,4,7"` to `["1", "4", "7"]`, so that a list fits into one word of a command line."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split)]
MetricName = Literal[
    "si_snr",
    "estoi",
    "pesq",
    "visqol",
    "wer",
    "sim",
    "dnsmos_ovrl",
    "dnsmos_sig",
    "dnsmos_bak",
    "squim_stoi",
    "squim_pesq",
    "squim_si_sdr",
    "log_mel",
    "sharpness",
    "latent_error",
    "rtf",
]
MetricNames = Annotated[tuple[MetricName, ...], BeforeValidator(_split)]


class EvaluateRunSettings(Settings):
    """How an evaluation is carried out; no part of what its quality values depend on."""

    threads: int = Field(default=2, ge=1)
    """CPU threads of synthesis; RTF is measured with these."""
    workers: int | None = Field(default=None, ge=0)
    """Size in CPUs of a Ray started for the metrics; None is the machine's, 0 works without Ray."""
    device: str = "cpu"
    """Torch device of synthesis."""
    model_workers: int | None = Field(default=None, ge=1)
    """Processes on Ray that hold the models of `wer` and `sim`; None is what CPUs and memory
    allow."""
    model_gpus: float = Field(default=0.0, ge=0)
    """GPUs of each of these; 0 runs the models on the CPU."""


class EvaluateConfig(Settings):
    """One evaluation, whole."""

    model: Names = ()
    """Checkpoint folders, `runs:/…` or `models:/name@alias`; none evaluates the codec alone."""
    input: str = ""
    """URI of the evaluation audio: a LibriSpeech-shaped tree or any folder of audio."""
    output: str = ""
    """Folder for results.json, table.md, index.html and assets/."""
    nfe: Counts = (1, 4, 7, 16)
    """Network evaluations to try, where a method allows them."""
    metrics: MetricNames = (
        "si_snr",
        "estoi",
        "pesq",
        "visqol",
        "log_mel",
        "latent_error",
        "rtf",
    )
    """Columns of the table. On request, for their cost: `dnsmos_ovrl`, `dnsmos_sig` and
    `dnsmos_bak` (seconds per take), `wer` and `sim` (a model that has to be fetched first), and
    `squim_stoi`, `squim_pesq` and `squim_si_sdr` (weights that `squim` has to name)."""
    whisper: str = "openai/whisper-large-v2"
    """Recogniser of `wer`: a folder of transformers, or a name on the Hugging Face hub."""
    ecapa: str = "speechbrain/spkrec-ecapa-voxceleb"
    """Speaker model of `sim`: a folder of SpeechBrain, or a name on the Hugging Face hub."""
    squim: str = ""
    """Weights of `squim_*`: the file `squim_objective_dns2020.pth` of torchaudio, or its folder."""
    fetch: bool = True
    """Ask the hub for a model of `wer` or `sim` that is not on this machine."""
    max_utterances: int | None = Field(default=None, ge=1)
    """Utterances to use, spread over the speakers; None uses all."""
    samples_on_page: int = Field(default=8, ge=0)
    """Utterances to see and hear on the page."""
    seed: int = 0
    """Of the stochastic methods; each utterance derives its own."""
    sampling: tuple[str, ...] = ()
    """Sampling settings as `name=value`: `guidance=2`; each for the models whose method has it."""
    weights: Literal["ema", "raw"] = "ema"
    """Averaged weights, or those of the last step."""
    codec: str | None = None
    """Codec by name when there is no model; a model brings its own."""
    codec_weights: str | None = None
    """File of the codec's weights; None takes the codec's own."""
    tracking_uri: str | None = None
    """MLflow server that `runs:/…` and `models:/…` refer to."""
    run: EvaluateRunSettings = EvaluateRunSettings()
