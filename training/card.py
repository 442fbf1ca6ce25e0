"""The model card of a run: what it is, what it scored and on what, how to use it, what it is bad at.

Enters: run.json, the config, scores.json and the data sets' manifests. Leaves: Markdown with the Hub's front matter.
Computes nothing: every figure in the card is one of the scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.errors import UserError
from shared.languages import language_name
from training import config as settings
from training.config import Config


@dataclass(frozen=True)
class Facts:
    """All a card is written from."""

    config: Config
    run: dict[str, Any]
    scores: dict[str, Any]
    manifests: tuple[dict[str, Any], ...]

    @property
    def languages(self) -> list[str]:
        """Codes of the speech it was trained on, the main one first."""
        return list(self.run["finetuned_languages"])

    @property
    def does(self) -> str:
        """What it does, for a title: "Italian speech recognition"."""
        names = [language_name(code) for code in self.languages]
        spoken = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        texts = {self.config.text_of(code) for code in self.languages}
        if texts == set(self.languages):
            return f"{spoken} speech recognition"
        into = " and ".join(sorted(language_name(code) for code in texts))
        return f"{spoken} speech to {into} text"

    @property
    def asked(self) -> str:
        """What transformers gets as the main language: a code, or the token where it was added."""
        code = self.config.token_of(self.languages[0])
        return f"<|{code}|>" if f"<|{code}|>" in self.config.added_tokens else code


def gather(folder: str | Path) -> Facts:
    """Read a finished and evaluated run. Raises UserError if it is not."""
    folder = Path(folder)
    scores = folder / "evaluation" / "scores.json"
    if not scores.is_file():
        raise UserError("The run has not been evaluated", got=folder, hint=f"python -m training.evaluation {folder}")
    config = settings.load(folder / "config.yaml")
    manifests = [Path(source.path, "manifest.json") for source in config.data]
    return Facts(config, _json(folder / "run.json"), _json(scores),
                 tuple(_json(path) for path in manifests if path.is_file()))


def write_card(facts: Facts, name: str, *, adapter: bool = False) -> str:
    """name: what the checkpoint is called, a Hub id or a short name. adapter: a card for the LoRA adapter alone."""
    head = yaml.safe_dump(_front_matter(facts, name, adapter), sort_keys=False, allow_unicode=True)
    config = facts.config
    what = f"a LoRA adapter for `{config.base}`" if adapter else f"a fine-tuned version of `{config.base}`"
    parts = [
        f"---\n{head}---\n\n# {name}\n",
        f"{facts.does}: {what}, trained on {_data_line(facts)}.\n",
        "## Results\n", _table(facts), _differences(facts), _parts(facts), _conditions(facts),
        "## Use\n", _use(facts, name, adapter),
        "## What it is bad at\n", _limits(facts),
        "## Training\n", _training(facts),
        "## Data and licence\n", _licence(facts),
    ]
    return "\n".join(parts) + "\n"


def licence(facts: Facts) -> str:
    """The Hub's name of the licence: the data's own where they agree, else 'other'."""
    found = {manifest.get("licence", "other") for manifest in facts.manifests}
    return found.pop() if len(found) == 1 else "other"


def _front_matter(facts: Facts, name: str, adapter: bool) -> dict[str, Any]:
    config, tuned = facts.config, facts.scores["systems"]["fine-tuned"]
    base = "openai/whisper-base" if config.base == "embedded:whisper-base" else config.base.partition("@")[0]
    result = {
        "task": {"type": "automatic-speech-recognition", "name": "Automatic Speech Recognition"},
        "dataset": {"type": facts.scores["data"], "name": _sets(facts),
                    "split": facts.scores["options"]["split"], "args": {"language": ", ".join(facts.languages)}},
        "metrics": [{"type": "wer", "value": round(tuned["wer"], 2), "name": "WER, normalised",
                     "args": {"interval_95": [_round(tuned["wer_low"]), _round(tuned["wer_high"])]}},
                    {"type": "cer", "value": round(tuned["cer"], 2), "name": "CER, normalised"}],
    }
    return {
        "language": facts.languages, "license": licence(facts), "base_model": base,
        "library_name": "peft" if adapter else "transformers", "pipeline_tag": "automatic-speech-recognition",
        "tags": ["whisper", "automatic-speech-recognition", *(["lora"] if adapter else [])], "metrics": ["wer", "cer"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _table(facts: Facts) -> str:
    lines = ["| system | WER % | 95 % interval | CER % | raw WER % | substitutions, deletions, insertions | RTFx |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, one in facts.scores["systems"].items():
        counts = f"{one['substitutions']}, {one['deletions']}, {one['insertions']} of {one['words']} words"
        lines.append(f"| {name} | {one['wer']:.2f} | {_spread(one['wer_low'], one['wer_high'])} | {one['cer']:.2f} | "
                     f"{one['raw_wer']:.2f} | {counts} | {one['rtfx']:.1f} |")
    return "\n".join(lines) + "\n"


def _differences(facts: Facts) -> str:
    lines = [f"- {name}: {one['difference']:+.2f} points{_bracketed(one['low'], one['high'])}, {one['verdict']}"
             for name, one in facts.scores["differences"].items()]
    return "Differences in WER, paired on the same clips:\n\n" + "\n".join(lines) + "\n"


def _sets(facts: Facts) -> str:
    return ", ".join(facts.scores.get("sets") or [Path(facts.scores["data"]).name])


def _parts(facts: Facts) -> str:
    """WER by language and by data set, where there are several."""
    systems = facts.scores["systems"]
    lines: list[str] = []
    for kind in ("language", "set"):
        keys = sorted({key for one in systems.values() for key in one["by"].get(kind, ())})
        if len(keys) > 1:
            lines += ["", f"| {kind} | " + " | ".join(f"{name}, WER % (clips)" for name in systems) + " |",
                      "| --- |" + " --- |" * len(systems)]
            lines += [f"| {key} | " + " | ".join(_part(one["by"].get(kind, {}).get(key)) for one in systems.values())
                      + " |" for key in keys]
    return "\n".join(lines) + "\n" if lines else ""


def _part(one: dict[str, Any] | None) -> str:
    return f"{one['wer']:.2f} ({one['clips']})" if one else ""


def _conditions(facts: Facts) -> str:
    used, options = facts.scores["used"]["fine-tuned"], facts.scores["options"]
    tuned = facts.scores["systems"]["fine-tuned"]
    return (f"Split `{options['split']}` of {_sets(facts)}: {tuned['clips']} clips, "
            f"{tuned['audio_seconds'] / 60:.1f} minutes. Engine {used['engine']}, {used['compute_type']} on "
            f"{used['device']}, beam {options['beam_size']}, speech threshold {options['vad_onset']}, context "
            f"`{used['short_context']}`; intervals by bootstrap over clips, seed {options['seed']}.\n")


def _use(facts: Facts, name: str, adapter: bool) -> str:
    if adapter:
        return f"""It is this project's own fine-tuned half where there is no network. peft merges it into its
base; naming it is enough:

```python
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber

print(Transcriber(Checkpoint.parse("embedded:{name}")).transcribe("clip.wav").text)
```
"""
    asked = f', generate_kwargs={{"language": "{facts.asked}", "task": "{facts.config.task}"}}'
    if not facts.run.get("multilingual", True):  # transformers refuses both for an English-only checkpoint
        asked = ""
    others = "" if len(facts.languages) == 1 else f" (or {', '.join(facts.languages[1:])})"
    return f"""```python
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model="{name}")
print(recognise("clip.wav"{asked})["text"])
```

{_elsewhere(facts, others)}In this suite: set `FINE_TUNED={name}` (with `@commit`) and start an app.
"""


def _elsewhere(facts: Facts, others: str) -> str:
    if facts.config.added_tokens:
        return "faster-whisper and whisper.cpp know only Whisper's own languages and are not for this checkpoint. "
    code, translates = facts.asked, facts.config.task == "translate"
    task, flag = (', task="translate"', " --translate") if translates else ("", "")
    return f"""faster-whisper: `python -m training.export RUN` writes `ctranslate2-int8` (and `float16`), then
`WhisperModel("ctranslate2-int8").transcribe("clip.wav", language="{code}"{task})`{others}. whisper.cpp: the same
command writes `ggml-model.bin`, then `whisper-cli -m ggml-model.bin -l {code}{flag} -f clip.wav`. """


def _limits(facts: Facts) -> str:
    tuned = facts.scores["systems"]["fine-tuned"]
    length = max(tuned["by"]["length"].items(), key=lambda item: item[1]["wer"])
    speakers = [name for name in tuned["by"]["speaker"] if name != "unknown"]
    lines = [f"- Clips of {length[0]}: {length[1]['wer']:.1f} % WER on {length[1]['clips']} clips, its worst length."]
    if 0 < len(speakers) < 5:
        lines.append(f"- It was tested on {len(speakers)} voice{'s' if len(speakers) > 1 else ''} only; other voices, "
                     "rooms and microphones will be worse.")
    kept = {by for manifest in facts.manifests for by in manifest.get("config", {}).get("split", {}).get("by", ())}
    if facts.manifests and "speaker" not in kept:
        lines.append("- Its test voices are also in the training data; only the test sentences are new.")
    if not facts.run["timestamps"]:
        lines.append("- It was trained without timestamps and gives none.")
    against = facts.scores["differences"].get("fine-tuned, canary against base, canary")
    if against:
        name = Path(facts.scores["options"]["canary"]).name
        spread = _bracketed(against["low"], against["high"])
        lines.append(f"- Another language ({name}): {against['difference']:+.2f} points of WER{spread}, "
                     f"{against['verdict']}.")
    else:
        lines.append("- Other languages were not measured; expect them to be worse than the base's.")
    return "\n".join(lines) + "\n"


def _training(facts: Facts) -> str:
    if "parts" not in facts.run:
        return _one_run(facts.config, facts.run)
    parts = [_one_run(settings.of(part["config"]), part) for part in facts.run["parts"]]
    return (f"The mean of the weights of {len(parts)} run(s) with {facts.run['base_share']:.0%} of the base's own "
            "(`python -m training.soup`), the share chosen on the validation split"
            f"{_validated(facts.run)}.\n\n" + "\n".join(parts))


def _validated(run: dict[str, Any]) -> str:
    return "" if run["validation_wer"] is None else f" ({run['validation_wer']:.2f} %)"


def _one_run(config: Config, run: dict[str, Any]) -> str:
    steps = config.steps
    context = "cropped to the clips" if config.context.crop else "30 s"
    method = f"LoRA, rank {config.method.lora_rank}" if config.method.kind == "lora" else config.method.kind
    return (f"`python -m training.finetune training/configs/{config.name}.yaml`: {method}, {steps.max_steps} steps of "
            f"{steps.batch_size * steps.accumulation} clips, {steps.optimizer}, learning rate {steps.learning_rate:g}, "
            f"encoder context {context}, seed {config.seed}, {run['seconds'] / 60:.0f} minutes; the checkpoint of step "
            f"{run['step']} was the best by WER on the validation split{_validated(run)}.\n\n"
            f"```yaml\n{yaml.safe_dump(settings.plain(config), sort_keys=False, allow_unicode=True)}```\n")


def _licence(facts: Facts) -> str:
    lines = []
    for manifest in facts.manifests:
        hashes = [f"{package} `{digest[:12]}…`" for source in manifest.get("sources", ())
                  for package, digest in source.get("packages", {}).items()]
        lines.append(f"- {manifest.get('title') or manifest['name']}: {manifest.get('licence', 'other')}. "
                     f"{manifest.get('credit', '')} {'; '.join(hashes)}".rstrip())
    return "\n".join(lines or ["- The data set has no manifest."]) + "\n"


def _data_line(facts: Facts) -> str:
    found = [(m.get("title") or m["name"], m["splits"]["train"]) for m in facts.manifests]
    return ", ".join(f"{title} ({train['rows']} clips, {train['hours'] * 60:.0f} minutes, {train['speakers']} "
                     f"voice{'' if train['speakers'] == 1 else 's'})" for title, train in found) or "a private data set"


def _spread(low: float | None, high: float | None) -> str:
    return "too short to tell" if low is None else f"{low:.1f} … {high:.1f}"


def _bracketed(low: float | None, high: float | None) -> str:
    return "" if low is None else f" ({low:+.1f} … {high:+.1f})"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
