// Waveform in, log-mel spectrogram out: the recipe of shared/audio/features.py, number for number.

export const SAMPLE_RATE = 16000;
export const HOP = 160; // samples from one frame to the next: 10 ms
export const FULL_FRAMES = 3000; // of the encoder's 30 s
const WINDOW = 400; // samples: 25 ms
const BINS = 1 + WINDOW / 2;
const FEW = 16, MANY = WINDOW / FEW; // the transform of 400 points, as 16 times 25
const FLOOR = 1e-10, DECADES = 8;

// Periodic Hann window, rounded to float32 as the server's is.
const hann = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW));
const cosines = Float64Array.from({ length: WINDOW }, (_, i) => Math.cos((2 * Math.PI * i) / WINDOW));
const sines = Float64Array.from({ length: WINDOW }, (_, i) => -Math.sin((2 * Math.PI * i) / WINDOW));

/** How many frames the encoder gets for so many seconds: whole positions of two frames, at most 30 s. */
export function framesFor(seconds) {
  return Math.min(FULL_FRAMES, 2 * Math.ceil(seconds * 50));
}

/**
 * Log-mel spectrogram of a clip.
 * @param {Float32Array} samples - in [-1, 1] at 16 kHz; followed by silence, or cut
 * @param {number} nMels - 80 or 128
 * @param {number} nFrames - of 10 ms
 * @returns {Float32Array} (nMels, nFrames), row by row
 */
export function logMel(samples, nMels, nFrames) {
  const padded = mirrored(samples, nFrames);
  const filters = melFilters(nMels);
  const mel = new Float32Array(nMels * nFrames);
  const even = new Float64Array(BINS), odd = new Float64Array(BINS);
  let loudest = -Infinity;
  for (let frame = 0; frame < nFrames; frame += 2) {
    powers(padded, frame * HOP, even, odd);
    for (const [at, power] of [[frame, even], [frame + 1, odd]]) {
      if (at >= nFrames) continue;
      for (let row = 0; row < nMels; row++) {
        let sum = 0;
        const { first, weights } = filters[row];
        for (let i = 0; i < weights.length; i++) sum += weights[i] * power[first + i];
        const log = Math.log10(Math.max(sum, FLOOR));
        mel[row * nFrames + at] = log;
        if (log > loudest) loudest = log;
      }
    }
  }
  const least = loudest - DECADES;
  for (let i = 0; i < mel.length; i++) mel[i] = (Math.max(mel[i], least) + 4) / 4;
  return mel;
}

// Frame i is centred on sample HOP * i: half a window before the clip is its mirror image, and after it silence; only a
// full window has an end, and is mirrored there too.
function mirrored(samples, nFrames) {
  const half = WINDOW / 2, nSamples = nFrames * HOP;
  const padded = new Float32Array(nSamples + WINDOW + HOP); // HOP: frames are taken two at a time
  padded.set(samples.subarray(0, nSamples + half), half);
  for (let i = 0; i < half; i++) padded[i] = padded[WINDOW - i];
  if (nFrames >= FULL_FRAMES) {
    for (let i = 0; i < half; i++) padded[half + nSamples + i] = padded[half + nSamples - 2 - i];
  }
  return padded;
}

const real = new Float64Array(WINDOW), imaginary = new Float64Array(WINDOW);
const partReal = new Float64Array(WINDOW), partImaginary = new Float64Array(WINDOW);

// Power spectra of two frames beside each other: one as the real, one as the imaginary part of a complex input.
function powers(padded, start, even, odd) {
  for (let i = 0; i < WINDOW; i++) {
    real[i] = padded[start + i] * hann[i];
    imaginary[i] = padded[start + HOP + i] * hann[i];
  }
  for (let low = 0; low < MANY; low++) { // 25 transforms of 16 points, each turned
    for (let k = 0; k < FEW; k++) {
      let re = 0, im = 0;
      for (let n = 0; n < FEW; n++) {
        const x = real[MANY * n + low], y = imaginary[MANY * n + low];
        const angle = ((n * k) % FEW) * MANY;
        re += x * cosines[angle] - y * sines[angle];
        im += x * sines[angle] + y * cosines[angle];
      }
      const angle = (low * k) % WINDOW, at = k * MANY + low;
      partReal[at] = re * cosines[angle] - im * sines[angle];
      partImaginary[at] = re * sines[angle] + im * cosines[angle];
    }
  }
  for (let k = 0; k < FEW; k++) { // 16 transforms of 25 points
    for (let high = 0; high < MANY; high++) {
      let re = 0, im = 0;
      for (let low = 0; low < MANY; low++) {
        const angle = ((low * high) % MANY) * FEW;
        const x = partReal[k * MANY + low], y = partImaginary[k * MANY + low];
        re += x * cosines[angle] - y * sines[angle];
        im += x * sines[angle] + y * cosines[angle];
      }
      real[k + FEW * high] = re;
      imaginary[k + FEW * high] = im;
    }
  }
  for (let k = 0; k < BINS; k++) { // parted again by symmetry
    const other = (WINDOW - k) % WINDOW;
    const a = (real[k] + real[other]) / 2, b = (imaginary[k] - imaginary[other]) / 2;
    const c = (imaginary[k] + imaginary[other]) / 2, d = (real[other] - real[k]) / 2;
    even[k] = a * a + b * b;
    odd[k] = c * c + d * d;
  }
}

const known = new Map();

// Triangular filters of unit area on Slaney's scale: linear below 1 kHz, logarithmic above.
function melFilters(nMels) {
  if (known.has(nMels)) return known.get(nMels);
  const breakHz = 1000, hzPerMel = 200 / 3, step = Math.log(6.4) / 27, breakMel = breakHz / hzPerMel;
  const top = breakMel + Math.log(SAMPLE_RATE / 2 / breakHz) / step;
  const edges = Array.from({ length: nMels + 2 }, (_, i) => {
    const mel = (top * i) / (nMels + 1);
    return mel < breakMel ? mel * hzPerMel : breakHz * Math.exp(step * (mel - breakMel));
  });
  const filters = Array.from({ length: nMels }, (_, row) => {
    const [left, middle, right] = edges.slice(row, row + 3);
    const all = Float32Array.from({ length: BINS }, (_, bin) => {
      const hz = (bin * SAMPLE_RATE) / WINDOW;
      const height = Math.min((hz - left) / (middle - left), (right - hz) / (right - middle));
      return (Math.max(0, height) * 2) / (right - left);
    });
    const first = all.findIndex((weight) => weight > 0);
    const last = all.findLastIndex((weight) => weight > 0);
    return { first: Math.max(first, 0), weights: first < 0 ? new Float32Array(0) : all.slice(first, last + 1) };
  });
  known.set(nMels, filters);
  return filters;
}
