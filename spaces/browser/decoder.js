// Whisper's decoder, one token after the other, from decoder.safetensors: `Decoder` of training/onnx_network.py.
//
// A step of one token multiplies each weight once. onnxruntime-web lays the weights out anew for every such product (its
// 8-bit products in WASM have no packed form), which costs more than the product; the two loops of kernel.wat read them as
// they lie. Weights have 8 bits, what they are multiplied with 13 to 16, sums 32; all else is float32.

const EPSILON = 1e-5;
const SUM = 2 ** 31 - 1, WEIGHT = 127; // the largest sum, the largest weight
const BLOCK = 16; // columns that `vecmat` takes at a time
const POSITIONS = 1500; // of the encoder, at most
const PAGE = 65536;

const whole = (n, block) => Math.ceil(n / block) * block;

export class Decoder {
  /**
   * @param {BufferSource} kernel - kernel.wasm
   * @param {ArrayBuffer} content - decoder.safetensors
   * @param {object} model - model.json
   */
  static async open(kernel, content, model) {
    const decoder = new Decoder(content, model);
    const { instance } = await WebAssembly.instantiate(kernel, { env: { memory: decoder.memory } });
    decoder.kernel = instance.exports;
    return decoder;
  }

  constructor(content, { layers, heads, head_size: size, decoder_positions: room }) {
    Object.assign(this, { heads, size, room, width: heads * size, length: 0, positions: 0, stride: 0 });
    const tensors = tensorsOf(content), inner = tensors["layers.0.up.weight"].shape[0];
    let end = 0;
    const places = {};
    const place = (name, bytes) => {
      places[name] = end;
      end = whole(end + bytes, BLOCK);
    };
    for (const [name, { bytes }] of Object.entries(tensors)) place(name, bytes.length);
    this.vocabulary = "vocabulary" in tensors ? "vocabulary" : "table"; // one table for both ends, unless they are parted
    const floats = {
      keys: layers * this.width * room, values: layers * this.width * room,
      crossKeys: layers * this.width * whole(POSITIONS, BLOCK), crossValues: layers * this.width * POSITIONS,
      x: this.width, normed: this.width, qkv: 3 * this.width, attended: this.width, inner, scores: whole(POSITIONS, BLOCK),
      logits: tensors[this.vocabulary].shape[0],
    };
    for (const [name, n] of Object.entries(floats)) place(`/${name}`, 4 * n);
    place("/input", 2 * Math.max(inner, this.width));
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(end / PAGE) });
    const { buffer } = this.memory;
    for (const [name, { bytes }] of Object.entries(tensors)) new Uint8Array(buffer).set(bytes, places[name]);
    this.at = Object.fromEntries([...Object.keys(floats), "input"].map((name) => [name, places[`/${name}`]]));
    for (const [name, n] of Object.entries(floats)) this[name] = new Float32Array(buffer, this.at[name], n);
    this.input = new Int16Array(buffer, this.at.input, Math.max(inner, this.width));

    const values = (name) => new Float32Array(buffer, places[name], tensors[name].bytes.length / 4);
    const norm = (name) => ({ weight: values(`${name}.weight`), bias: values(`${name}.bias`) });
    const dense = (name, bias) => {
      const [rows, cols] = tensors[name].shape;
      const most = Math.min(32767, Math.floor(SUM / (WEIGHT * cols)));
      return { rows, cols, weight: places[name], scales: places[`${name}.scales`], bias, most };
    };
    this.layers = Array.from({ length: layers }, (_, i) => ({
      ...Object.fromEntries(["norm", "cross_norm", "ffn_norm"].map((name) => [name, norm(`layers.${i}.${name}`)])),
      ...Object.fromEntries(["qkv", "out", "cross_q", "cross_out", "up", "down"].map(
        (name) => [name, dense(`layers.${i}.${name}.weight`, values(`layers.${i}.${name}.bias`))])),
    }));
    this.norm = norm("norm");
    this.product = dense(this.vocabulary, null);
    this.table = new Int8Array(buffer, places.table, tensors.table.bytes.length);
    this.tableScales = values("table.scales");
    this.positionTable = values("positions");
  }

  /** Begin with what the encoder gave: keys (layers, heads, size, positions) and values (layers, heads, positions, size). */
  begin(keys, values) {
    const rows = this.layers.length * this.width;
    this.positions = keys.length / rows;
    this.stride = whole(this.positions, BLOCK);
    for (let row = 0; row < rows; row++) {
      this.crossKeys.set(keys.subarray(row * this.positions, (row + 1) * this.positions), row * this.stride);
    }
    this.crossValues.set(values);
    this.length = 0;
  }

  /**
   * @param {number[]} ids - the next tokens
   * @returns {Float32Array} the logits behind the last of them; good until the next step
   */
  step(ids) {
    for (const id of ids) this.token(id);
    this.normalise(this.x, this.norm);
    this.logits.fill(0);
    this.multiply(this.product, this.normed, this.at.logits);
    return this.logits;
  }

  token(id) {
    const { x, width, room, length: at } = this;
    for (let i = 0; i < width; i++) x[i] = this.table[id * width + i] * this.tableScales[id] + this.positionTable[at * width + i];
    this.layers.forEach((layer, i) => {
      const own = i * width * room * 4, of = i * width * 4;
      this.normalise(x, layer.norm);
      this.set(layer.qkv, this.normed, "qkv");
      this.keep(i);
      this.attend(this.at.keys + own, 4 * room, this.at.values + own, room, at + 1);
      this.add(layer.out, this.attended);
      this.normalise(x, layer.cross_norm);
      this.set(layer.cross_q, this.normed, "qkv");
      this.attend(this.at.crossKeys + of * this.stride, 4 * this.stride, this.at.crossValues + of * this.positions,
        this.positions, this.positions);
      this.add(layer.cross_out, this.attended);
      this.normalise(x, layer.ffn_norm);
      this.set(layer.up, this.normed, "inner");
      gelu(this.inner);
      this.add(layer.down, this.inner);
    });
    this.length++;
  }

  // The token's keys and values behind those before: (size, room) and (room, size) of each head.
  keep(layer) {
    const { width, size, room, length: at, qkv } = this;
    for (let i = 0; i < width; i++) {
      const head = layer * this.heads + Math.floor(i / size);
      this.keys[(layer * width + i) * room + at] = qkv[width + i];
      this.values[(head * room + at) * size + (i % size)] = qkv[2 * width + i];
    }
  }

  // Queries are the first of `qkv`; the result is in `attended`. n: positions that count, of `all` of each head's values.
  attend(keys, stride, values, all, n) {
    const { qkv, size, scores, at, kernel } = this, by = size ** -0.5;
    for (let i = 0; i < this.width; i++) qkv[i] *= by;
    for (let head = 0; head < this.heads; head++) {
      const of = 4 * head * size;
      kernel.vecmat(keys + head * size * stride, at.qkv + of, at.scores, size, whole(n, BLOCK), stride);
      softmax(scores, n);
      kernel.vecmat(values + of * all, at.scores, at.attended + of, n, size, 4 * size);
    }
  }

  normalise(x, { weight, bias }) {
    const n = this.width;
    let mean = 0, square = 0;
    for (let i = 0; i < n; i++) mean += x[i] / n;
    for (let i = 0; i < n; i++) square += (x[i] - mean) ** 2 / n;
    const by = 1 / Math.sqrt(square + EPSILON);
    for (let i = 0; i < n; i++) this.normed[i] = (x[i] - mean) * by * weight[i] + bias[i];
  }

  set(layer, input, name) {
    this[name].set(layer.bias);
    this.multiply(layer, input, this.at[name]);
  }

  add(layer, input) {
    for (let i = 0; i < this.width; i++) this.x[i] += layer.bias[i];
    this.multiply(layer, input, this.at.x);
  }

  // Adds the product to what lies at `output`. The input in as many bits as leave every sum within 32.
  multiply({ weight, scales, rows, cols, most }, input, output) {
    let loudest = 0;
    for (let i = 0; i < cols; i++) loudest = Math.max(loudest, Math.abs(input[i]));
    const by = loudest / most || 1;
    for (let i = 0; i < cols; i++) this.input[i] = Math.round(input[i] / by);
    this.kernel.matvec(weight, scales, this.at.input, output, rows, cols, by);
  }
}

function softmax(values, n) {
  let most = -Infinity, sum = 0;
  for (let i = 0; i < n; i++) most = Math.max(most, values[i]);
  for (let i = 0; i < n; i++) sum += values[i] = Math.exp(values[i] - most);
  for (let i = 0; i < n; i++) values[i] /= sum;
}

// x times the share of the normal distribution below x. Abramowitz and Stegun 7.1.26: off by at most 1.5e-7.
function gelu(values) {
  for (let i = 0; i < values.length; i++) {
    const x = values[i], z = Math.abs(x) * Math.SQRT1_2, t = 1 / (1 + 0.3275911 * z);
    const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
      * Math.exp(-z * z);
    values[i] = x * (x > 0 ? 1 - tail / 2 : tail / 2);
  }
}

// https://huggingface.co/docs/safetensors: the length of a JSON text, that text, the tensors.
function tensorsOf(content) {
  const length = Number(new DataView(content).getBigUint64(0, true));
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 8, length)));
  delete about.__metadata__;
  return Object.fromEntries(Object.entries(about).map(([name, { shape, data_offsets: [from, to] }]) => [
    name, { shape, bytes: new Uint8Array(content, 8 + length + from, to - from) }]));
}
