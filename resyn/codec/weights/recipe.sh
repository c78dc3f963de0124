#!/usr/bin/env bash
# How demo_24khz.safetensors was made: about two hours on two busy CPU cores.
# Needs `make setup`; writes below the folder given (default: codec-out).
set -euo pipefail
out=${1:-codec-out}
train() { python pipelines/train.py --method codec --preset demo --shards "$out/shards" \
    --num-workers 0 --engine torch --tracking-uri off "$@"; }

python -m resyn.corpus --output "$out/corpus" --minutes 60 --eval-utterances 48 --seed 0
python pipelines/encode.py --input "$out/corpus/librilight" --output "$out/shards" \
    --codec waveform_24khz --columns audio --segment-seconds 10

# To step 2250 of 6000, then extended to 9000 and stopped at step 4750.
first() { train --output "$out/first" --set optim.lr=2e-3 --set method.speed=0 \
    --set method.tilt=0 "$@"; }
first --steps 6000 --set run.stop_at_step=2250
first --steps 9000 --set run.stop_at_step=4750

train --output "$out/second" --steps 6000 --set run.stop_at_step=1250 \
    --set init_from="$out/first"

train --output "$out/third" --steps 3500 --set init_from="$out/second" \
    --set method.mel_weight=2 --set method.complex_weight=1.5 \
    --set method.waveform_weight=10 --set method.commitment_weight=0.5 \
    --set optim.lr=1.2e-3 --set optim.warmup_steps=50

train --output "$out/fourth" --steps 2200 --set init_from="$out/third" \
    --set method.mel_weight=3 --set method.complex_weight=1.5 \
    --set method.waveform_weight=5 --set method.commitment_weight=0.5 \
    --set optim.lr=1.2e-3 --set optim.warmup_steps=50

# Mostly z and all eight levels from here on; x1 may sound as coarse as it is.
train --output "$out/fifth" --steps 4500 --set init_from="$out/fourth" \
    --set method.mel_weight=3 --set method.complex_weight=1.5 \
    --set method.waveform_weight=5 --set method.commitment_weight=0.5 \
    --set method.min_levels=4 --set method.prefix_share=0.15 \
    --set method.unquantised_share=0.4 --set optim.lr=1.3e-3 --set optim.warmup_steps=50

cp "$out/fifth/codec.safetensors" resyn/codec/weights/demo_24khz.safetensors
