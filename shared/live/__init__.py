from shared.live.live_transcriber import LiveTranscriber, Update

__all__ = ["LiveTranscriber", "Update"]
