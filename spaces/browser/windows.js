// Speech packed into windows of at most 30 s: the rules of shared/audio/vad.py, padded_speech.py and windows.py.

import { SAMPLE_RATE } from "./mel.js";

export const FRAME = 512; // samples that the speech detector judges at a time: 32 ms
const LONGEST = 30; // seconds that a window lasts at most
const PADDING = 0.25; // seconds on either side of speech
const OFFSET_BELOW_ONSET = 0.15, MIN_SPEECH = 0.1, MIN_SILENCE = 0.3;
const BLOCK = 128; // frames judged at once: 4 s

/** Probabilities of frames become spans of speech {start, end, cutBefore, cutAfter}, in samples. */
export class SpeechSpans {
  constructor(onset, maxFrames) {
    Object.assign(this, { onset, maxFrames, spans: [], frame: 0, start: null, last: 0, wasCut: false, open: [] });
  }

  push(probability) {
    if (this.start === null && probability >= this.onset) [this.start, this.open] = [this.frame, []];
    if (this.start !== null) {
      this.open.push(probability);
      if (probability >= this.onset - OFFSET_BELOW_ONSET) this.last = this.frame + 1;
      else if ((this.frame + 1 - this.last) * FRAME >= MIN_SILENCE * SAMPLE_RATE) this.close();
      if (this.start !== null && this.open.length >= this.maxFrames) this.cut();
    }
    this.frame++;
  }

  finish() {
    if (this.start !== null) this.close();
  }

  /** The spans closed since the last call. */
  take() {
    return this.spans.splice(0);
  }

  close() {
    if ((this.last - this.start) * FRAME >= MIN_SPEECH * SAMPLE_RATE) {
      this.spans.push({ start: this.start * FRAME, end: this.last * FRAME, cutBefore: this.wasCut, cutAfter: false });
    }
    [this.start, this.wasCut] = [null, false];
  }

  // Speech without a pause for a whole window: parted at the least speech-like moment of its second half.
  cut() {
    const half = this.maxFrames >> 1, late = this.open.slice(half);
    let at = 0, least = Infinity;
    for (let i = 0; i + 5 <= late.length; i++) {
      const mean = (late[i] + late[i + 1] + late[i + 2] + late[i + 3] + late[i + 4]) / 5;
      if (mean < least) [at, least] = [half + 2 + i, mean];
    }
    const cut = this.start + at;
    this.spans.push({ start: this.start * FRAME, end: cut * FRAME, cutBefore: this.wasCut, cutAfter: true });
    [this.start, this.open, this.wasCut] = [cut, this.open.slice(at), true];
  }
}

/**
 * The speech of a recording, window by window, as soon as each is known.
 * @param {Float32Array} samples - at 16 kHz
 * @param {(at: number, frames: number) => Promise<Float32Array>} detect - probability of speech of each of so many
 *   frames from sample `at` on; called for one stretch after the other
 * @param {{onset?: number, maxGap?: number, overlap?: number}} how - maxGap: a pause of more seconds begins a new window.
 *   overlap: seconds that both sides of a cut through unbroken speech get of the other
 * @yields {{samples: Float32Array, pieces: {offset: number, start: number, length: number}[]}} pieces: where in the
 *   recording its samples come from
 */
export async function* windows(samples, detect, { onset = 0.5, maxGap = 1e9, overlap = 0 } = {}) {
  const spans = new SpeechSpans(onset, Math.floor(Math.trunc((LONGEST - 2 * overlap) * SAMPLE_RATE) / FRAME));
  const packer = new Packer(samples, maxGap, Math.trunc(overlap * SAMPLE_RATE));
  const frames = Math.ceil(samples.length / FRAME);
  for (let first = 0; first < frames; first += BLOCK) {
    for (const probability of await detect(first * FRAME, Math.min(BLOCK, frames - first))) spans.push(probability);
    if (first + BLOCK >= frames) spans.finish();
    for (const span of spans.take()) yield* packer.put(span);
  }
  yield* packer.finish();
}

// Gives spans their padding, which ends where the next one begins, and puts them into windows.
class Packer {
  constructor(samples, maxGap, overlap) {
    Object.assign(this, { samples, overlap, gap: maxGap * SAMPLE_RATE, waiting: null, given: 0, speech: [], length: 0, last: 0 });
  }

  *put(span) {
    if (this.waiting !== null) yield* this.add(this.padded(this.waiting, span.start));
    this.waiting = span;
  }

  *finish() {
    if (this.waiting !== null) yield* this.add(this.padded(this.waiting, this.samples.length));
    if (this.speech.length) yield this.window();
  }

  padded(span, reach) {
    const around = PADDING * SAMPLE_RATE;
    const start = span.cutBefore ? span.start - this.overlap : Math.max(span.start - around, this.given);
    const end = Math.min(span.cutAfter ? span.end + this.overlap : Math.min(span.end + around, reach), this.samples.length);
    this.given = span.cutAfter ? span.end : end;
    return { span, start, length: end - start };
  }

  *add(one) {
    const isApart = this.length + one.length > LONGEST * SAMPLE_RATE || one.start - this.last > this.gap || one.span.cutBefore;
    if (this.speech.length && isApart) yield this.window();
    this.speech.push(one);
    [this.length, this.last] = [this.length + one.length, one.start + one.length];
  }

  window() {
    const samples = new Float32Array(this.length), pieces = [];
    let offset = 0;
    for (const { start, length } of this.speech) {
      samples.set(this.samples.subarray(start, start + length), offset);
      pieces.push({ offset, start, length });
      offset += length;
    }
    [this.speech, this.length] = [[], 0];
    return { samples, pieces };
  }
}
