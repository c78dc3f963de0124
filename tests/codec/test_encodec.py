"""The EnCodec network: its published layout, its laws, and its two ways to weights."""

from __future__ import annotations

import gc
import urllib.error
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from encodec import EncodecModel
from torch import Tensor

from resyn.codec import Codec, load_codec
from resyn.codec.encodec import EncodecCodec, random_network
from resyn.errors import UserError

Tone = Callable[..., np.ndarray]

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec("encodec_24khz_random")


@pytest.fixture(scope="module")
def published() -> EncodecModel:
    """A network with all 32 quantiser stages, as published, and weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = EncodecModel.encodec_model_24khz(pretrained=False)
        state = {
            name: torch.randn_like(tensor) if name.endswith("embed") else tensor
            for name, tensor in network.state_dict().items()
        }
    state |= {name: torch.ones_like(state[name]) for name in state if name.endswith("inited")}
    network.load_state_dict(state)
    network.set_target_bandwidth(6.0)
    return network.eval()


@pytest.fixture(scope="module")
def weights(published: EncodecModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "encodec_24khz-d7cc33bc.th"
    torch.save(published.state_dict(), file)
    return file


def clips(make_tone: Tone, count: int, seconds: float) -> Tensor:
    return torch.stack(
        [torch.from_numpy(make_tone(seconds, 24_000, i))[None] for i in range(count)]
    )


def test_a_published_state_gives_the_networks_own_outputs(
    published: EncodecModel, weights: Path, make_tone: Tone
) -> None:
    codec = load_codec("encodec_24khz", str(weights))
    audio = clips(make_tone, 1, 1.0)
    with torch.inference_mode():
        ((codes, _),) = published.encode(audio)
        wave = published.decode([(codes, None)])
        latents = published.encoder(audio)
    frames = codec.encode(audio)
    assert torch.equal(frames.codes, codes)
    torch.testing.assert_close(frames.z, latents.transpose(1, 2))
    torch.testing.assert_close(codec.decode(codec.dequantize(codes)), wave)


def test_the_spec_names_the_file(weights: Path, tmp_path: Path) -> None:
    spec = load_codec("encodec_24khz", str(weights)).spec
    assert (spec.frame_rate, spec.bandwidth_kbps, spec.dim) == (75.0, 6.0, 128)
    assert not spec.random_weights
    copy = tmp_path / "w.safetensors"
    state = torch.load(weights, weights_only=True)
    safetensors.torch.save_file({name: tensor.clone() for name, tensor in state.items()}, copy)
    other = load_codec("encodec_24khz", str(copy))
    assert other.spec.weights_sha256 != spec.weights_sha256
    assert torch.equal(other.codebooks, load_codec("encodec_24khz", str(weights)).codebooks)


def test_a_wrong_layout_names_the_first_key(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state.pop("encoder.model.0.conv.conv.bias")
    torch.save(state, tmp_path / "short.th")
    with pytest.raises(UserError, match=r"short\.th: lacks encoder\.model\.0\.conv\.conv\.bias"):
        load_codec("encodec_24khz", str(tmp_path / "short.th"))
    torch.save(
        {**torch.load(weights, weights_only=True), "extra": torch.ones(1)}, tmp_path / "l.th"
    )
    with pytest.raises(UserError, match="unexpected extra"):
        load_codec("encodec_24khz", str(tmp_path / "l.th"))
    (tmp_path / "text.th").write_text("no weights")
    with pytest.raises(UserError, match="not a plain state dict"):
        load_codec("encodec_24khz", str(tmp_path / "text.th"))
    with pytest.raises(UserError, match="no such file"):
        load_codec("encodec_24khz", str(tmp_path / "none.th"))


def test_offline_without_weights_names_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError) as caught:
        load_codec("encodec_24khz")
    message = str(caught.value)
    assert "--codec-weights FILE" in message
    assert "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th" in message
    assert "\n" not in message


def test_random_weights_are_the_same_everywhere_and_labelled(codec: Codec) -> None:
    torch.manual_seed(1)
    again = load_codec("encodec_24khz_random")
    assert again.spec == codec.spec
    assert codec.spec.random_weights
    assert codec.spec.name == "encodec_24khz_random"
    with pytest.raises(UserError, match="drop the flag"):
        load_codec("encodec_24khz_random", "x.th")


def test_only_the_eight_stages_in_use_stay_in_memory() -> None:
    """The network has 32; a stage needs 1024 vectors of 128 floats, and one number."""
    network = random_network()
    stages = [layer._codebook for layer in network.quantizer.vq.layers]  # pyright: ignore
    assert len(stages) == 32
    beyond = [weakref.ref(stage.embed) for stage in stages[8:]]
    first = [stage.embed.clone() for stage in stages[:8]]
    codec = EncodecCodec(network, load_codec("encodec_24khz_random").spec)
    del stages
    gc.collect()
    assert not any(reference() is not None for reference in beyond)
    kept = list(network.quantizer.buffers()) + list(network.quantizer.parameters())
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    assert sum(storages.values()) == 4 * 8 * (1024 * 128 + 1)
    assert codec.codebooks.untyped_storage().data_ptr() in storages
    assert torch.equal(codec.codebooks, torch.stack(first))


def test_random_codes_are_not_degenerate(codec: Codec, make_tone: Tone) -> None:
    codes = codec.encode(clips(make_tone, 1, 4.0)).codes[0]
    assert codes.shape == (8, 300)
    assert min(len(level.unique()) for level in codes) > 100


def test_right_padding_leaves_earlier_frames_unchanged(codec: Codec, make_tone: Tone) -> None:
    audio = clips(make_tone, 1, 0.8)
    padded = torch.nn.functional.pad(audio, (0, 24_000 - audio.shape[-1]))
    short, long = codec.encode(audio), codec.encode(padded)
    assert torch.equal(short.codes, long.codes[..., :60])
    torch.testing.assert_close(short.z, long.z[:, :60])


def test_an_item_is_bit_identical_in_every_batch_of_one_shape(
    codec: Codec, make_tone: Tone
) -> None:
    audio = clips(make_tone, 4, 0.8)
    reference = codec.encode(audio)
    for order in ([3, 2, 1, 0], [1, 1, 1, 1], [2, 0, 3, 1]):
        frames = codec.encode(audio[order])
        assert torch.equal(frames.codes, reference.codes[order])
        assert torch.equal(frames.z, reference.z[order])


def test_dequantised_levels_add_up(codec: Codec, make_tone: Tone) -> None:
    codes = codec.encode(clips(make_tone, 1, 0.8)).codes
    books = codec.codebooks
    for k in (1, 3, 8):
        expected = sum((books[level][codes[:, level]] for level in range(k)), torch.zeros(()))
        torch.testing.assert_close(codec.dequantize(codes[:, :k]), expected)
    assert codec.decode(codec.dequantize(codes)).shape == (1, 1, 19_200)


def test_a_length_off_the_frame_grid_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="multiple of 320"):
        codec.encode(torch.zeros(1, 1, 321))
