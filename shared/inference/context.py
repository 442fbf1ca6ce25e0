"""How much of the encoder's 30 s a clip gets, by what its checkpoint was trained for.

Enters: lengths of clips, and what was decoded from a cropped one. Leaves: numbers of log-mel frames, and whether to
decode again with all of the context. Knows nothing of engines or text.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.audio.features import frames_for
from shared.checkpoint import ShortContext
from shared.engines import Decoded
from shared.whisper_constants import CROPPED_SILENCE_SECONDS, N_FRAMES_FULL, WINDOW_SECONDS

ROOM_SECONDS = 5.0  # with it stock whisper-base ends where it does at 30 s; with 3 s it loops (docs/inference.md)
# A checkpoint not trained on cropped clips is asked again at full context when it is less sure than this (chosen
# on 324 clips of four languages, docs/inference.md).
UNSURE_LOGPROB = -0.8


@dataclass(frozen=True)
class ContextPolicy:
    """silence: seconds that a clip gets behind it; None: all of the encoder's 30 s.

    unsure_logprob: mean log-probability (≤ 0) below which a cropped clip is decoded again; None: never for that.
    """

    silence: float | None
    unsure_logprob: float | None = None

    @property
    def crops(self) -> bool:
        """Whether a clip costs what it lasts."""
        return self.silence is not None

    def n_frames(self, seconds: float) -> int:
        """Log-mel frames for a clip of so many seconds."""
        return N_FRAMES_FULL if self.silence is None else frames_for(seconds + self.silence)

    def full_frames(self, seconds: float, room: float = WINDOW_SECONDS) -> int:
        """The same where the clip is not to be cropped. room: seconds of silence behind it, up to all there is."""
        return frames_for(seconds + room)

    def is_cropped(self, seconds: float) -> bool:
        return self.n_frames(seconds) < N_FRAMES_FULL

    def is_unsure(self, seconds: float, decoded: Decoded) -> bool:
        """Whether a clip was cropped and the result is too uncertain to be taken."""
        return self.unsure_logprob is not None and self.is_cropped(seconds) \
            and decoded.avg_logprob < self.unsure_logprob


POLICIES: dict[ShortContext, ContextPolicy] = {
    "full": ContextPolicy(None),
    "room": ContextPolicy(ROOM_SECONDS, UNSURE_LOGPROB),  # known to need 5 s of silence
    "any": ContextPolicy(CROPPED_SILENCE_SECONDS),  # trained on cropped clips
}
