// Keeps the page's own files, so that it opens without a network. Weights are kept by weights.js.

const STORE = "whisper-page-VERSION"; // stamped by the bundle; its files take the place of an older one's

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const { page } = await (await fetch("bundle.json", { cache: "no-store" })).json();
    const store = await caches.open(STORE);
    await store.addAll(page.map((path) => new Request(path, { cache: "no-store" })));
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("whisper-page-") && name !== STORE) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith((async () => {
    const store = await caches.open(STORE);
    return await store.match(request, { ignoreSearch: request.mode === "navigate" }) ?? fetch(request);
  })());
});
