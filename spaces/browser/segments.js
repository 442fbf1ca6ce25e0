// What was decoded of a window, on the recording's clock: the rules of shared/inference/segments.py and silence.py for
// text whose words have no times.

import { SAMPLE_RATE } from "./mel.js";

const LEFT_OUT = 1; // seconds of silence left out of a window, over which no segment lies
const RESUME = 2; // seconds of speech left after the last time, for which a window is taken up again

/**
 * @param {{samples: Float32Array, pieces: object[]}} window - of `windows`
 * @param {{start: number, end: number, text: string}[]} segments - seconds within the window
 * @returns {{start: number, end: number, text: string}[]} seconds in the recording
 */
export function onAudio(window, segments) {
  const cuts = seams(window.pieces);
  return segments.map((segment) => {
    const { start, end } = within(segment, cuts);
    const begin = inAudio(window, start, false);
    return { ...segment, start: begin, end: Math.max(begin, inAudio(window, end, true)) };
  });
}

/**
 * What the model left unread of a window.
 * @param {number} reached - seconds within the window up to which it was read
 * @returns {object | null} a window, or null where too little is left
 */
export function restOf({ samples, pieces }, reached) {
  if (reached <= RESUME || reached >= samples.length / SAMPLE_RATE - RESUME) return null;
  const cut = Math.trunc(reached * SAMPLE_RATE);
  const rest = pieces.filter(({ offset, length }) => offset + length > cut).map(({ offset, start, length }) => ({
    offset: Math.max(offset - cut, 0), start: start + Math.max(cut - offset, 0), length: length - Math.max(cut - offset, 0) }));
  return { samples: samples.slice(cut), pieces: rest };
}

// Seconds within the window at which more than LEFT_OUT of silence were left out.
function seams(pieces) {
  return pieces.slice(1).filter(({ start }, i) => start - (pieces[i].start + pieces[i].length) > LEFT_OUT * SAMPLE_RATE)
    .map(({ offset }) => offset / SAMPLE_RATE);
}

// A segment over such a seam lies on the stretch that holds most of it.
function within({ start, end }, cuts) {
  if (!cuts.some((cut) => start < cut && cut < end)) return { start, end };
  const borders = [0, ...cuts, Infinity];
  let most = -Infinity, at = 0;
  for (let i = 0; i + 1 < borders.length; i++) {
    const held = Math.min(end, borders[i + 1]) - Math.max(start, borders[i]);
    if (held > most) [most, at] = [held, i];
  }
  return { start: Math.max(start, borders[at]), end: Math.min(end, borders[at + 1]) };
}

// At a seam the end of what came before and the start of what follows are different moments.
function inAudio({ samples, pieces }, seconds, isEnd) {
  const sample = Math.min(Math.max(seconds * SAMPLE_RATE, 0), samples.length);
  for (const { offset, start, length } of pieces) {
    const inside = sample - offset;
    if (inside < length || (isEnd && inside <= length)) return toMilliseconds((start + Math.max(inside, 0)) / SAMPLE_RATE);
  }
  const last = pieces.at(-1);
  return (last.start + last.length) / SAMPLE_RATE;
}

// Python's round(seconds, 3): of two equally near ones the even. Only odd sixteenths lie in the middle.
function toMilliseconds(seconds) {
  const rounded = Number(seconds.toFixed(3));
  return Math.abs(seconds * 16 % 2) === 1 && Math.round(rounded * 1000) % 2 ? (Math.round(rounded * 1000) - 1) / 1000 : rounded;
}
