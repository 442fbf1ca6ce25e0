// Files of a checkpoint: fetched once with progress, compared with the digest that the bundle states, kept by the browser.

const STORE = "whisper-weights"; // holds files of several bundles by their digest, so what did not change stays

/**
 * @param {{name: string, path: string, bytes: number, sha256: string}[]} files
 * @param {(done: number, all: number) => void} progress - bytes
 * @returns {Promise<Object<string, ArrayBuffer>>} by name
 * @throws {Error} a file is not there, or is another one
 */
export async function fetchAll(files, progress) {
  const all = files.reduce((sum, file) => sum + file.bytes, 0);
  const found = {};
  let before = 0;
  for (const file of files) {
    found[file.name] = await fetchOne(file, (done) => progress(before + done, all));
    before += file.bytes;
    progress(before, all);
  }
  return found;
}

/** Forget files that no checkpoint of this bundle has. */
export async function forgetOthers(files) {
  const wanted = new Set(files.map((file) => addressOf(file)));
  const store = await opened();
  for (const request of await store?.keys() ?? []) if (!wanted.has(request.url)) await store.delete(request);
}

async function fetchOne(file, progress) {
  const store = await opened(), address = addressOf(file);
  const kept = await store?.match(address);
  if (kept) {
    const content = await kept.arrayBuffer();
    if (await isRight(content, file)) return content;
    await store.delete(address); // damaged on this machine's disk
  }
  const response = await fetch(file.path, { cache: "no-store" });
  if (!response.ok) throw new Error(`The checkpoint's file ${file.path} could not be fetched (status ${response.status}).`);
  const content = await read(response, file, progress);
  if (!await isRight(content, file)) {
    throw new Error(`The checkpoint's file ${file.path} is damaged: another SHA-256 than the bundle states. Reload the page.`);
  }
  try {
    await store?.put(address, new Response(content.slice(0)));
  } catch (error) { // no room: the page works, and fetches again the next time
    console.warn(`The browser does not keep ${file.path}: ${error.message}`);
  }
  return content;
}

async function read(response, file, progress) {
  const content = new Uint8Array(file.bytes);
  const reader = response.body.getReader();
  for (let done = 0; ;) {
    const part = await reader.read();
    if (part.done) return done === file.bytes ? content.buffer : content.slice(0, done).buffer;
    if (done + part.value.length > file.bytes) return new ArrayBuffer(0); // larger than it may be
    content.set(part.value, done);
    progress(done += part.value.length);
  }
}

async function isRight(content, file) {
  if (content.byteLength !== file.bytes) return false;
  if (!globalThis.crypto?.subtle) return true; // a page without https has no digests; the size must do
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === file.sha256;
}

function addressOf(file) {
  return new URL(`${file.path}?sha256=${file.sha256}`, self.location.href).href;
}

async function opened() {
  try {
    return await caches.open(STORE);
  } catch { // a private window, or no https: nothing is kept
    return null;
  }
}
