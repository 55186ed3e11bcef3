// Runs LiteRT files in LiteRT.js under Node 20 or newer: their outputs, and their times side by side.
//
//   node --experimental-wasm-relaxed-simd under_node.mjs JOB.json
//
// `scripts/_litert_js.py` writes the job and reads what comes back on standard output as one line of
// JSON. The job:
//   {"package": folder of @litertjs/core, "rounds": timed runs of each file,
//    "in_a_row": how many of them come one after the other, "files": [
//     {"path": FILE, "inputs": [{"path": RAW NUMBERS, "dtype": "float32", "shape": [1, 96, 96, 3]}]}]}
import fs from 'fs';
import path from 'path';
import vm from 'vm';
import {createRequire} from 'module';
import {pathToFileURL} from 'url';

const job = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const wasm = path.join(job.package, 'wasm');

// LiteRT.js expects a web worker, which loads scripts in this way.
globalThis.self = globalThis;
globalThis.require = createRequire(import.meta.url);
globalThis.__filename = path.join(wasm, 'litert_wasm_internal.js');
globalThis.__dirname = wasm;
globalThis.importScripts = url =>
    vm.runInThisContext(fs.readFileSync(url, 'utf8'), {filename: String(url)});

// A file that XNNPACK cannot prepare is run all the same, fast and wrong. Only its messages tell.
const said = [];
for (const level of ['error', 'warn', 'log', 'info'])
  console[level] = (...words) => said.push(words.join(' '));

const {loadLiteRt, loadAndCompile, Tensor} =
    await import(pathToFileURL(path.join(job.package, 'dist', 'index.js')).href);
await loadLiteRt(wasm + '/');

const ARRAYS = {float32: Float32Array, int32: Int32Array, uint8: Uint8Array};

function read({path, dtype, shape}) {
  const raw = fs.readFileSync(path);
  const array = new ARRAYS[dtype](raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
  return {array, shape};
}

async function run(model, inputs) {
  const tensors = inputs.map(({array, shape}) => new Tensor(array, shape));
  const start = performance.now();
  const results = await model.run(tensors);
  const outputs = [];
  for (const result of results) outputs.push(Array.from(await result.data()));
  const time = performance.now() - start;
  for (const tensor of [...tensors, ...results]) tensor.delete();
  return {time, outputs};
}

const found = [];
for (const {path, inputs} of job.files) {
  said.length = 0;
  const entry = {error: '', outputs: [], names: [], times: []};
  found.push(entry);
  try {
    entry.model = await loadAndCompile(new Uint8Array(fs.readFileSync(path)), {accelerator: 'wasm'});
    entry.inputs = inputs.map(read);
    entry.names = entry.model.getOutputDetails().map(each => each.name);
    entry.outputs = (await run(entry.model, entry.inputs)).outputs;
    entry.error = said.filter(line => /^ERROR/.test(line)).join('\n');
  } catch (error) {
    entry.error = [String(error), ...said].join('\n');
  }
}
const sound = found.filter(entry => !entry.error);
for (let round = 0; round < job.rounds; round += job.in_a_row)
  for (const entry of sound) {
    // After another file the caches hold nothing of this one, so one run is not timed.
    if (job.in_a_row > 1) await run(entry.model, entry.inputs);
    for (let i = 0; i < job.in_a_row; i++)
      entry.times.push((await run(entry.model, entry.inputs)).time);
  }

// JSON knows no NaN and no infinite numbers; Python reads these words.
const words = value => Number.isFinite(value) ? value : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
const plain = found.map(({error, outputs, names, times}) => (
    {error, names, times, outputs: outputs.map(each => each.map(words))}));
fs.writeSync(1, JSON.stringify(plain) + '\n');
process.exit(0);
