"""`labels.html`: the clips whose label differs most from a model's text, for a person to listen to and decide.

Enters: the doubtful rows with their audio. Leaves: one HTML file that works without a network and keeps what was
decided in the browser until it is saved. The file it saves is what the config key `verdicts` takes.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass

from feature_pipeline.config import Config, LabelCheck
from feature_pipeline.report.page import page, player
from shared.wer import word_errors

_MARKS = {"hit": "{r}", "substitution": "<del>{r}</del> <ins>{h}</ins>", "deletion": "<del>{r}</del>",
          "insertion": "<ins>{h}</ins>"}
_SCRIPT = """
const name = document.body.dataset.name, store = "verdicts:" + name;
let decided = {};
try { decided = JSON.parse(localStorage.getItem(store) || "{}"); } catch { /* some keep nothing for files */ }
const cards = [...document.querySelectorAll("[data-id]")];
function show() {
  for (const card of cards) {
    const verdict = decided[card.dataset.id];
    card.dataset.verdict = verdict ? verdict[0] : "";
    for (const button of card.querySelectorAll("button"))
      button.setAttribute("aria-pressed", verdict ? verdict[0] === button.value : false);
  }
  document.querySelector("#count").textContent = Object.keys(decided).length + " of " + cards.length + " decided";
  try { localStorage.setItem(store, JSON.stringify(decided)); } catch { /* as above */ }
}
for (const card of cards) {
  const text = card.querySelector("textarea");
  if (decided[card.dataset.id]) text.value = decided[card.dataset.id][1] || text.value;
  for (const button of card.querySelectorAll("button"))
    button.onclick = () => {
      decided[card.dataset.id] = [button.value, button.value === "text" ? text.value : ""];
      show();
    };
  text.oninput = () => { decided[card.dataset.id] = ["text", text.value]; show(); };
}
document.querySelector("#save").onclick = () => {
  const quote = (value) => '"' + value.replaceAll('"', '""') + '"';
  const rows = Object.entries(decided).map(([id, [verdict, text]]) => [id, verdict, text].map(quote).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["id,verdict,text\\n" + rows.map((row) => row + "\\n").join("")]));
  link.download = name + ".verdicts.csv";
  link.click();
};
show();
"""


@dataclass(frozen=True)
class Doubtful:
    """A row whose label differs from a model's text.

    language: of the text. dropped: the reason, if the build left the row out.
    """

    id: str
    split: str
    dropped: str | None
    text: str
    hypothesis: str
    wer: float
    language: str
    mp3: bytes


def label_page(config: Config, rows: Sequence[Doubtful], n_compared: int) -> str:
    """The page; rows come worst first."""
    figures = [(f"{n_compared:,}", "clips transcribed"), (f"{len(rows):,}", "listed here, worst first")]
    how = ("<p>Listen, then keep the label, drop the clip, or correct the text. Save the file and name it in the "
           f"config, <code>verdicts: {html.escape(config.name)}.verdicts.csv</code>; the next build applies it. "
           "<del>Struck out</del> is in the label alone, <ins>underlined</ins> in the model's text alone.</p>"
           '<p class="bar"><button id="save">Save verdicts</button> <span id="count" class="quiet"></span></p>')
    cards = "".join(_card(row) for row in rows)
    body = page(f"{config.title or config.name}: labels to check",
                f"{(config.label_check or LabelCheck()).checkpoint} transcribed every clip.", figures,
                [("How to use this page", how), ("Clips", f'<ul class="labels">{cards}</ul>')], _SCRIPT)
    return body.replace("<body>", f"<body data-name={json.dumps(html.escape(config.name))}>", 1)


def _card(row: Doubtful) -> str:
    note = f" · not in the data set: {html.escape(row.dropped)}" if row.dropped else ""
    aligned = " ".join(_MARKS[step.kind].format(r=html.escape(step.reference), h=html.escape(step.hypothesis))
                       for step in word_errors(row.text, row.hypothesis, row.language).alignment)
    return (
        f'<li data-id="{html.escape(row.id)}">{player(row.mp3)}<p class="aligned">{aligned}</p>'
        f'<p class="quiet">Model: {html.escape(row.hypothesis) or "nothing"}</p>'
        f'<textarea aria-label="Text" rows="2">{html.escape(row.text)}</textarea>'
        '<p><button value="keep">Keep</button> <button value="drop">Drop</button> '
        '<button value="text">Corrected</button></p>'
        f'<p class="quiet">WER {row.wer:.0%} · {row.split} · <code>{html.escape(row.id)}</code>{note}</p></li>'
    )
