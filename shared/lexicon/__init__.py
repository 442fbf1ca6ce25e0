from shared.lexicon.dictionary import Dictionary, dictionary_for, dictionary_of, languages_of, serves
from shared.lexicon.hotwords import (
    MAX_ENTRIES,
    MAX_LETTERS,
    MAX_TEXT,
    check_hotwords,
    hotwords_of,
    read_hotwords,
)
from shared.lexicon.word_files import words_in

__all__ = [
    "MAX_ENTRIES",
    "MAX_LETTERS",
    "MAX_TEXT",
    "Dictionary",
    "check_hotwords",
    "dictionary_for",
    "dictionary_of",
    "hotwords_of",
    "languages_of",
    "read_hotwords",
    "serves",
    "words_in",
]
