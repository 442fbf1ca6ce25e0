// Token ids to text: byte-level BPE, where each character of a token stands for one byte.

const BYTES = bytesOf();

function bytesOf() {
  const plain = (code) => (code >= 33 && code <= 126) || (code >= 161 && code <= 172) || (code >= 174 && code <= 255);
  const found = new Map();
  let free = 256;
  for (let byte = 0; byte < 256; byte++) found.set(String.fromCodePoint(plain(byte) ? byte : free++), byte);
  return found;
}

const POSITION_SECONDS = 0.02; // from one timestamp to the next

/**
 * Decoder output cut at its times: <|0.00|> text <|2.40|><|2.40|> text <|5.00|>.
 * @param {number[]} ids
 * @param {object} model - model.json
 * @returns {{start: number | null, end: number | null, ids: number[]}[]} seconds within the window; null: none was given
 */
export function piecesOf(ids, { first_stamp: first, last_stamp: last, end }) {
  const pieces = [];
  let start = null, opened = [];
  for (const id of ids) {
    if (id >= first && id <= last) {
      const seconds = (id - first) * POSITION_SECONDS;
      if (opened.length) {
        pieces.push({ start, end: seconds, ids: opened });
        [start, opened] = [null, []];
      } else {
        start = seconds;
      }
    } else if (id < end) {
      opened.push(id);
    }
  }
  if (opened.length) pieces.push({ start, end: null, ids: opened });
  return pieces;
}

/**
 * @param {number[]} ids - special tokens, which lie behind the vocabulary, are left out
 * @param {string[]} vocabulary - text tokens by id
 * @returns {string} bytes that are no character become U+FFFD
 */
export function textOf(ids, vocabulary) {
  const bytes = ids.filter((id) => id < vocabulary.length)
    .flatMap((id) => Array.from(vocabulary[id], (character) => BYTES.get(character)));
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
