// Silero VAD in onnxruntime-web: how probable speech is, 32 ms by 32 ms. Its file is the one of the package silero-vad.

import { FRAME } from "./windows.js";

const CONTEXT = 64; // samples of the frame before, which it sees as well
const STATE = 128;

/**
 * @param {object} ort - onnxruntime-web
 * @param {object} session - of the detector
 * @param {Float32Array} samples - at 16 kHz
 * @returns {(at: number, frames: number) => Promise<Float32Array>} for `windows`: stretch after stretch, from sample 0 on
 */
export function detectorOf(ort, session, samples) {
  const silent = () => new ort.Tensor("float32", new Float32Array(STATE), [1, 1, STATE]);
  let h = silent(), c = silent();
  return async (at, frames) => {
    const width = CONTEXT + FRAME, input = new Float32Array(frames * width); // before and behind the recording: silence
    for (let frame = 0; frame < frames; frame++) {
      const first = at + frame * FRAME - CONTEXT, from = Math.max(first, 0);
      input.set(samples.subarray(from, first + width), frame * width + from - first);
    }
    const found = await session.run({ input: new ort.Tensor("float32", input, [frames, width]), h, c });
    [h, c] = [found.hn, found.cn];
    return found.speech_probs.data;
  };
}
