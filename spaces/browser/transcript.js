// Text and subtitle files of segments with times: the rules of shared/transcript for segments without words' times.

import { WIDE } from "./widths.js";

const UNSPACED = /^[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u303f\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\u{20000}-\u{3134f}]/u;
// Two lines of 42 columns, 17 characters a second, 5/6 s to 7 s on screen and two frames between cues, as on the server.
const LINE_COLUMNS = 42, N_LINES = 2, CHARACTERS_PER_SECOND = 17;
const MIN_SECONDS = 5 / 6, MAX_SECONDS = 7, GAP_SECONDS = 2 / 24, SILENCE_SECONDS = 1.5;
const NOT_FIRST = new Set("、。，．：；！？…‥・）］｝〕〉》」』】〙〗〟’”»％‰℃,.!?:;)]}%"
  + "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々〻ゝゞヽヾ〜～ะาำๅๆฯະາຳໆຯ។៕ៗ၊။");
const NOT_LAST = new Set("（［｛〔〈《「『【〘〖〝‘“«￥＄￡([{เแโใไເແໂໃໄ\u17d2\u1039");
const SENTENCE_ENDS = new Set(".!?…。！？।؟");
const clusters = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Segments as one text: a space between them, unless what follows is written in a script without spaces. */
export function joined(texts) {
  return texts.reduce((text, piece) => text + (text && !UNSPACED.test(piece) ? " " : "") + piece, "");
}

/** A place in a recording as players write it: 0:07, 1:02:05. */
export function shortClock(seconds) {
  const whole = Math.floor(Math.max(seconds, 0)), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A length of time as people write it: 4.4 s, 2 min 05 s, 1 h 02 min. */
export function spokenTime(seconds) {
  if (Math.round(seconds * 10) < 600) return `${seconds.toFixed(1)} s`.replace(".0 s", " s");
  const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0"), minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${two(whole % 60)} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/**
 * The files that a transcript can be written to, by the ending of their names.
 * @type {Object<string, (segments: {start: number, end: number, text: string}[], seconds: number) => string>}
 */
export const FORMATS = {
  txt: (segments) => segments.map(({ text }) => `${text}\n`).join(""),
  srt: (segments, seconds) => cues(segments, seconds).map(({ start, end, lines }, i) =>
    `${i + 1}\n${clockTime(start, ",")} --> ${clockTime(end, ",")}\n${lines.join("\n")}\n`).join("\n"),
  vtt: (segments, seconds) => `WEBVTT\n\n${cues(segments, seconds).map(({ start, end, lines }) =>
    `${clockTime(start, ".")} --> ${clockTime(end, ".")}\n${lines.map(escaped).join("\n")}\n`).join("\n")}`,
};

function escaped(line) {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function clockTime(seconds, point) {
  const ms = evenRound(Math.max(seconds, 0) * 1000), padded = (n, width) => String(n).padStart(width, "0");
  return `${padded(Math.floor(ms / 3_600_000), 2)}:${padded(Math.floor(ms / 60_000) % 60, 2)}:`
    + `${padded(Math.floor(ms / 1000) % 60, 2)}${point}${padded(ms % 1000, 3)}`;
}

// As Python rounds: of two equally near ones the even.
function evenRound(value) {
  const low = Math.floor(value), rest = value - low;
  return low + (rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? 1 : 0);
}

// seconds: of the recording.
function cues(segments, seconds) {
  const pieces = segments.flatMap((segment) => [...piecesOf(segment)]), timed = [];
  pieces.forEach(({ start, end, lines }, i) => {
    start = timed.length ? Math.max(start, timed.at(-1).end + GAP_SECONDS) : Math.max(start, 0);
    const following = i + 1 < pieces.length ? pieces[i + 1].start : seconds + MAX_SECONDS;
    // Short or fast speech stays on screen longer, up to the next cue.
    const reading = lines.reduce((sum, line) => sum + columns(line), 0) / CHARACTERS_PER_SECOND;
    const wanted = Math.max(end, start + MIN_SECONDS, start + Math.min(reading, MAX_SECONDS));
    end = Math.max(Math.min(wanted, following - GAP_SECONDS), end <= following ? end : following - GAP_SECONDS);
    end = Math.min(Math.max(end, start + 0.04), start + MAX_SECONDS);
    timed.push({ start, end, lines });
  });
  return timed;
}

// The parts of a segment that each fit on the screen.
function* piecesOf(segment) {
  const atoms = atomsOf(segment);
  let opened = 0;
  for (let i = 1; i <= atoms.length; i++) {
    const shown = atoms.slice(opened, i);
    if (i === atoms.length || endsCue(shown, atoms[i])) {
      yield { start: atoms[opened].start, end: atoms[i - 1].end, lines: linesOf(shown) };
      opened = i;
    }
  }
}

function endsCue(shown, following) {
  const last = shown.at(-1);
  if (following.end - shown[0].start > MAX_SECONDS || following.start - last.end >= SILENCE_SECONDS) return true;
  if (linesOf([...shown, following]).length > N_LINES) return true;
  return SENTENCE_ENDS.has(Array.from(last.text).at(-1)) && columns(textOf(shown)) > LINE_COLUMNS / 2;
}

// The text in the pieces between which a line may break, each with its share of the segment's time: a word, or a
// character of a script without spaces, with the marks that belong to it.
function atomsOf(segment) {
  const times = timesOf(segment), atoms = [];
  let at = 0, hasSpace = false, inWord = false;
  for (const { segment: cluster } of clusters.segment(segment.text)) {
    const signs = Array.from(cluster), { start } = times[at], { end } = times[at + signs.length - 1];
    at += signs.length;
    if (/^[\p{Z}\t-\r\x1c-\x1f\x85]+$/u.test(cluster)) {
      [hasSpace, inWord] = [true, false];
      continue;
    }
    const isWord = !UNSPACED.test(cluster), beginsNoLine = NOT_FIRST.has(signs[0]) || /^\p{M}/u.test(cluster);
    const last = atoms.length && !hasSpace ? atoms.at(-1) : null;
    const binds = last && ((inWord && isWord) || beginsNoLine || NOT_LAST.has(Array.from(last.text).at(-1)));
    if (binds && columns(last.text + cluster) <= LINE_COLUMNS) {
      [last.text, last.end] = [last.text + cluster, Math.max(last.end, end)];
    } else {
      atoms.push({ text: cluster, hasSpace, start, end });
    }
    inWord = isWord && (inWord || !beginsNoLine);
    hasSpace = false;
  }
  // None lasts into the next.
  return atoms.map((atom, i) => ({ ...atom, end: Math.min(atom.end, Math.max(atoms[i + 1]?.start ?? Infinity, atom.start)) }));
}

// Start and end of each character, by its width.
function timesOf({ text, start, end }) {
  const signs = Array.from(text);
  let widths = signs.map((sign) => /^[\p{Z}\t-\r\x1c-\x1f\x85]$/u.test(sign) ? 0 : columns(sign));
  if (!widths.some(Boolean)) widths = signs.map(() => 1); // marks alone
  const total = widths.reduce((sum, width) => sum + width, 0);
  let before = 0;
  return widths.map((width) => {
    const from = start + (end - start) * before / total;
    before += width;
    return { start: from, end: start + (end - start) * before / total };
  });
}

// Lines of at most LINE_COLUMNS; two lines are made about equally long.
function linesOf(atoms) {
  const whole = columns(textOf(atoms));
  let lines = [];
  for (const width of whole <= LINE_COLUMNS ? [LINE_COLUMNS] : [Math.min(Math.floor(whole / 2) + 4, LINE_COLUMNS), LINE_COLUMNS]) {
    let first = 0;
    lines = [];
    for (let i = 1; i <= atoms.length; i++) {
      if (i === atoms.length || columns(textOf(atoms.slice(first, i + 1))) > width) {
        lines.push(textOf(atoms.slice(first, i)));
        first = i;
      }
    }
    if (lines.length <= N_LINES) break;
  }
  return lines;
}

function textOf(atoms) {
  return atoms.map(({ text, hasSpace }) => hasSpace ? ` ${text}` : text).join("").trim();
}

/** Width on screen: wide East Asian characters count two, combining marks none. */
export function columns(text) {
  let sum = 0;
  for (const sign of text) if (!/[\p{Mn}\p{Me}\p{Cf}]/u.test(sign)) sum += WIDE.test(sign) ? 2 : 1;
  return sum;
}
