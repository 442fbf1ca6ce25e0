// One checkpoint: samples in, text out, by the rules of training/onnx_form.py. The encoder runs in onnxruntime-web.

import { FULL_FRAMES, SAMPLE_RATE, framesFor, logMel } from "./mel.js";
import { forbid } from "./rules.js";
import { piecesOf, textOf } from "./vocabulary.js";

const MIN_LOGPROB = -1.0; // of Whisper's reference decoder, as in shared/inference/quality.py
const MIN_NO_SPEECH = 0.6;
const MAX_COMPRESSION = 2.4;
const TOKENS_PER_SECOND = 30; // no language is spoken at more

export class Recogniser {
  /**
   * @param {object} ort - onnxruntime-web
   * @param {object} encoder - its session
   * @param {Decoder} decoder
   * @param {object} model - model.json
   * @param {string[]} vocabulary - vocabulary.json
   */
  constructor(ort, encoder, decoder, model, vocabulary) {
    Object.assign(this, { ort, encoder, decoder, model, vocabulary });
  }

  /**
   * What is spoken in at most 30 s of sound; where the checkpoint writes times, in several segments.
   * @param {Float32Array} samples - at 16 kHz
   * @param {string | null} language - its code; null: it is detected
   * @param {{task?: string, full?: boolean}} how - full: pad to 30 s, as a stock checkpoint wants it
   * @returns {Promise<{segments: {start: number, end: number, text: string}[], reached: number, language: string,
   *   tokens: number, again: boolean, encodeMs: number, decodeMs: number}>} seconds from the first sample; reached: up to
   *   where the checkpoint read, by its last time
   */
  async recognise(samples, language, { task = "transcribe", full = false } = {}) {
    const seconds = samples.length / SAMPLE_RATE;
    const whole = full || this.model.silence === null;
    const nFrames = whole ? FULL_FRAMES : framesFor(seconds + this.model.silence);
    const begun = performance.now();
    const cross = await this.encode(samples, nFrames);
    const encoded = performance.now();
    language ??= this.detect(cross);
    const decoded = this.decode(cross, this.prompt(language, task), seconds);
    const text = textOf(decoded.ids, this.vocabulary).trim();
    const wrong = !decoded.finished || decoded.logprob < MIN_LOGPROB || await repeats(text)
      || (nFrames < FULL_FRAMES && this.model.unsure_logprob !== null && decoded.logprob < this.model.unsure_logprob);
    const silent = decoded.noSpeech > MIN_NO_SPEECH && decoded.logprob < MIN_LOGPROB;
    if (wrong && !silent && nFrames < FULL_FRAMES) { // all it may have missed is context
      return { ...await this.recognise(samples, language, { task, full: true }), again: true };
    }
    const { segments, reached } = silent ? { segments: [], reached: seconds } : this.segmentsOf(decoded.ids, seconds);
    return { segments, reached, language, tokens: decoded.ids.length, again: false,
      encodeMs: encoded - begun, decodeMs: performance.now() - encoded };
  }

  async encode(samples, nFrames) {
    const features = logMel(samples, this.model.n_mels, nFrames);
    const found = await this.encoder.run({ features: this.tensor(features, [this.model.n_mels, nFrames]) });
    return [found.cross_keys.data, found.cross_values.data];
  }

  prompt(language, task) {
    const { start, multilingual, languages, transcribe, translate, no_timestamps: noTimestamps, timestamps } = this.model;
    const ids = multilingual ? [start, languages[language], task === "translate" ? translate : transcribe] : [start];
    return timestamps ? ids : [...ids, noTimestamps];
  }

  /** @returns {string} the likeliest language's code */
  detect(cross) {
    if (!this.model.multilingual) return "en";
    this.decoder.begin(...cross);
    const logits = this.decoder.step([this.model.start]);
    const codes = Object.entries(this.model.languages);
    return codes.reduce((best, one) => logits[one[1]] > logits[best[1]] ? one : best)[0];
  }

  /** The text between each two times; one segment for all where there are none. */
  segmentsOf(ids, seconds) {
    const segments = [];
    let reached = 0;
    for (const piece of piecesOf(ids, this.model)) {
      const end = Math.min(piece.end ?? seconds, seconds), start = Math.min(piece.start ?? reached, end);
      const text = textOf(piece.ids, this.vocabulary).trim();
      reached = end;
      if (text) segments.push({ start, end, text });
    }
    return { segments, reached };
  }

  /** Greedy. */
  decode(cross, prompt, seconds) {
    const { end, max_tokens: most, start, no_speech: noSpeechId, decoder_positions: room, timestamps } = this.model;
    const limit = Math.min(most, room - prompt.length, Math.floor(16 + TOKENS_PER_SECOND * seconds));
    this.decoder.begin(...cross);
    const first = this.decoder.step([start]);
    const noSpeech = noSpeechId === null ? 0 : Math.exp(logProbability(first, noSpeechId));
    const ids = [];
    let following = prompt.slice(1), logprob = 0; // none for a checkpoint of English alone that writes times
    for (;;) {
      const logits = this.decoder.step(following);
      forbid(logits, ids, this.model, timestamps);
      const token = likeliest(logits);
      logprob += logProbability(logits, token, token);
      if (token !== end) ids.push(token);
      if (token === end || ids.length >= limit) {
        return { ids, logprob: logprob / (ids.length + 1), noSpeech, finished: token === end };
      }
      following = [token];
    }
  }

  tensor(data, shape) {
    return new this.ort.Tensor("float32", data, shape);
  }
}

function likeliest(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

function logProbability(logits, id, best = likeliest(logits)) {
  const most = logits[best];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - most); // by index: "for of" takes twice as long
  return logits[id] - most - Math.log(sum);
}

// Above 2.4 bytes for each byte of its zlib form, a text says the same over and over.
async function repeats(text) {
  const bytes = new TextEncoder().encode(text);
  const packed = await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer();
  return bytes.length / packed.byteLength > MAX_COMPRESSION;
}
