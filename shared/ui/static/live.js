// Live recording: `element` is the component's, its value a ticket from the server. Sound goes out in numbered pieces,
// the next when the last has arrived; each answer brings text. Nothing is dropped: what waits makes a longer piece.
const find = (name) => element.querySelector(`[data-live="${name}"]`);
const tell = (text) => { find("problem").textContent = text; find("problem").hidden = !text; };
const PIECE_MS = 400, MOST_SAMPLES = 20 * 16000;
const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([input]) { if (input[0]?.length) this.port.postMessage(input[0].slice()); return true; } });`;
let running = null;

const show = (on) => { // in place of the last result; out of the layout when there is nothing to show
  element.querySelector(".live").hidden = !on;
  for (const [place, shown] of [["#microphone-listening", on], ["#microphone-result", !on]]) {
    const block = document.querySelector(place);
    if (block) block.style.display = shown ? "" : "none";
  }
};

async function open() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false } });
  let context;
  try { // the browser resamples better than anybody
    context = new AudioContext({ sampleRate: 16000 });
    context.createMediaStreamSource(stream);
  } catch { // Firefox connects no microphone to a context of another rate: the server resamples
    await context?.close();
    context = new AudioContext();
  }
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  const sound = [];
  tap.port.onmessage = (event) => sound.push(event.data);
  context.createMediaStreamSource(stream).connect(tap);
  await context.resume();
  const close = async () => {
    await new Promise((done) => setTimeout(done, 50)); // what the tap has sent is on its way
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  };
  return { sound, rate: context.sampleRate, close };
}

function take(sound, rate) { // up to twenty seconds, as base64 of s16le
  const clips = [];
  for (let n = 0; sound.length && n + sound[0].length <= MOST_SAMPLES * rate / 16000; n += clips.at(-1).length) {
    clips.push(sound.shift());
  }
  const pcm = new Int16Array(clips.reduce((n, clip) => n + clip.length, 0));
  let at = 0;
  for (const clip of clips) {
    for (const x of clip) pcm[at++] = Math.max(-32768, Math.min(32767, Math.round(x * 32768)));
  }
  const bytes = new Uint8Array(pcm.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

async function send(live, last) {
  const piece = { ticket: live.ticket, number: live.number, rate: live.rate, sound: take(live.sound, live.rate),
                  last, have: live.text.length };
  for (let attempt = 0; ; attempt++) {
    try {
      const status = await server.receive(piece);
      live.number += 1;
      return status;
    } catch (error) {
      if (attempt === 5) throw error;
      tell("The connection is lost; what you say is kept and sent when it is back.");
      await new Promise((done) => setTimeout(done, 1000 * (attempt + 1)));
    }
  }
}

function render(live, status) {
  if (status.problem) throw new Error(status.problem);
  const text = element.querySelector(".live-text");
  const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 40; // who reads further up is left there
  live.text += status.committed;
  find("committed").textContent = live.text;
  find("tentative").textContent = (live.text ? " " : "") + status.tentative.trim();
  const seconds = Math.floor(status.seconds);
  find("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (atEnd) text.scrollTop = text.scrollHeight;
}

async function record(ticket) {
  const live = running = { ticket, number: 0, text: "", sound: [], rate: 16000, stop: false };
  let source = null;
  show(true);
  tell("");
  find("state").textContent = "Listening";
  find("clock").textContent = "0:00";
  find("committed").textContent = find("tentative").textContent = "";
  find("stop").disabled = false;
  element.scrollIntoView({ block: "nearest" });
  find("stop").onclick = () => { live.stop = true; live.wake?.(); };
  try {
    source = await open();
    Object.assign(live, source);
    while (!live.stop) {
      await new Promise((done) => { live.wake = done; setTimeout(done, PIECE_MS); });
      const status = await send(live, false);
      tell("");
      render(live, status);
      if (status.full) live.stop = true;
    }
    find("stop").disabled = true;
    find("state").textContent = "Reading the last words";
    await source.close();
    do { render(live, await send(live, !live.sound.length)); } while (live.sound.length);
    render(live, await send(live, true));
    props.value = `done:${ticket}`;
    trigger("submit");
  } catch (error) {
    await source?.close().catch(() => {});
    const missing = ["NotFoundError", "NotAllowedError", "OverconstrainedError"].includes(error.name);
    tell(missing ? "No microphone may be used. Plug one in, or allow this page to use it, and try again." : error.message);
    find("stop").disabled = true;
    props.value = `lost:${ticket}`;
    trigger("clear");
  } finally {
    running = null;
  }
}

watch("value", () => {
  const ticket = props.value || "";
  if (ticket.startsWith("live:") && !running) record(ticket.slice(5));
  if (!ticket) show(false);
});
show(false);
