"""Whisper's numbers, each in one place and derived from the others, with their units.

All checkpoints of Whisper share them (Radford et al. 2022, arXiv 2212.04356; openai/whisper, `audio.py` and
`decoding.py`). What differs between checkpoints (mel channels, widths, vocabulary) is read from the checkpoint.
"""

from __future__ import annotations

# Sound
SAMPLE_RATE = 16_000  # samples a second (Hz), mono
WINDOW_SECONDS = 30.0  # what the encoder reads at once: its full context
WINDOW_SAMPLES = int(WINDOW_SECONDS * SAMPLE_RATE)  # 480 000

# Log-mel
N_FFT = 400  # samples in one analysis window: 25 ms
HOP_LENGTH = 160  # samples from one frame to the next: 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 100
N_FRAMES_FULL = WINDOW_SAMPLES // HOP_LENGTH  # 3000 log-mel frames in a full window

# Encoder
FRAMES_PER_POSITION = 2  # its second convolution halves the frames
ENCODER_POSITIONS = N_FRAMES_FULL // FRAMES_PER_POSITION  # 1500 in a full window
POSITION_SECONDS = FRAMES_PER_POSITION / FRAMES_PER_SECOND  # 0.02, also the step of the timestamp tokens
N_STAMPS = ENCODER_POSITIONS + 1  # 1501 timestamp tokens: 0.00 to 30.00 s
MAX_FIRST_STAMP = 50  # 1 s: speech is taken to begin within it, as in Whisper's reference decoder

# Decoder
DECODER_POSITIONS = 448  # tokens: earlier text, prompt and what is decoded
MAX_NEW_TOKENS = DECODER_POSITIONS // 2  # 224 decoded in one window, as in Whisper's reference decoder
MAX_PROMPT_TOKENS = DECODER_POSITIONS // 2 - 1  # 223 of earlier text; `<|startofprev|>` takes one position

# Silence after a clip whose checkpoint was trained on cropped clips. Serving adds it, evaluation during training adds
# the same, and training draws its silence from 0.2 s upwards.
CROPPED_SILENCE_SECONDS = 0.4
