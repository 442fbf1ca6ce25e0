"""Tokens for languages that Whisper has none for: `<|ga|>`, which begins as a copy of a related language's.

Enters: a model with its tokenizer, and the tokens to add. Changes both. Training begins with this, and merging an
adapter repeats it on the base. Imports transformers, so it is not on the package's door.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tokenizers import AddedToken
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from shared.checkpoint.tokenizer import LANGUAGE_TOKEN
from shared.errors import UserError


def add_language_tokens(model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, added: Mapping[str, str]
                        ) -> None:
    """Give the vocabulary these tokens, behind all others.

    Args:
        model: its embedding (and the tied output layer) grows where it has no row left; its generation configuration
            learns the languages, and never to write the tokens.
        tokenizer: of the same checkpoint.
        added: each token with the one it begins as, {"<|ga|>": "<|cy|>"}.

    Raises:
        UserError: a token that is none, or a related one that the vocabulary lacks.
    """
    known = tokenizer.get_vocab()
    for token, like in added.items():
        if not LANGUAGE_TOKEN.fullmatch(token) or like not in known:
            raise UserError("This token cannot be added", got=f"{token}, to begin as {like}",
                            limit="<|code|>, and a language that Whisper knows", hint="for example {ga: cy}")
    new = [token for token in sorted(added) if token not in known]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in new], special_tokens=True)
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in new}
    n_rows = model.get_input_embeddings().num_embeddings
    if new and max(ids.values()) >= n_rows:
        model.resize_token_embeddings(max(ids.values()) + 1, mean_resizing=False)
    generation, weight = model.generation_config, model.get_input_embeddings().weight
    with torch.no_grad():
        for token, number in ids.items():
            weight[number] = weight[known[added[token]]]
    generation.lang_to_id = dict(getattr(generation, "lang_to_id", None) or {}) | ids
    never = list(getattr(generation, "suppress_tokens", None) or [])
    generation.suppress_tokens = never + [number for number in ids.values() if number not in never]
