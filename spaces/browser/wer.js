// What counts as the same word, and word errors: the rules of shared/wer/normaliser.py and shared/wer/counts.py.

import { SHAPES } from "./shapes.js";

const DOTLESS = new Set(["tr", "az"]);
const BY_CHARACTER = new Set(["zh", "yue", "ja", "th", "lo", "km", "my"]);
const TASHKEEL = /[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]/gu;
const NIQQUD = /[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]/gu;
const STRESS = /[\u0300\u0301]/gu;
const OPTIONAL_MARKS = {
  ar: TASHKEEL, fa: TASHKEEL, ur: TASHKEEL, ps: TASHKEEL, sd: TASHKEEL, he: NIQQUD,
  ru: STRESS, uk: STRESS, be: STRESS, bg: STRESS,
};
const PERSIAN = { "ي": "ی", "ى": "ی", "ك": "ک" };
const SAME_LETTER = { ru: { "ё": "е" }, fa: PERSIAN, ur: PERSIAN, ro: { "ş": "ș", "ţ": "ț" } };
const CHILLU = { "ണ്\u200d": "ൺ", "ന്\u200d": "ൻ", "ര്\u200d": "ർ", "ല്\u200d": "ൽ", "ള്\u200d": "ൾ", "ക്\u200d": "ൿ" };
const ANNOTATION = /\[[^[\]\n]{0,60}\]|［[^［］\n]{0,60}］|【[^【】\n]{0,60}】|<\/?\p{L}[^<>\s]{0,30}>/gu;
const APOSTROPHES = new Set("'’‘‛`´՚׳"), QUOTES = new Set('"“”״');
const SPOKEN = new Set("%‰&@+=°§№×÷٪");
const INVISIBLE = /[\ufe00-\ufe0f\u{e0100}-\u{e01ef}\u034f\u180b-\u180d\u180f]/u;
const LETTER_APOSTROPHES = new Set("ʼʻ");
const JOINERS = new Set(`-'".,:/٫٬ʼʻ`);

/** The text as it is compared: lower case, no punctuation, one space between words. */
export function normalise(text, language) {
  const code = codeOf(language);
  text = text.normalize("NFC").replace(ANNOTATION, " ");
  if (DOTLESS.has(code)) text = text.replaceAll("I", "ı");
  text = text.replaceAll("İ", "i").toLowerCase();
  if (OPTIONAL_MARKS[code]) text = text.replace(OPTIONAL_MARKS[code], "");
  for (const [old, put] of Object.entries(SAME_LETTER[code] ?? {})) text = text.replaceAll(old, put);
  for (const [old, put] of Object.entries(CHILLU)) text = text.replaceAll(old, put);
  const characters = [...Array.from(text, put).join("").normalize("NFC")];
  const joined = characters.map((sign, at) => JOINERS.has(sign) ? inside(characters, at) : sign).join("");
  return words(joined).join(" ");
}

/** @returns {"word" | "character"} what an error rate of the language counts */
export function unit(language) {
  return BY_CHARACTER.has(codeOf(language)) ? "character" : "word";
}

/** @returns {string} what stands between two passages: a space, where the language has them */
export function separator(language) {
  return unit(language) === "word" ? " " : "";
}

/**
 * Align two texts word by word, or character by character where the language has no spaces.
 * @returns {{errors: number, referenceLength: number, hits: number, steps: {kind: string, reference: string,
 *   hypothesis: string}[]}}
 */
export function wordErrors(reference, hypothesis, language) {
  const byCharacter = unit(language) === "character";
  const split = (text) => byCharacter ? [...normalise(text, language)].filter((sign) => sign !== " ")
    : words(normalise(text, language));
  return aligned(split(reference), split(hypothesis));
}

function aligned(reference, hypothesis) {
  const width = hypothesis.length + 1;
  const cost = new Uint32Array((reference.length + 1) * width);
  for (let j = 0; j < width; j++) cost[j] = j;
  for (let i = 1; i <= reference.length; i++) {
    cost[i * width] = i;
    for (let j = 1; j < width; j++) {
      const same = reference[i - 1] === hypothesis[j - 1] ? 0 : 1;
      cost[i * width + j] = Math.min(cost[(i - 1) * width + j - 1] + same, cost[(i - 1) * width + j] + 1,
        cost[i * width + j - 1] + 1);
    }
  }
  const steps = [];
  let i = reference.length, j = hypothesis.length;
  while (i > 0 || j > 0) {
    const here = cost[i * width + j];
    const same = i > 0 && j > 0 && reference[i - 1] === hypothesis[j - 1];
    if (i > 0 && j > 0 && here === cost[(i - 1) * width + j - 1] + (same ? 0 : 1)) {
      steps.push({ kind: same ? "hit" : "substitution", reference: reference[--i], hypothesis: hypothesis[--j] });
    } else if (i > 0 && here === cost[(i - 1) * width + j] + 1) {
      steps.push({ kind: "deletion", reference: reference[--i], hypothesis: "" });
    } else {
      steps.push({ kind: "insertion", reference: "", hypothesis: hypothesis[--j] });
    }
  }
  steps.reverse();
  const hits = steps.filter((step) => step.kind === "hit").length;
  return { errors: cost[cost.length - 1], referenceLength: reference.length, hits, steps };
}

function codeOf(language) {
  return language ? language.split(/[-_]/)[0].toLowerCase() : null;
}

// Python's str.split: these are its white space, of which JavaScript's \s lacks some and has one more (U+FEFF).
function words(text) {
  return text.split(/[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u)
    .filter((word) => word !== "");
}

// One character as compared. Joiners pass through: whether they stay depends on their neighbours.
function put(sign) {
  if (SHAPES.test(sign)) {
    const plain = sign.normalize("NFKC").toLowerCase();
    return plain === sign ? plain : Array.from(plain, put).join("");
  }
  if (APOSTROPHES.has(sign)) return "'";
  if (QUOTES.has(sign)) return '"';
  if (sign === "−") return "-";
  if (JOINERS.has(sign)) return sign;
  if (sign === "\u200b") return " ";
  if (SPOKEN.has(sign) || /\p{Sc}/u.test(sign)) return ` ${sign} `;
  if (sign === "\u0640" || INVISIBLE.test(sign) || /\p{Cf}/u.test(sign)) return "";
  return /[\p{P}\p{S}\p{Z}\p{Cc}\p{Cs}]/u.test(sign) ? " " : sign;
}

// An apostrophe stays inside a word, a separator inside a number, a minus before one; else a space.
function inside(characters, at) {
  const sign = characters[at], before = characters[at - 1] ?? "", after = characters[at + 1] ?? "";
  if (sign === "'" || LETTER_APOSTROPHES.has(sign)) {
    if (inWord(before) && inWord(after)) return "'";
    return sign === "'" ? " " : sign;
  }
  if (sign === '"') return before >= "א" && before <= "ת" && after >= "א" && after <= "ת" ? "״" : " ";
  const digit = (character) => /^\p{Nd}$/u.test(character);
  if (sign === "-") return digit(after) && (before === "" || words(before).length === 0) ? sign : " ";
  return digit(before) && digit(after) ? sign : " ";
}

function inWord(sign) {
  return sign !== "" && !LETTER_APOSTROPHES.has(sign) && /^[\p{L}\p{M}\p{N}]$/u.test(sign);
}
