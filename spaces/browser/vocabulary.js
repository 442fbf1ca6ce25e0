// Token ids to text: byte-level BPE, where each character of a token stands for one byte.

const BYTES = bytesOf();

function bytesOf() {
  const plain = (code) => (code >= 33 && code <= 126) || (code >= 161 && code <= 172) || (code >= 174 && code <= 255);
  const found = new Map();
  let free = 256;
  for (let byte = 0; byte < 256; byte++) found.set(String.fromCodePoint(plain(byte) ? byte : free++), byte);
  return found;
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
