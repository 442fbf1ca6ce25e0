"""The data set's card: README.md as the Hub and people read it. From the manifest alone."""

from __future__ import annotations

from typing import Any

import yaml

from feature_pipeline.config import Config
from feature_pipeline.licences import licence_fields
from shared.languages import iso_639

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(facts: dict[str, Any], config: Config) -> str:
    """Front matter and text in Markdown."""
    splits, drops, sizes = facts["splits"], facts["drops"], facts["sizes"]
    n_rows = sum(split["rows"] for split in splits.values())
    hours = sum(split["hours"] for split in splits.values())
    lines = [
        "---", yaml.safe_dump(_front_matter(facts, n_rows), sort_keys=False, allow_unicode=True).rstrip(), "---", "",
        f"# {facts['title']}", "",
        f"{n_rows} utterances, {hours:.2f} hours, made by this project's feature pipeline from the sources below.",
        "Audio is stored as compressed bytes with its text; no spectrogram is.", "",
        "```python", "from datasets import Audio, load_dataset", "",
        'data = load_dataset("parquet", data_files={'
        + ", ".join(f'"{split}": "data/{split}-*.parquet"' for split in splits) + "})",
        'data = data.cast_column("audio", Audio(decode=False))  # bytes and file name, without torchcodec', "```", "",
        "| split | rows | hours | speakers | sentences |", "| --- | --: | --: | --: | --: |",
        *(f"| {name} | {s['rows']} | {s['hours']:.2f} | {s['speakers'] or 'not known'} | {s['sentences']} |"
          for name, s in splits.items()), "",
        "## Columns", "", "`id`, `audio` (bytes, path), `text`, `language` (ISO 639-1), `speaker` (may be null), "
        "`duration` (seconds), `source`" + "".join(f", `{name}`" for name in _further(config)) + ".", "",
        "## Sources", "",
    ]
    for source in facts["sources"]:
        lines.append(f"- **{source['name']}** ({source['kind']}): {source['rows_kept']} of {source['rows']} rows kept")
        lines += [f"  - {name}, SHA-256 `{digest}`" for name, digest in source.get("packages", {}).items()]
    lines += ["", "## Licence and credit", "", f"Licence: {facts['licence']}. {facts['credit']}".rstrip(), ""]
    lines += ["## What was dropped", "", *_dropped(drops), ""]
    shared = facts["in_several_splits"]
    if facts["leaks"] or facts["warnings"] or any(shared.values()):
        lines += ["## To know before using it", ""]
        lines += [f"- Number of {kind} in more than one split: {count}." for kind, count in shared.items() if count]
        lines += [f"- {leak['rows']} rows shared a {leak['kind']} between {leak['between']}; "
                  f"{'they were dropped from the second' if leak['dropped'] else 'they are still there'}."
                  for leak in facts["leaks"]]
        lines += [f"- {warning}" for warning in facts["warnings"]] + [""]
    lines += ["## Size", "", f"{sizes['data_set_bytes'] / 1e6:.1f} MB. As float32 log-mel spectrograms padded to 30 s "
              f"the same rows take {sizes['float32_spectrogram_bytes'] / 1e6:.0f} MB, "
              f"{sizes['spectrograms_per_data_set']} times as much.", ""]
    return "\n".join(lines)


def _front_matter(facts: dict[str, Any], n_rows: int) -> dict[str, Any]:
    languages = sorted({iso_639(language) for source in facts["sources"] for language in source["languages"]})
    return {
        "pretty_name": facts["title"],
        **licence_fields(facts["licence"]),
        "language": languages,
        "task_categories": ["automatic-speech-recognition"],
        "size_categories": [next((name for limit, name in SIZES if n_rows < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [
            {"split": split, "path": f"data/{split}-*.parquet"} for split in facts["splits"]]}],
    }


def _further(config: Config) -> list[str]:
    return [*config.keep, *(("hypothesis", "wer", "cer") if config.label_check else ())]


def _dropped(drops: list[dict[str, Any]]) -> list[str]:
    if not drops:
        return ["Nothing."]
    return ["| reason | rows | hours |", "| --- | --: | --: |",
            *(f"| {drop['reason']} | {drop['rows']} | {drop['hours']:.2f} |" for drop in drops)]
