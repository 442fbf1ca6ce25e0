// The field for the spoken language: what is typed is looked for in English names, own names and codes; beginnings first.
const input = element.querySelector("input"), list = element.querySelector("ul");
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().trim();
const choices = props.choices.map((one) => ({ ...one, names: one.names.map(folded), codes: one.codes.map(folded) }));
let shown = [], active = -1;

const named = (value) => choices.find((one) => one.value === value) || choices[0];

function rank(one, text) { // lower is nearer; -1: not at all
  if (one.codes[0] === text || one.names.includes(text)) return 0;
  if (one.names[0].startsWith(text)) return 1;
  if (one.names.some((name) => name.startsWith(text))) return 2;
  if (one.codes.includes(text)) return 3;
  if (one.names.some((name) => name.split(/\s/).some((word) => word.startsWith(text)))) return 4;
  return text.length > 2 && one.names.some((name) => name.includes(text)) ? 5 : -1;
}

function matches(text) {
  if (!text) return choices;
  const ranked = choices.map((one, at) => [rank(one, text), at, one]).filter(([found]) => found >= 0);
  return ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , one]) => one);
}

function draw(text) {
  shown = matches(folded(text));
  active = text ? (shown.length ? 0 : -1) : shown.findIndex((one) => one.value === props.value);
  list.replaceChildren(...shown.map((one, at) => {
    const row = document.createElement("li");
    row.id = `spoken-language-${at}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-label", one.name);
    row.append(one.name);
    if (one.own && folded(one.own) !== folded(one.name)) {
      const own = document.createElement("span");
      own.textContent = one.own;
      row.append(own);
    }
    row.onmousedown = (event) => { event.preventDefault(); choose(one); };
    return row;
  }));
  if (!shown.length) {
    const none = document.createElement("li");
    none.textContent = "No such language";
    none.setAttribute("role", "option");
    none.setAttribute("aria-disabled", "true");
    list.append(none);
  }
  open(true);
  mark(active);
}

function mark(at) {
  active = at;
  [...list.children].forEach((row, number) => row.setAttribute("aria-selected", String(number === at)));
  const row = shown.length ? list.children[at] : null;
  if (row) {
    list.scrollTop = Math.min(row.offsetTop, Math.max(list.scrollTop, row.offsetTop + row.offsetHeight - list.clientHeight));
    input.setAttribute("aria-activedescendant", row.id);
  } else input.removeAttribute("aria-activedescendant");
}

function open(on) {
  list.hidden = !on;
  input.setAttribute("aria-expanded", String(on));
  if (!on) input.removeAttribute("aria-activedescendant");
}

const rest = () => { open(false); input.value = named(props.value).name; if (document.activeElement === input) input.select(); };

function choose(one) {
  const changed = props.value !== one.value;
  props.value = one.value;
  rest();
  if (changed) trigger("input");
}

input.onfocus = () => input.select();
input.onmousedown = (event) => { // a click into text that is marked would only unmark it
  if (!list.hidden) return;
  event.preventDefault();
  input.focus();
  draw("");
  input.select();
};
input.oninput = () => draw(input.value);
input.onblur = rest;
input.onkeydown = (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    if (list.hidden) draw(""); else if (shown.length) mark((active + step + shown.length) % shown.length);
  } else if (event.key === "Enter" && !list.hidden) {
    event.preventDefault();
    if (shown[active]) choose(shown[active]);
  } else if (event.key === "Escape" && !list.hidden) {
    event.preventDefault();
    rest();
  }
};
watch("value", rest);
rest();
