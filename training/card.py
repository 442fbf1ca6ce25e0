"""The model card of a run: what it is, what it scored and on what, how to use it, what it is bad at.

Enters: the facts of an evaluated run. Leaves: Markdown with the Hub's front matter.
Computes nothing: every figure in the card is one of the scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from training import config as settings
from training.config import Config
from training.facts import Facts
from training.hub_metadata import front_matter
from training.report import NO_ACCENTS, search_of


def write_card(facts: Facts, name: str, *, adapter: bool = False, page: str | None = None) -> str:
    """The card as Markdown.

    Args:
        facts: of the run.
        name: what the checkpoint is called, a Hub id or a short name.
        adapter: a card for the LoRA adapter alone.
        page: the address where the checkpoint runs in the visitor's browser, if there is one.
    """
    head = yaml.safe_dump(front_matter(facts, name, adapter=adapter), sort_keys=False, allow_unicode=True)
    config = facts.config
    what = f"a LoRA adapter for `{config.base}`" if adapter else f"a fine-tuned version of `{config.base}`"
    parts = [
        f"---\n{head}---\n\n# {name}\n",
        f"{facts.does}: {what}, trained on {_data_line(facts)}.\n",
        "## Results\n", _table(facts), _differences(facts), _parts(facts), _conditions(facts),
        "## Use\n", *([f"[In your browser]({page}), without a server: no sound leaves it.\n"] if page else []),
        _use(facts, name, adapter),
        "## What it is bad at\n", _limits(facts),
        "## Training\n", _training(facts),
        "## Data and licence\n", _licence(facts),
    ]
    return "\n".join(parts) + "\n"


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
    return (f"Split `{options['split']}` of {facts.sets}: {tuned['clips']} clips, "
            f"{tuned['audio_seconds'] / 60:.1f} minutes. Engine {used['engine']}, {used['compute_type']} on "
            f"{used['device']}, {search_of(options)}, speech threshold {options['vad_onset']}, context "
            f"`{used['short_context']}`; intervals by bootstrap over clips, seed {options['seed']}."
            f"{'' if options.get('accents', True) else ' ' + NO_ACCENTS}\n")


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
    kept = {by for manifest in facts.manifests.values()
            for by in manifest.get("config", {}).get("split", {}).get("by", ())}
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
            f"(`python -m training.soup`), {_chosen(facts.run)}.\n\n" + "\n".join(parts))


def _chosen(run: dict[str, Any]) -> str:
    if run["validation_wer"] is None:
        return "a share that was given"
    other = run.get("share_chosen_on")  # of a mixture made here today; earlier ones know their own split only
    of_what = f"the validation split of {Path(other).name}" if other else "the validation split"
    return f"the share chosen on {of_what}{_validated(run)}"


def _validated(run: dict[str, Any]) -> str:
    return "" if run["validation_wer"] is None else f" ({run['validation_wer']:.2f} %)"


def _one_run(config: Config, run: dict[str, Any]) -> str:
    steps = config.steps
    context = "cropped to the clips" if config.context.crop else "30 s"
    method = f"LoRA, rank {config.method.lora_rank}" if config.method.kind == "lora" else config.method.kind
    rate = f"learning rate {steps.learning_rate:g}" if steps.learning_rate else "the usual learning rate"
    return (f"`python -m training.finetune config.yaml`, with the settings below as config.yaml: {method}, "
            f"{steps.max_steps} steps of {steps.batch_size * steps.accumulation} clips, {steps.optimizer}, {rate}, "
            f"encoder context {context}, seed {config.seed}, {run['seconds'] / 60:.0f} minutes; the checkpoint of step "
            f"{run['step']} was the best by WER on the validation split{_validated(run)}.\n\n"
            f"```yaml\n{yaml.safe_dump(settings.plain(config), sort_keys=False, allow_unicode=True)}```\n")


def _licence(facts: Facts) -> str:
    lines = []
    for manifest in facts.manifests.values():
        hashes = [f"{package} `{digest[:12]}…`" for source in manifest.get("sources", ())
                  for package, digest in source.get("packages", {}).items()]
        lines.append(f"- {manifest.get('title') or manifest['name']}: {manifest.get('licence', 'other')}. "
                     f"{manifest.get('credit', '')} {'; '.join(hashes)}".rstrip())
    return "\n".join(lines or ["- The data set has no manifest."]) + "\n"


def _data_line(facts: Facts) -> str:
    found = [(m.get("title") or m["name"], m["splits"]["train"]) for m in facts.manifests.values()]
    return ", ".join(f"{title} ({train['rows']} clips, {train['hours'] * 60:.0f} minutes, {train['speakers']} "
                     f"voice{'' if train['speakers'] == 1 else 's'})" for title, train in found) or "a private data set"


def _spread(low: float | None, high: float | None) -> str:
    return "too short to tell" if low is None else f"{low:.1f} … {high:.1f}"


def _bracketed(low: float | None, high: float | None) -> str:
    return "" if low is None else f" ({low:+.1f} … {high:+.1f})"
