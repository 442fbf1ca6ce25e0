// Which token may come next: the rules of shared/engines/torch_decoding.py (`Rules`).

const MAX_FIRST_STAMP = 50; // 1 s: speech is taken to begin within it, as in Whisper's reference decoder

/**
 * Set what is forbidden to -Infinity, in place.
 * @param {Float32Array} logits - of the next token
 * @param {number[]} ids - decoded so far
 * @param {object} model - model.json
 * @param {boolean} stamps - whether times are written: in pairs, never going back, and where they are likelier together
 *   than any one word
 */
export function forbid(logits, ids, model, stamps) {
  const { never, never_first: neverFirst, first_stamp: first, last_stamp: last } = model;
  for (const id of never) if (!stamps || id < first || id > last) logits[id] = -Infinity;
  if (ids.length === 0) for (const id of neverFirst) logits[id] = -Infinity;
  if (stamps) forbidByTime(logits, ids, model);
}

function forbidByTime(logits, ids, { first_stamp: first, end }) {
  const isStamp = (id) => id >= first;
  if (ids.length === 0) {
    logits.fill(-Infinity, 0, first);
    logits.fill(-Infinity, first + MAX_FIRST_STAMP + 1);
  } else if (isStamp(ids.at(-1))) {
    if (ids.length < 2 || isStamp(ids.at(-2))) logits.fill(-Infinity, first); // after a pair, or the opening one: words
    else logits.fill(-Infinity, 0, end); // after a closing one: the next opening one, or the end
  }
  const latest = ids.filter(isStamp).reduce((most, id) => Math.max(most, id), -1);
  if (latest >= 0) { // a pair may share its time at a seam, a piece may not be empty
    const closed = isStamp(ids.at(-1)) && ids.length > 1 && !isStamp(ids.at(-2));
    logits.fill(-Infinity, first, latest + (closed ? 0 : 1));
  }
  const word = highest(logits, 0, first), stamp = highest(logits, first, logits.length);
  let sum = 0;
  for (let i = first; i < logits.length && stamp > -Infinity; i++) sum += Math.exp(logits[i] - stamp);
  if (stamp + Math.log(sum) > word) logits.fill(-Infinity, 0, first);
}

function highest(values, from, to) {
  let most = -Infinity;
  for (let i = from; i < to; i++) if (values[i] > most) most = values[i];
  return most;
}
