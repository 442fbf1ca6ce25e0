from shared.languages.codes import Names, iso_639, language_code, language_name, names_of
from shared.languages.whisper import LANGUAGES, NO_SPACES, RIGHT_TO_LEFT

__all__ = ["LANGUAGES", "NO_SPACES", "RIGHT_TO_LEFT", "Names", "iso_639", "language_code", "language_name",
           "names_of"]
