"""Folders of tiny random models, laid out as their makers publish the large ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch

#: What the recogniser can say, in its own spelling.
WORDS = ("the", "colour", "cat", "sat", "near", "harbour", "and", "sang", "of", "grey", "ships")
#: Seconds of one window, where the real ones have 30.
WINDOW = 2
MOST_TOKENS = 12

_HYPERPARAMS = """\
pretrained_path: speechbrain/spkrec-ecapa-voxceleb
n_mels: 16
out_n_neurons: 5
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [16, 16, 16, 16, 48]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 8
    se_channels: 8
    lin_neurons: 12
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 12
    out_neurons: !ref <out_n_neurons>
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
"""


def write_ecapa(folder: Path, seed: int = 0) -> Path:
    """An ECAPA-TDNN of 12 dimensions with SpeechBrain's `hyperparams.yaml`."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(_HYPERPARAMS)
    torch.manual_seed(seed)
    network = ECAPA_TDNN(
        16, channels=[16] * 4 + [48], attention_channels=8, se_channels=8, lin_neurons=12
    )
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    return folder


def write_whisper(folder: Path, seed: int = 0) -> Path:
    """A Whisper of one layer that hears windows of two seconds and says eleven words at random."""
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
    from transformers import WhisperFeatureExtractor as Extractor

    folder.mkdir(parents=True)
    names = _write_tokenizer(folder)
    Extractor(feature_size=16, chunk_length=WINDOW).save_pretrained(folder)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), names["<|endoftext|>"])
    start = {"decoder_start_token_id": names["<|startoftranscript|>"], **ends}
    config = WhisperConfig(
        vocab_size=len(names),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
        num_mel_bins=16,
        max_source_positions=50 * WINDOW,
        max_target_positions=64,
        **start,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():  # words outweigh everything else that it could say
        model.get_output_embeddings().weight[len(WORDS) :] = 0
        model.get_output_embeddings().weight[: len(WORDS)] *= 200
    model.generation_config = GenerationConfig(**_decoding(names), **start)
    model.save_pretrained(folder)
    return folder


def _decoding(names: dict[str, int]) -> dict[str, object]:
    return {
        "max_length": MOST_TOKENS,
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": names["<|en|>"]},
        "task_to_id": {task: names[f"<|{task}|>"] for task in ("transcribe", "translate")},
        "no_timestamps_token_id": names["<|notimestamps|>"],
        "max_initial_timestamp_index": 50,
        "return_timestamps": False,
    }


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """The tokenizer's files; its words and signs by number."""
    from transformers import AddedToken, WhisperTokenizer

    vocabulary = {f"Ġ{word}": number for number, word in enumerate(WORDS)}
    spelling = folder / "normalizer.json"
    spelling.write_text(json.dumps({"colour": "color", "harbour": "harbor", "grey": "gray"}))
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[], normalizer_file=str(spelling))
    signs = ["endoftext", "startoftranscript", "en", "translate", "transcribe"]
    signs += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    special = [AddedToken(f"<|{sign}|>", special=True, normalized=False) for sign in signs]
    tokenizer.add_tokens(special, special_tokens=True)
    times = [AddedToken(f"<|{0.02 * i:.2f}|>", normalized=False) for i in range(50 * WINDOW + 1)]
    tokenizer.add_tokens(times)
    tokenizer.save_pretrained(folder)
    return tokenizer.get_vocab()
