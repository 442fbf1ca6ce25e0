"""The transcripts that a model under training gives of the validation clips, by the code that will serve it.

Enters: the model as it stands, and clips. Leaves: WER and CER in per cent. The weights are handed to `shared`'s torch
engine in memory (a LoRA adapter added to them), so the best step is chosen by what a visitor will read: cropped as it
will be, in 8 bits on a CPU, with a second try at full context for clips that run away. That takes a ninth of the time
of `generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.other import TrainableTokensWrapper
from tqdm import tqdm

from shared import wer
from shared.audio.windows import Window
from shared.checkpoint import Facts
from shared.checkpoint.tokenizer import tokens_of
from shared.engines.torch_engine import TorchEngine
from shared.inference.window_decoder import WindowDecoder
from shared.options import Options
from shared.system.hardware import has_vnni
from training.config import Config
from training.data import Clips
from training.model import plain

N_SAMPLES = 3  # shown at each evaluation
AT_ONCE = 128  # clips taken up together, so that batches are of like length and memory does not grow with the split


def facts_of(config: Config, languages: Sequence[str]) -> Facts:
    """What the run's checkpoints will say of themselves. languages: of the speech in the training rows."""
    return Facts(tuple(languages), "any" if config.context.crop else "full",
                 bool(config.extra.timestamps or config.extra.join), config.task, config.text_language)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the plain checkpoint this model would be saved as; those that are not adapted are not copied."""
    inner = plain(model)
    tensors = dict(inner.state_dict())
    for name, module in inner.named_modules():
        if isinstance(module, LoraLayer):
            added = module.get_delta_weight(module.active_adapters[0]).detach()
            tensors[f"{name}.weight"] = module.base_layer.weight.detach() + added
            if module.base_layer.bias is not None:
                tensors[f"{name}.bias"] = module.base_layer.bias.detach()
        elif isinstance(module, TrainableTokensWrapper):  # the embedding with rows of added tokens
            tensors[f"{name}.weight"] = module.token_adapter.get_merged_weights(
                module.token_adapter.active_adapters).detach()
    return tensors


class Validation:
    """The validation clips of a run, or every n-th of them where n processes share the work."""

    def __init__(self, config: Config, base_folder: Path, clips: Clips, say: Callable[[str], None],
                 rank: int = 0, world: int = 1) -> None:
        """base_folder: with tokenizer and configuration as the model under training has them, in transformers' form."""
        self._config, self._folder, self._clips, self._say = config, base_folder, clips, say
        self._own = list(range(len(clips)))[rank::world]
        self._is_first = rank == 0
        columns = [kind for kind in ("language", "set") if kind in clips.rows.column_names]
        self._groups_of_rows = [(kind, name) for kind in columns for name in sorted(clips.rows.unique(kind))]

    def rates(self, model: torch.nn.Module, total: Callable[[torch.Tensor], torch.Tensor] = lambda counts: counts
              ) -> dict[str, float]:
        """WER and CER in per cent, normalised by the language of the texts, and the rank (lower is better).

        Few clips often tie in words; then characters tell which weights are better. Reports a few samples, and the WER
        of each language and each data set where there are several.

        Args:
            model: as it is trained.
            total: sums a tensor over all processes.
        """
        texts = self.texts(model)
        rows = [self._clips.rows[i] for i in self._own]
        counted = [wer.utterance_errors(row["text"], text, self._config.text_of(row["language"]))
                   for row, text in zip(rows, texts, strict=True)]
        if self._is_first:
            for row, text in list(zip(rows, texts, strict=True))[:N_SAMPLES]:
                self._say(f"\n  reference:  {row['text']}\n  hypothesis: {text}")
        counts = torch.zeros((len(self._groups_of_rows), 4))  # errors, words, wrong characters, characters
        for row, one in zip(rows, counted, strict=True):
            found = torch.tensor([n for part in (one.words, one.characters)
                                  for n in (part.errors, part.reference_length)], dtype=torch.float32)
            for kind in ("language", "set"):
                if kind in row:
                    counts[self._groups_of_rows.index((kind, row[kind]))] += found
        counts = total(counts)
        self._report_groups(counts)
        by_language = [place for place, (kind, _) in enumerate(self._groups_of_rows) if kind == "language"]
        errors, words, wrong, characters = counts[by_language].sum(0).tolist()
        rate, cer = 100 * errors / max(words, 1), 100 * wrong / max(characters, 1)
        return {"wer": rate, "cer": cer, "rank": rate + cer / 1000}

    def _report_groups(self, counts: torch.Tensor) -> None:
        kinds = [kind for kind, _ in self._groups_of_rows]
        for (kind, name), (errors, words, _, _) in zip(self._groups_of_rows, counts.tolist(), strict=True):
            if self._is_first and kinds.count(kind) > 1:
                self._say(f"  {kind} {name}: {100 * errors / max(words, 1):.1f} % WER of {words:.0f} words")

    def texts(self, model: torch.nn.Module) -> list[str]:
        """The model's text of each of this process's clips."""
        decoder = self._window_decoder(model)
        found = [""] * len(self._own)
        with tqdm(total=len(self._own), desc="validation", unit="clip", leave=False, disable=not self._is_first) as bar:
            for places, windows, language in self._by_language():
                options = Options(language, self._config.task)
                for batch in decoder.recognise(windows, options):
                    for at, segments in batch.items():
                        found[places[at]] = " ".join(segment.text for segment in segments)
                    bar.update(len(batch))
        return found

    def _by_language(self) -> Iterator[tuple[list[int], list[Window], str]]:
        """Places in `found`, windows and language of clips to be recognised together."""
        for begin in range(0, len(self._own), AT_ONCE):
            by_language: dict[str, tuple[list[int], list[Window]]] = {}
            for place, index in enumerate(self._own[begin : begin + AT_ONCE], begin):
                example = self._clips[index]
                places, windows = by_language.setdefault(example.language, ([], []))
                places.append(place)
                windows.append(Window(example.samples, ((0, 0, len(example.samples)),)))
            for language, (places, windows) in by_language.items():
                yield places, windows, language

    def _window_decoder(self, model: torch.nn.Module) -> WindowDecoder:
        device = next(model.parameters()).device.type
        device = device if device == "cuda" else "cpu"
        compute_type = "float16" if device == "cuda" else "int8" if has_vnni() else "float32"
        engine = TorchEngine(self._folder, device=device, compute_type=compute_type, tensors=weights(model))
        languages = self._clips.rows.unique("language")
        return WindowDecoder(engine, tokens_of(self._folder), facts_of(self._config, languages))
