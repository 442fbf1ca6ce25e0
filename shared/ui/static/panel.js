// Life for the result panel: times seek the player, the passage being played is marked, lines can be changed, parted and
// joined, speakers renamed, words found. What changes a text asks the server (`whisperPanels`, see work.js), which keeps
// it; the answer is the text as it stands.
(() => {
  const panelOf = (element) => element?.closest?.(".result-body");
  const playerOf = (element) => panelOf(element)?.querySelector(".player");
  const rowOf = (element) => element?.closest?.(".segment");
  const saidOf = (element) => element?.closest?.(".said[contenteditable]");
  const indexOf = (element) => Number(rowOf(element).dataset.index);
  const note = (panel, text) => { panel.querySelector("[data-note]").textContent = text || ""; };
  const isOn = (panel) => panel.querySelector("[data-words]")?.getAttribute("aria-pressed") === "true";

  // ---- changes, one after the other
  let onTheirWay = 0; // changes that the server has not answered yet

  function change(panel, question, only = null) {
    const page = panel.closest("[id$='-result']").id.replace(/-result$/, "");
    const isLook = question.action === "show";
    const turn = async () => {
      try {
        const answer = await window.whisperPanels[page].change({
          result: panel.dataset.result, version: Number(panel.dataset.version), words: isOn(panel), ...question });
        take(panel, answer, only);
        onTheirWay -= 1;
        note(panel, answer.problem || (isLook ? "" : onTheirWay ? "Saving" : "Saved"));
        return !answer.problem;
      } catch {
        onTheirWay -= 1;
        note(panel, "The connection is lost, and this change is not saved. Change it again when it is back.");
        return false;
      }
    };
    onTheirWay += 1;
    if (!isLook) note(panel, "Saving");
    panel.turn = (panel.turn || Promise.resolve()).then(turn);
    return panel.turn;
  }

  const isUnsaved = (said) => said.dataset.was !== undefined && said.textContent.trim() !== said.dataset.was.trim();
  addEventListener("beforeunload", (event) => { // a page that is left takes what is not saved with it
    if (onTheirWay || [...document.querySelectorAll(".result-body .said[data-was]")].some(isUnsaved)) event.preventDefault();
  });

  function use(panel, name) { // after the changes that are on their way
    const page = panel.closest("[id$='-result']").id.replace(/-result$/, "");
    const turn = async () => {
      try {
        const done = await window.whisperPanels[page].use({ result: panel.dataset.result, use: name });
        note(panel, done.problem || `${done.text} `);
        if (done.problem) return;
        const link = document.createElement("a");
        link.href = done.address;
        link.textContent = done.link;
        panel.querySelector("[data-note]").append(link);
      } catch {
        note(panel, "The connection is lost. Try again when it is back.");
      }
    };
    panel.turn = (panel.turn || Promise.resolve()).then(turn);
  }

  function take(panel, answer, only) {
    if (answer.html === undefined) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = answer.html;
    const row = (where) => where.querySelector(`.segment[data-index="${only}"]`);
    const count = (where) => where.querySelectorAll(".segment").length;
    if (only !== null && count(fresh.content) === count(panel)) row(panel).replaceWith(row(fresh.content));
    else panel.querySelector(".text").replaceChildren(fresh.content);
    panel.dataset.version = answer.version;
    panel.querySelector("[data-undo]").disabled = !answer.can_undo;
    for (const link of panel.querySelectorAll(".downloads a")) {
      link.href = link.href.replace(/\?v=\d+$/, `?v=${answer.version}`);
    }
    const unsure = panel.querySelector("[data-unsure]");
    if (unsure) unsure.textContent = `Unsure words: ${panel.querySelectorAll(".unsure").length}`;
    look(panel);
  }

  async function save(said) { // whether the line is saved as it stands; what did not change need not be
    if (!said.isConnected || !isUnsaved(said)) return true;
    const former = said.dataset.was, text = said.textContent;
    said.dataset.was = text;
    const isSaved = await change(panelOf(said), { action: "text", index: indexOf(said), text }, indexOf(said));
    if (!isSaved) said.dataset.was = former; // leaving the line tries again
    return isSaved;
  }

  function caretOf(said) {
    const chosen = getSelection();
    if (!chosen.rangeCount || !said.contains(chosen.anchorNode)) return null;
    const before = document.createRange();
    before.selectNodeContents(said);
    before.setEnd(chosen.anchorNode, chosen.anchorOffset);
    const lead = said.textContent.length - said.textContent.trimStart().length;
    return Math.max(0, before.toString().length - lead);
  }

  const focusLine = (panel, index) => panel.querySelector(`.segment[data-index="${index}"] .said`)?.focus();

  async function part(said) {
    const panel = panelOf(said), index = indexOf(said), at = caretOf(said) ?? Number(said.dataset.caret);
    if (await save(said) && await change(panel, { action: "split", index, at })) focusLine(panel, index + 1);
  }

  async function join(said, index) {
    const panel = panelOf(said);
    if (await save(said) && await change(panel, { action: "join", index })) focusLine(panel, index);
  }

  document.addEventListener("focusin", (event) => {
    const said = saidOf(event.target);
    if (said && said.dataset.was === undefined) said.dataset.was = said.textContent;
  });
  document.addEventListener("focusout", (event) => {
    const said = saidOf(event.target);
    if (!said) return;
    said.dataset.caret = caretOf(said) ?? "";
    if (!rowOf(said).contains(event.relatedTarget)) save(said);
  });
  document.addEventListener("mousedown", (event) => { // the cursor stays in its line while its buttons are pressed
    if (event.target.closest?.(".line-tools")) event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const said = saidOf(event.target);
    if (said && event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      const at = caretOf(said), length = said.textContent.trim().length;
      if (at > 0 && at < length) part(said); else said.blur();
    } else if (said && event.key === "Escape") {
      said.textContent = said.dataset.was;
      said.blur();
    } else if (said && event.key === "Backspace" && caretOf(said) === 0 && getSelection().isCollapsed && indexOf(said) > 0) {
      event.preventDefault();
      join(said, indexOf(said) - 1);
    }
    if (event.target.matches?.("[data-find]") && event.key === "Enter") {
      event.preventDefault();
      step(panelOf(event.target), event.shiftKey ? -1 : 1);
    }
  });
  document.addEventListener("paste", (event) => {
    if (!saidOf(event.target)) return;
    event.preventDefault();
    document.execCommand("insertText", false, event.clipboardData.getData("text/plain").replace(/\s+/g, " "));
  });

  // ---- speakers
  function naming(button) {
    const panel = panelOf(button), name = button.dataset.name, index = indexOf(button);
    panel.querySelector(".naming")?.remove();
    const form = document.createElement("form"), field = document.createElement("input");
    form.className = "naming";
    field.value = name;
    field.maxLength = 60;
    field.setAttribute("aria-label", `Name of ${name}`);
    const close = () => { form.remove(); button.isConnected && button.focus(); };
    const add = (label, act, type = "button") => {
      const made = document.createElement("button");
      Object.assign(made, { type, className: "quiet", textContent: label });
      if (act) made.addEventListener("click", act);
      form.append(made);
    };
    const rename = (to) => { form.remove(); change(panel, { action: "rename", name, to }); };
    form.append(field);
    add("Rename everywhere", null, "submit");
    add("Only this line", () => { form.remove(); change(panel, { action: "reassign", index, to: field.value }); });
    const others = new Set([...panel.querySelectorAll("[data-name]")].map((one) => one.dataset.name));
    others.delete(name);
    for (const other of others) add(`Is ${other}`, () => rename(other));
    add("Cancel", close);
    form.addEventListener("submit", (event) => { event.preventDefault(); rename(field.value); });
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
    rowOf(button).querySelector(".line").append(form);
    field.select();
  }

  // ---- find, and words the model was unsure of
  function look(panel) { // mark what is looked for
    const wanted = panel.querySelector("[data-find]")?.value.trim().toLowerCase() || "";
    let n = 0;
    for (const row of panel.querySelectorAll(".segment")) {
      const is = Boolean(wanted) && row.querySelector(".said").textContent.toLowerCase().includes(wanted);
      row.classList.toggle("match", is);
      if (!is) row.classList.remove("here");
      n += is;
    }
    const found = panel.querySelector("[data-found]");
    if (found) found.textContent = !wanted ? "" : n === 1 ? "1 line" : `${n} lines`;
  }

  function step(panel, by) {
    const rows = [...panel.querySelectorAll(".segment.match")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here"));
    rows[at]?.classList.remove("here");
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length];
    next.classList.add("here");
    next.scrollIntoView({ block: "center" });
  }

  function nextUnsure(panel) {
    const words = [...panel.querySelectorAll(".unsure")];
    if (!words.length) return note(panel, "No word is left that the model was unsure of.");
    const at = words.findIndex((word) => word.classList.contains("here"));
    unsure(panel, words[(at + 1) % words.length]);
  }

  function unsure(panel, word) {
    for (const one of panel.querySelectorAll(".unsure.here")) one.classList.remove("here");
    word.classList.add("here");
    word.scrollIntoView({ block: "nearest" });
    note(panel, `“${word.textContent}” at ${rowOf(word).querySelector(".time").textContent}: ${word.title}`);
  }

  document.addEventListener("input", (event) => { if (event.target.matches?.("[data-find]")) look(panelOf(event.target)); });

  // ---- what is clicked
  document.addEventListener("click", (event) => {
    const at = (name) => event.target.closest?.(`.result-body [data-${name}]`);
    const player = at("seek") && playerOf(at("seek"));
    if (player) {
      player.currentTime = Number(at("seek").dataset.seek);
      player.play();
    }
    if (at("copy")) copyText(at("copy"));
    if (at("name")) naming(at("name"));
    if (at("use")) use(panelOf(at("use")), at("use").dataset.use);
    if (at("undo")) change(panelOf(at("undo")), { action: "undo" });
    if (at("split")) part(rowOf(at("split")).querySelector(".said"));
    if (at("join")) join(rowOf(at("join")).querySelector(".said"), indexOf(at("join")));
    if (at("unsure")) nextUnsure(panelOf(at("unsure")));
    if (event.target.matches?.(".result-body .unsure")) unsure(panelOf(event.target), event.target);
    const words = at("words");
    if (words) {
      words.setAttribute("aria-pressed", words.getAttribute("aria-pressed") === "true" ? "false" : "true");
      change(panelOf(words), { action: "show" });
    }
  });

  async function copyText(button) {
    const withTimes = button.dataset.copy === "times";
    const lines = [...panelOf(button).querySelectorAll(".segment")].map((row) => {
      const time = withTimes ? `[${row.querySelector(".time").textContent}] ` : "";
      const name = row.querySelector("[data-name]")?.dataset.name;
      return `${time}${name ? `${name}: ` : ""}${row.querySelector(".said").textContent.trim()}`;
    });
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(lines.join("\n"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser did not allow it";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  }

  // ---- the player. Media events do not bubble, but they can be captured on their way down.
  const follow = (event) => {
    const player = event.target;
    if (!player.classList?.contains("player")) return;
    const panel = panelOf(player);
    for (const row of panel.querySelectorAll(".segment")) {
      const now = player.currentTime;
      row.classList.toggle("now", now >= Number(row.dataset.start) && now < Number(row.dataset.end) && !player.ended);
    }
    const track = player.textTracks[0];
    if (!track) return;
    if (track.mode !== "hidden") track.mode = "hidden"; // read the cues here; an audio element shows none itself
    const cue = track.activeCues?.[0];
    panel.querySelector(".caption").innerText = cue ? cue.getCueAsHTML().textContent : "";
  };
  for (const name of ["timeupdate", "seeked", "ended", "play"]) document.addEventListener(name, follow, true);
})();
