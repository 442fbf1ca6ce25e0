// A file or the microphone to 16 kHz mono samples, by the browser's own decoders.

import { SAMPLE_RATE } from "./mel.js";

/**
 * @param {Blob} file - whatever this browser can play
 * @returns {Promise<Float32Array>} mono, 16 kHz
 * @throws {Error} it is no sound that this browser reads
 */
export async function samplesOf(file) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE); // decodes to its own rate
  let decoded;
  try {
    decoded = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`This browser cannot read ${file.name ? `“${file.name}”` : "the recording"} as sound. `
      + "Try WAV, MP3, M4A, Ogg or FLAC.");
  }
  const mono = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const samples = decoded.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / decoded.numberOfChannels;
  }
  return mono;
}

/**
 * Record from the microphone until `stop` is called.
 * @returns {Promise<{stop: () => Promise<Blob>}>}
 * @throws {Error} there is no microphone, or it may not be used
 */
export async function record() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The microphone may not be used: allow it beside the page's address."
      : "There is no microphone that can be used.");
  }
  const recorder = new MediaRecorder(stream), parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  return {
    async stop() {
      recorder.stop();
      await ended;
      for (const track of stream.getTracks()) track.stop();
      return new Blob(parts, { type: recorder.mimeType });
    },
  };
}
