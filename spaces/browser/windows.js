// A recording of any length in pieces of at most 30 s, cut where it is quietest.

import { SAMPLE_RATE } from "./mel.js";

const LONGEST = 30 * SAMPLE_RATE;
const SHORTEST = 20 * SAMPLE_RATE; // a piece is not cut before
const STEP = SAMPLE_RATE / 50; // 20 ms

/**
 * @param {Float32Array} samples - at 16 kHz
 * @returns {{start: number, samples: Float32Array}[]} start: the first sample's place
 */
export function pieces(samples) {
  const found = [];
  let start = 0;
  while (samples.length - start > LONGEST) {
    const end = start + quietest(samples.subarray(start + SHORTEST, start + LONGEST)) + SHORTEST;
    found.push({ start, samples: samples.subarray(start, end) });
    start = end;
  }
  found.push({ start, samples: samples.subarray(start) });
  return found;
}

// The middle of the quietest 0.3 s.
function quietest(samples) {
  const energies = [];
  for (let at = 0; at + STEP <= samples.length; at += STEP) {
    let sum = 0;
    for (let i = at; i < at + STEP; i++) sum += samples[i] * samples[i];
    energies.push(sum);
  }
  const width = 15;
  let best = 0, least = Infinity;
  for (let at = 0; at + width <= energies.length; at++) {
    let sum = 0;
    for (let i = at; i < at + width; i++) sum += energies[i];
    if (sum < least) [best, least] = [at, sum];
  }
  return (best + (width >> 1)) * STEP;
}
