// The page: what a person gives, and what comes back. The work is done in worker.js.

import { record, samplesOf } from "./sound.js";
import { SAMPLE_RATE } from "./mel.js";
import { FORMATS, shortClock, spokenTime } from "./transcript.js";
import { separator, unit, wordErrors } from "./wer.js";

const $ = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map(); // number of a question -> who asked it
const state = { samples: null, name: "", recording: null, busy: false, running: null, models: [], vad: null };
let asked = 0;

worker.onmessage = ({ data }) => {
  const { resolve, reject, progress } = waiting.get(data.id);
  if ("progress" in data) return progress(data.progress);
  waiting.delete(data.id);
  if ("failed" in data) reject(new Error(data.failed));
  else resolve(data.done);
};
worker.onerror = (event) => {
  for (const { reject } of waiting.values()) reject(new Error(event.message || "The page's worker could not be started."));
  waiting.clear();
};

function ask(kind, given, progress = () => {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject, progress });
    worker.postMessage({ id: asked, kind, ...given });
    if (kind === "transcribe") state.running = asked;
  });
}

async function start() {
  const response = await fetch("bundle.json");
  if (!response.ok) throw new Error(`bundle.json could not be fetched (status ${response.status}).`);
  const bundle = await response.json();
  [state.models, state.vad] = [bundle.models, bundle.vad];
  const choices = bundle.models.map(({ key, title }) => [key, title]);
  if (bundle.models.length > 1) choices.push(["both", "Both, side by side"]);
  $("checkpoint").replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
  const codes = [...bundle.models[0].languages].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  $("language").replaceChildren(new Option("Detect", ""), ...codes.map((code) => new Option(nameOf(code), code)));
  $("language").value = bundle.models[0].tuned_for?.[0] ?? "";
  tell("Record something, or choose or drop a file.");
  const size = (model) => Math.round(model.files.reduce((sum, file) => sum + file.bytes, 0) / 1e6);
  $("about").textContent = `${bundle.models.map((model) => `${model.title}: ${model.id}, ${size(model)} MB`).join(". ")}. `
    + "Fetched once, then kept by this browser; the page works without a network from then on.";
  // In the background: the page works at once, and without it as well, only not without a network.
  navigator.serviceWorker?.register("service-worker.js")
    .catch((error) => console.warn(`The page is not kept for use without a network: ${error.message}`));
}

const names = new Intl.DisplayNames(["en"], { type: "language" });

function nameOf(code) {
  try {
    return names.of(code) ?? code;
  } catch { // none that the browser knows
    return code;
  }
}

async function take(file) {
  state.samples = null;
  const samples = await samplesOf(file);
  if (samples.length < SAMPLE_RATE / 10) throw new Error("That is shorter than a tenth of a second.");
  state.samples = samples;
  state.name = (file.name ?? "recording").replace(/\.[^.]*$/, "");
  URL.revokeObjectURL($("player").src);
  $("player").src = URL.createObjectURL(file);
  $("player").hidden = false;
  tell(`${file.name ?? "The recording"}: ${spokenTime(samples.length / SAMPLE_RATE)} of sound.`);
}

async function pressRecord() {
  if (state.recording) {
    const stopped = state.recording;
    state.recording = null;
    $("record").textContent = "Record";
    $("record").setAttribute("aria-pressed", "false");
    await take(await stopped.stop());
  } else {
    state.recording = await record();
    $("record").textContent = "Stop";
    $("record").setAttribute("aria-pressed", "true");
    tell("Recording …");
  }
}

async function transcribe() {
  const chosen = $("checkpoint").value, reference = $("reference").value.trim(), language = $("language").value || null;
  const models = state.models.filter(({ key }) => chosen === "both" || key === chosen);
  const keep = [...state.models.flatMap(({ files }) => files), state.vad];
  const seconds = state.samples.length / SAMPLE_RATE;
  $("result").replaceChildren();
  try {
    for (const model of models) {
      const { threads } = await ask("load", { model, vad: state.vad, keep }, ({ bytes, all }) => {
        tell(`Fetching ${model.title}: ${Math.round(bytes / 1e6)} of ${Math.round(all / 1e6)} MB`, bytes / all);
      });
      tell(`Transcribing with ${model.title} …`);
      const side = sideOf(model);
      $("result").append(side);
      const running = ask("transcribe", { model, samples: state.samples, language, task: model.task }, (so) => {
        tell(`${model.title}: ${shortClock(so.seconds)} of ${shortClock(seconds)} read`, so.seconds / seconds);
        write(side, so);
      });
      show();
      const found = await running;
      write(side, found);
      finish(side, { model, threads, whole: seconds, ...found }, reference);
      if (found.stopped) break;
    }
    tell("");
  } finally {
    state.running = null;
    $("progress").hidden = true;
  }
}

function sideOf(model) {
  const side = element("div", "side");
  side.dataset.model = model.key;
  side.append(element("h2", "", model.title), element("div", "text"));
  return side;
}

// What is new of the text; each segment knows when it begins.
function write(side, { segments, language }) {
  const text = side.querySelector(".text");
  text.lang = language;
  for (const { start, text: words } of segments.slice(text.childElementCount)) {
    const written = element("p", "", words);
    written.dir = "auto";
    written.dataset.time = shortClock(start);
    text.append(written);
  }
}

// The whole text, and against the true text its word errors.
function finish(side, { model, text, segments, whole, seconds, ms, threads, language, again, stopped }, reference) {
  const nothing = stopped ? "Stopped before the first words." : "No speech was found.";
  if (!text) side.querySelector(".text").append(element("p", "", nothing));
  if (reference && !stopped) {
    const errors = wordErrors(reference, text, model.text_language ?? (model.task === "translate" ? "en" : language));
    const rate = errors.errors / Math.max(errors.referenceLength, 1);
    side.append(element("p", "rate", `${(100 * rate).toFixed(1)} %`),
      element("p", "facts", `${errors.errors} of ${errors.referenceLength} ${unit(language)}s wrong`), aligned(errors, language));
  }
  const read = stopped ? `Stopped: ${spokenTime(seconds)} of ${spokenTime(whole)}` : spokenTime(whole);
  side.append(element("p", "facts", `${read} of ${nameOf(language)} in ${spokenTime(ms / 1000)}, ${threads} `
    + `thread${threads > 1 ? "s" : ""}${again ? "; read again with 30 s of context, as the first text looked wrong" : ""}`));
  if (text) side.append(downloads(model, segments, whole));
}

function downloads(model, segments, seconds) {
  const paragraph = element("p", "downloads", "Save as ");
  for (const [form, written] of Object.entries(FORMATS)) {
    const link = element("a", "", form.toUpperCase());
    link.href = URL.createObjectURL(new Blob([written(segments, seconds)], { type: "text/plain;charset=utf-8" }));
    link.download = `${state.name}${state.models.length > 1 ? `-${model.key}` : ""}.${form}`;
    paragraph.append(link, " ");
  }
  return paragraph;
}

function aligned({ steps }, language) {
  const parts = steps.flatMap((step) => {
    const one = element("span", step.kind === "hit" ? "" : `step ${step.kind}`);
    if (step.kind === "substitution") one.append(element("del", "", step.reference), element("ins", "", step.hypothesis));
    else one.append(step.reference || step.hypothesis);
    return [one, separator(language)];
  });
  const paragraph = element("p", "diff");
  paragraph.append(...parts);
  return paragraph;
}

function element(name, kind, text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

function tell(text, fraction = null) {
  $("why").textContent = text;
  $("why").classList.remove("failed");
  $("progress").hidden = fraction === null;
  if (fraction !== null) $("progress").value = fraction;
}

// Whatever fails is said on the page; meanwhile nothing else can be begun.
async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  tell(""); // what failed before is over
  show();
  try {
    await work();
  } catch (error) {
    tell(error.message);
    $("why").classList.add("failed");
  } finally {
    state.busy = false;
    show();
  }
}

function show() {
  $("go").disabled = state.busy || !state.samples || state.recording !== null;
  $("record").disabled = state.busy;
  $("file").disabled = state.busy || state.recording !== null;
  $("stop").hidden = state.running === null;
}

$("file").addEventListener("click", ({ target }) => { target.value = ""; }); // the same file may be chosen again
$("file").addEventListener("change", ({ target }) => { if (target.files[0]) doing(() => take(target.files[0])); });
// A file dropped anywhere on the page; without this the browser would leave the page for it.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file && (state.busy || state.recording)) tell("Another file can be taken as soon as this one is done.");
  else if (file) doing(() => take(file));
});
$("record").addEventListener("click", () => doing(pressRecord));
$("go").addEventListener("click", () => doing(transcribe));
$("stop").addEventListener("click", () => {
  if (state.running === null) return;
  worker.postMessage({ stop: state.running });
  tell("Stopping after this passage …");
});
doing(start);
