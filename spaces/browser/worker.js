// The thread that holds the checkpoints and does all the work, so that the page stays quick.
//
// Gets {id, kind, ...}, answers {id, done} or {id, failed}; on the way {id, progress}.

import * as ort from "./ort/ort.wasm.min.mjs";
import { SAMPLE_RATE } from "./mel.js";
import { Recogniser } from "./recogniser.js";
import { fetchAll, forgetOthers } from "./weights.js";
import { pieces } from "./windows.js";

ort.env.wasm.wasmPaths = new URL("./ort/", self.location.href).href;
// Threads need a page that no other site can look into, by two headers; else there is one.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

const loaded = new Map(); // key of a checkpoint -> promise of its Recogniser

const KINDS = { load, transcribe };

self.onmessage = async ({ data }) => {
  const progress = (value) => self.postMessage({ id: data.id, progress: value });
  try {
    self.postMessage({ id: data.id, done: await KINDS[data.kind](data, progress) });
  } catch (error) {
    self.postMessage({ id: data.id, failed: error.message || String(error) });
  }
};

/** Fetch and open a checkpoint. data.model: its entry in bundle.json. */
async function load({ model, keep }, progress) {
  if (!loaded.has(model.key)) {
    const opening = open(model, progress);
    loaded.set(model.key, opening);
    opening.catch(() => loaded.delete(model.key)); // the next try begins anew
  }
  await loaded.get(model.key);
  if (keep) await forgetOthers(keep);
  return { threads: ort.env.wasm.numThreads };
}

async function open(model, progress) {
  const files = await fetchAll(model.files, (bytes, all) => progress({ bytes, all }));
  const json = (name) => JSON.parse(new TextDecoder().decode(files[name]));
  const session = (name) => ort.InferenceSession.create(new Uint8Array(files[name]), {
    executionProviders: ["wasm"], graphOptimizationLevel: "all",
  });
  const encoder = await session("encoder.onnx"), decoder = await session("decoder.onnx");
  return new Recogniser(ort, encoder, decoder, json("model.json"), json("vocabulary.json"));
}

/** The text of a recording, piece by piece. */
async function transcribe({ model, samples, language, task, full }, progress) {
  const recogniser = await loaded.get(model.key);
  const begun = performance.now();
  const total = { texts: [], language, encodeMs: 0, decodeMs: 0, tokens: 0, again: 0 };
  for (const piece of pieces(samples)) {
    const found = await recogniser.recognise(piece.samples, total.language, { task, full });
    total.language = found.language; // the first piece decides
    if (found.text) total.texts.push(found.text);
    for (const key of ["encodeMs", "decodeMs", "tokens"]) total[key] += found[key];
    total.again += found.again ? 1 : 0;
    progress({ seconds: (piece.start + piece.samples.length) / SAMPLE_RATE, text: total.texts.join(" ") });
  }
  const { texts, ...rest } = total;
  return { ...rest, text: texts.join(" "), ms: performance.now() - begun };
}
