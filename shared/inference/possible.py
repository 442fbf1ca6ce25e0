"""What a checkpoint and its engine cannot do of what is asked, said before any work."""

from __future__ import annotations

from collections.abc import Sequence

from shared.checkpoint.tokenizer import Tokens
from shared.engines import BIASED
from shared.errors import UserError
from shared.languages import NO_SPACES, language_name
from shared.lexicon import languages_of
from shared.options import Options


def check_possible(options: Options, checkpoint: str, engine: str, tokens: Tokens, known: Sequence[str]) -> None:
    """Refuse what cannot be done.

    Args:
        options: the language is a code; each value alone is allowed.
        checkpoint, engine: by their names.
        tokens: of the checkpoint.
        known: codes of the languages that it has a token for.

    Raises:
        UserError: it has no such language or task, the engine follows neither hotwords nor a dictionary, or no
            dictionary is of the language.
    """
    if not tokens.is_multilingual and options.task == "translate":
        raise UserError("This checkpoint knows English only and cannot translate", got=checkpoint,
                        hint="choose a multilingual checkpoint")
    if options.hotwords and engine not in BIASED:
        raise UserError("This engine cannot follow hotwords", got=engine, limit=", ".join(BIASED),
                        hint="choose the engine torch, or name them in the initial prompt")
    if options.dictionary:
        _check_dictionary(options, engine)
    if options.language is not None and options.language not in known:
        raise UserError("This checkpoint does not know the language", got=language_name(options.language),
                        limit=", ".join(known) if len(known) < 10 else f"{len(known)} languages",
                        hint="choose another, or let it be detected")


def _check_dictionary(options: Options, engine: str) -> None:
    if engine not in BIASED:
        raise UserError("This engine cannot follow a dictionary", got=engine, limit=", ".join(BIASED),
                        hint="choose the engine torch, or leave the dictionary out")
    language, languages = options.text_language, languages_of(options.dictionary)
    if language in NO_SPACES:
        raise UserError("A dictionary is of no use where no spaces part the words", got=language_name(language),
                        hint="leave it out")
    if language is not None and languages and language not in languages:
        raise UserError("No dictionary of this language was named", got=language_name(language),
                        limit=", ".join(map(language_name, sorted(languages))), hint="name one, or leave it out")
