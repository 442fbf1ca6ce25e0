// Runs the page's modules on what Python sends: one JSON object in, one out. Arrays of float32 travel as base64.
import fs from "node:fs";
import { Decoder } from "../../spaces/browser/decoder.js";
import { framesFor, logMel } from "../../spaces/browser/mel.js";
import { forbid } from "../../spaces/browser/rules.js";
import { onAudio, restOf } from "../../spaces/browser/segments.js";
import { FORMATS, columns, joined, shortClock, spokenTime } from "../../spaces/browser/transcript.js";
import { piecesOf, textOf } from "../../spaces/browser/vocabulary.js";
import { normalise, unit, wordErrors } from "../../spaces/browser/wer.js";
import { FRAME, windows } from "../../spaces/browser/windows.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const given = JSON.parse(Buffer.concat(chunks).toString("utf-8"));
const floats = (text) => { const bytes = Buffer.from(text, "base64"); return new Float32Array(new Uint8Array(bytes).buffer); };
const packed = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");

let decoder = null;
if (given.decoder) {
  const kernel = fs.readFileSync(new URL("../../spaces/browser/kernel.wasm", import.meta.url));
  const { buffer, byteOffset, length } = fs.readFileSync(given.decoder);
  decoder = await Decoder.open(kernel, buffer.slice(byteOffset, byteOffset + length), given.model);
}

const kinds = {
  logits: ({ keys, values, ids }) => {
    decoder.begin(floats(keys), floats(values));
    return packed(decoder.step(ids));
  },
  frames: (seconds) => framesFor(seconds),
  mel: ({ samples, nMels, nFrames }) => packed(logMel(floats(samples), nMels, nFrames)),
  allowed: ({ logits, ids, stamps }) => {
    const left = floats(logits);
    forbid(left, ids, given.model, stamps);
    return packed(Uint8Array.from(left, (value) => value > -Infinity));
  },
  pieces: (ids) => piecesOf(ids, given.model),
  placed: ({ length, pieces, segments, reached }) => {
    const window = { samples: new Float32Array(length), pieces };
    return { segments: onAudio(window, segments), rest: restOf(window, reached)?.pieces ?? null };
  },
  files: ({ segments, seconds }) => Object.entries(FORMATS).map(([form, written]) => [form, written(segments, seconds)]),
  columns: (text) => columns(text),
  joined: (texts) => joined(texts),
  clock: (seconds) => shortClock(seconds),
  spoken: (seconds) => spokenTime(seconds),
  text: (ids) => textOf(ids, given.vocabulary),
  normalise: ([text, language]) => normalise(text, language),
  unit: (language) => unit(language),
  errors: ([reference, hypothesis, language]) => wordErrors(reference, hypothesis, language),
  windows: async ({ samples, probabilities, ...how }) => {
    const found = [], all = floats(probabilities);
    const detect = async (at, frames) => all.subarray(at / FRAME, at / FRAME + frames);
    for await (const { samples: speech, pieces } of windows(floats(samples), detect, how)) {
      found.push([packed(speech), pieces.map(({ offset, start, length }) => [offset, start, length])]);
    }
    return found;
  },
};
const answers = {};
for (const [kind, work] of Object.entries(kinds)) if (kind in given) answers[kind] = await Promise.all(given[kind].map(work));
process.stdout.write(JSON.stringify(answers));
