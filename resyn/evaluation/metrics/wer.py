"""Word error rate: how much of what is said a recogniser still understands.

As in the codec-resynthesis paper: Whisper large-v2 listens, and both its words and the
transcript's go through Whisper's own normaliser of English (Radford et al., 2022, appendix C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resyn.evaluation.metrics.base import Metric, Pair, Score
from resyn.evaluation.metrics.weights import ModelFiles, NoValueError, Weights, opened_once

PERCENT = 100.0

FILES = ModelFiles(
    setting="--whisper",
    patterns=("*.json", "merges.txt", "model.safetensors", "model-*-of-*.safetensors"),
    needed=("config.json", "normalizer.json", "model*.safetensors"),
)


@dataclass(frozen=True, slots=True)
class Recogniser:
    """Whisper as transformers has it: its processor, its network, and torch's `device`."""

    processor: Any
    model: Any
    device: str

    def transcribe(self, samples: np.ndarray, sample_rate: int) -> str:
        """What is heard in (S,) samples, decoded greedily; long audio window after window."""
        import torch

        hear = self.processor.feature_extractor
        long = len(samples) > hear.n_samples
        inputs = hear(
            samples,
            sampling_rate=sample_rate,
            return_tensors="pt",
            return_attention_mask=True,
            truncation=False,
            padding="longest" if long else "max_length",
        ).to(self.device)
        options: dict[str, object] = {"num_beams": 1, "do_sample": False, "return_timestamps": long}
        # The models for English alone refuse to be told so.
        if getattr(self.model.generation_config, "is_multilingual", True):
            options |= {"language": "en", "task": "transcribe"}
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **options)
        return self.processor.tokenizer.decode(tokens[0], skip_special_tokens=True)

    def normalise(self, text: str) -> str:
        """Lower case, no punctuation, American spelling, numbers as digits."""
        return self.processor.tokenizer.normalize(text)


@opened_once
def _open(folder: str, sha256: str, device: str) -> Recogniser:
    """`sha256` is there to tell apart what one folder held at different times."""
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
    model = WhisperForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    return Recogniser(processor, torch.nn.Module.to(model, device).eval(), device)


def word_error_rate(pair: Pair, weights: Weights, device: str) -> Score:
    """Word errors in percent of the transcript's words; above 100 where words are added.

    Raises NoValueError without a transcript, or with one that has no words.
    """
    import jiwer

    if pair.text is None:
        raise NoValueError("no transcript (.trans.txt) beside the audio")
    whisper = _open(str(weights.here()), weights.sha256, device)
    said = whisper.normalise(pair.text)
    if not said.split():
        raise NoValueError("the transcript has no words")
    heard = whisper.normalise(whisper.transcribe(pair.estimate, pair.sample_rate))
    found = jiwer.process_words(said, heard)
    errors = found.substitutions + found.deletions + found.insertions
    words = found.substitutions + found.deletions + found.hits
    return Score(value=PERCENT * errors / words, words=words)


WER = Metric(
    name="wer",
    title="WER",
    unit="%",
    better="lower",
    digits=1,
    package="transformers",
    besides=("jiwer",),
    definition=(
        "word errors of Whisper over words of the transcript, both through Whisper's normaliser "
        "of English; greedy decoding in float32; a table's value is all errors over all words"
    ),
    compute=word_error_rate,
    per_word=True,
    files=FILES,
)
