from shared.live.committed_text import Update
from shared.live.live_transcriber import LiveTranscriber

__all__ = ["LiveTranscriber", "Update"]
