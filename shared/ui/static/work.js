// How a visitor's work goes: `element` is the component's, its value the visitor's secret from the server. The page asks
// `server.watch` for news, shows bar and text, and after a reload finds the work again. `panel.js` changes texts by
// what is put into `whisperPanels` here.
const page = props.page;
const find = (name) => element.querySelector(`[data-work="${name}"]`);
const rest = (ms) => new Promise((done) => setTimeout(done, ms));
const view = () => document.getElementById(`${page}-result`);
const resultInView = () => view()?.querySelector("[data-result]")?.dataset.result;
const PAGE_OF = { transcript: "files", comparison: "compare" }; // of the suite; an app of one page has but one kind
const EXPECTED_MS = 60_000; // within which work that was asked for here is there
let owner = "", following = false, expected = 0, isMine = false, isStopping = false;
let over = null; // id of the last job that is known to be over
let shown = { job: null, part: null, n: 0 };

function show(on) {
  find("box").hidden = !on;
  if (view()) view().style.display = on ? "none" : "";
}

function tell(text) {
  find("problem").textContent = text || "";
  find("problem").hidden = !text;
}

function draw(state) {
  find("text").textContent = isStopping ? "stopping" : state.text;
  const bar = find("bar"), percent = Math.round(state.fraction * 100);
  bar.classList.toggle("unknown", state.fraction === 0);
  bar.firstElementChild.style.width = state.fraction ? `${Math.max(percent, 1)}%` : "";
  if (state.fraction) bar.setAttribute("aria-valuenow", percent); else bar.removeAttribute("aria-valuenow");
  find("left").textContent = state.left === null || isStopping ? "" : inWords(state.left);
  const lines = find("lines");
  if (state.job !== shown.job || state.part !== shown.part) {
    lines.replaceChildren();
    shown = { job: state.job, part: state.part, n: 0 };
  }
  const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 40;
  for (const { clock, text } of state.segments) {
    const line = document.createElement("p"), time = document.createElement("span");
    time.className = "clock";
    time.textContent = clock;
    line.append(time, text);
    lines.append(line);
  }
  shown.n = state.n;
  if (atEnd && state.segments.length) lines.scrollTop = lines.scrollHeight;
}

function inWords(seconds) {
  if (seconds < 50) return `about ${Math.max(5, Math.round(seconds / 5) * 5)} s left`;
  return `about ${Math.max(1, Math.round(seconds / 60))} min left`;
}

async function follow(instead = null) { // instead: of the last job's result another one is shown
  if (following || !owner) return;
  following = true;
  let state = { job: null }, seen = false;
  try {
    for (;;) {
      try {
        state = await server.watch({ owner, page, other_than: over, job: shown.job, part: shown.part, have: shown.n,
                                     seen: state.seen });
      } catch {
        if (!find("box").hidden) find("text").textContent = "The connection is lost; the work goes on for a while";
        await rest(1500);
        continue;
      }
      if (state.job && state.over) break;
      if (state.job) {
        seen = true;
        show(true);
        draw(state);
      } else if (Date.now() < expected) await rest(150);
      else break;
    }
    if (state.job && instead && !seen) over = state.job;
    else if (state.job) await finish(state, seen);
  } finally {
    following = false;
    expected = 0;
    show(false);
  }
  list();
}

async function finish(state, seen) {
  over = state.job;
  const isThere = () => state.results.includes(resultInView());
  if (!state.results.length) {
    if (seen && !isMine) tell(state.problem); // who asked here gets it as a message
    return;
  }
  for (let i = 0; isMine && i < 50 && !isThere(); i++) await rest(100);
  if (isThere()) return;
  props.value = `job:${state.job}`; // another page asked, or the connection broke
  trigger("submit");
  for (let i = 0; i < 100 && !isThere(); i++) await rest(100);
}

function begin() {
  isMine = true;
  isStopping = false;
  expected = Date.now() + EXPECTED_MS;
  tell("");
  find("lines").replaceChildren();
  shown = { job: null, part: null, n: 0 };
  draw({ text: "beginning", fraction: 0, left: null, job: null, part: null, segments: [], n: 0 });
  show(true);
  element.scrollIntoView({ block: "nearest" });
  follow();
}

function open(id) {
  props.value = `result:${id}`;
  trigger("submit");
  view()?.scrollIntoView({ block: "nearest" });
}

function askedFor() { // the result that the address names, once
  const asked = new URLSearchParams(location.search).get("open");
  if (asked) history.replaceState(history.state, "", location.pathname);
  return asked;
}

async function list() {
  if (!owner) return;
  try {
    fill(await server.recent({ owner }));
  } catch { /* the list is no more than a help */ }
}

function fill(results) {
  const box = document.querySelector(`#${page}-recent .recent`);
  if (!box) return;
  box.hidden = !results.length;
  box.querySelector("[data-count]").textContent = results.length;
  box.querySelector("ul").replaceChildren(...results.map(({ id, kind, name: of, minutes, length, text }) => {
    const name = kind === "comparison" ? `${of}, compared` : of; // both may be of one recording
    const row = document.createElement("li"), title = document.createElement("span");
    const when = minutes < 1 ? "just now" : `${minutes} min ago`;
    const name_ = document.createElement("b"), more = document.createElement("span");
    name_.textContent = name;
    more.textContent = `${when} · ${length} · ${text || "no speech"}`;
    title.append(name_, more);
    const button = (label, act) => {
      const made = document.createElement("button");
      made.type = "button";
      made.className = "quiet";
      made.textContent = label;
      made.setAttribute("aria-label", `${label} ${name}`);
      made.addEventListener("click", act);
      return made;
    };
    row.append(title, button("Open", () => {
      if (kind === props.kind) open(id);
      else location.assign(`./${PAGE_OF[kind]}?open=${id}`);
    }), button("Delete", async () => {
      fill(await server.forget({ owner, result: id }));
      if (resultInView() === id) trigger("clear");
    }));
    return row;
  }));
}

find("stop").addEventListener("click", () => {
  isStopping = true;
  find("text").textContent = "stopping";
  server.stop({ owner, page });
});
window.whisperPanels ??= {};
window.whisperPanels[page] = {
  begin,
  failed: () => { expected = 0; },
  change: (question) => server.change({ ...question, owner }),
  use: (question) => server.use({ ...question, owner }),
};
watch("value", () => {
  if (!/^[\w-]{43}$/.test(props.value || "") || owner === props.value) return;
  owner = props.value;
  const asked = askedFor();
  if (asked) open(asked);
  follow(asked);
});
