from shared.languages.codes import language_code, language_name
from shared.languages.whisper import LANGUAGES, NO_SPACES, RIGHT_TO_LEFT

__all__ = ["LANGUAGES", "NO_SPACES", "RIGHT_TO_LEFT", "language_code", "language_name"]
