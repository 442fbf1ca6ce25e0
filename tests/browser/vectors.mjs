// Runs the page's modules on what Python sends: one JSON object in, one out. Arrays of float32 travel as base64.
import { framesFor, logMel } from "../../spaces/browser/mel.js";
import { textOf } from "../../spaces/browser/vocabulary.js";
import { normalise, unit, wordErrors } from "../../spaces/browser/wer.js";
import { pieces } from "../../spaces/browser/windows.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const given = JSON.parse(Buffer.concat(chunks).toString("utf-8"));
const floats = (text) => { const bytes = Buffer.from(text, "base64"); return new Float32Array(new Uint8Array(bytes).buffer); };
const packed = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");

const kinds = {
  frames: (seconds) => framesFor(seconds),
  mel: ({ samples, nMels, nFrames }) => packed(logMel(floats(samples), nMels, nFrames)),
  text: (ids) => textOf(ids, given.vocabulary),
  normalise: ([text, language]) => normalise(text, language),
  unit: (language) => unit(language),
  errors: ([reference, hypothesis, language]) => wordErrors(reference, hypothesis, language),
  pieces: (samples) => pieces(floats(samples)).map((piece) => [piece.start, piece.samples.length]),
};
const answers = Object.fromEntries(Object.entries(kinds).filter(([kind]) => kind in given)
  .map(([kind, work]) => [kind, given[kind].map(work)]));
process.stdout.write(JSON.stringify(answers));
