// The thread that holds the checkpoints and does all the work, so that the page stays quick.
//
// Gets {id, kind, ...}, answers {id, done} or {id, failed}; on the way {id, progress}. {stop: id} ends that work early, and
// what is done of it is the answer.

import * as ort from "./ort/ort.wasm.min.mjs";
import { Decoder } from "./decoder.js";
import { detectorOf } from "./detector.js";
import { SAMPLE_RATE } from "./mel.js";
import { Recogniser } from "./recogniser.js";
import { onAudio, restOf } from "./segments.js";
import { joined } from "./transcript.js";
import { fetchAll, forgetOthers } from "./weights.js";
import { windows } from "./windows.js";

ort.env.wasm.wasmPaths = new URL("./ort/", self.location.href).href;
// Threads need a page that no other site can look into, by two headers; else there is one.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

const loaded = new Map(); // key of a checkpoint -> promise of its Recogniser
const stopped = new Set(); // ids of what shall end
let detector = null; // promise of the speech detector's session

const KINDS = { load, transcribe };
// A checkpoint that may be cropped gets each utterance for itself, as on the server (SHORT_GAP_SECONDS of transcriber.py).
const SHORT_GAP = 1;

self.onmessage = async ({ data }) => {
  if ("stop" in data) return void stopped.add(data.stop);
  const progress = (value) => self.postMessage({ id: data.id, progress: value });
  try {
    self.postMessage({ id: data.id, done: await KINDS[data.kind](data, progress) });
  } catch (error) {
    self.postMessage({ id: data.id, failed: error.message || String(error) });
  } finally {
    stopped.delete(data.id);
  }
};

// Lets messages in: a worker that only awaits its own work gets none.
const turn = new MessageChannel();
const breathe = () => new Promise((resolve) => {
  turn.port1.onmessage = resolve;
  turn.port2.postMessage(null);
});

/** Fetch and open a checkpoint and the speech detector. model: its entry in bundle.json. vad: the detector's. */
async function load({ model, vad, keep }, progress) {
  if (!loaded.has(model.key)) {
    const opening = open(model, progress);
    loaded.set(model.key, opening);
    opening.catch(() => loaded.delete(model.key)); // the next try begins anew
  }
  await loaded.get(model.key);
  detector ??= fetchAll([vad], () => {}).then((files) => session(files[vad.name]));
  detector.catch(() => { detector = null; });
  await detector;
  if (keep) await forgetOthers(keep);
  return { threads: ort.env.wasm.numThreads };
}

async function open(model, progress) {
  const files = await fetchAll(model.files, (bytes, all) => progress({ bytes, all }));
  const json = (name) => JSON.parse(new TextDecoder().decode(files[name]));
  const kernel = await fetch(new URL("kernel.wasm", self.location.href));
  if (!kernel.ok) throw new Error(`kernel.wasm could not be fetched (status ${kernel.status}).`);
  const about = json("model.json"), encoder = await session(files["encoder.onnx"]);
  const decoder = await Decoder.open(await kernel.arrayBuffer(), files["decoder.safetensors"], about);
  return new Recogniser(ort, encoder, decoder, about, json("vocabulary.json"));
}

function session(content) {
  return ort.InferenceSession.create(new Uint8Array(content), { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

/** The text of a recording, window by window. full: each is padded to 30 s. */
async function transcribe({ id, model, samples, language, task, full }, progress) {
  const recogniser = await loaded.get(model.key);
  const begun = performance.now(), { silence } = recogniser.model;
  const total = { segments: [], language, encodeMs: 0, decodeMs: 0, tokens: 0, again: 0, stopped: false, seconds: 0 };
  const maxGap = silence !== null && silence <= SHORT_GAP ? SHORT_GAP : undefined;
  for await (const whole of windows(samples, detectorOf(ort, await detector, samples), { maxGap })) {
    for (let window = whole; window !== null;) {
      await breathe();
      if (stopped.has(id)) return { ...answer(), stopped: true };
      window = await read(window);
      progress(answer());
    }
  }
  return answer();

  // Reads a window; gives what the checkpoint left of it.
  async function read(window) {
    const found = await recogniser.recognise(window.samples, total.language, { task, full });
    total.language = found.language; // the first window decides
    total.segments.push(...onAudio(window, found.segments));
    for (const key of ["encodeMs", "decodeMs", "tokens"]) total[key] += found[key];
    total.again += found.again ? 1 : 0;
    const rest = recogniser.model.timestamps && found.segments.length ? restOf(window, found.reached) : null;
    const last = window.pieces.at(-1);
    total.seconds = rest ? rest.pieces[0].start / SAMPLE_RATE : (last.start + last.length) / SAMPLE_RATE;
    return rest;
  }

  function answer() {
    const language = total.language ?? recogniser.model.tuned_for?.[0] ?? "en"; // nothing was spoken
    const text = joined(total.segments.map((segment) => segment.text));
    return { ...total, language, text, ms: performance.now() - begun };
  }
}
