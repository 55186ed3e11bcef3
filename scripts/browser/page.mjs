// Loads dense.tflite and sparse.tflite beside this page, classifies an image by both in turn, and
// shows what they say and how long they take.
import {loadLiteRt, loadAndCompile, Tensor} from '@litertjs/core';

const ROUNDS = 40;
const FILES = ['dense', 'sparse'];
const element = id => document.getElementById(id);

// A file that XNNPACK cannot prepare is run all the same, fast and wrong. Only its messages tell.
const said = [];
const print = console.error;
console.error = (...words) => { said.push(words.join(' ')); print(...words); };

async function load(name) {
  const bytes = new Uint8Array(await (await fetch(`/files/${name}.tflite`)).arrayBuffer());
  said.length = 0;
  const model = await loadAndCompile(bytes, {accelerator: 'wasm'});
  return {name, model, size: bytes.length};
}

async function run({model}, pixels, shape) {
  const tensor = new Tensor(pixels, shape);
  const start = performance.now();
  const [result] = await model.run([tensor]);
  const logits = Array.from(await result.data());
  const time = performance.now() - start;
  tensor.delete();
  result.delete();
  return {time, logits};
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map(value => Math.exp(value - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map(value => value / total);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function draw(pixels, [, height, width]) {
  const canvas = element('image');
  [canvas.height, canvas.width] = [height, width];
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[3 * i + c];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

async function show(models, example, {shape, classes}) {
  const pixels = Float32Array.from(example.pixels);
  draw(pixels, shape);
  element('label').textContent = classes[example.label];
  const times = models.map(() => []);
  const answers = [];
  for (let round = 0; round < ROUNDS; round++)
    for (let i = 0; i < models.length; i++) {
      const {time, logits} = await run(models[i], pixels, shape);
      if (round > 4) times[i].push(time);
      answers[i] = softmax(logits);
    }
  if (said.some(line => /failed to/.test(line))) throw new Error(said.join('\n'));
  const rows = models.map(({name, size}, i) => {
    const best = answers[i].indexOf(Math.max(...answers[i]));
    return {name, size, says: classes[best], sure: answers[i][best],
            least: Math.min(...times[i]), median: median(times[i])};
  });
  element('rows').replaceChildren(...rows.map(row => {
    const line = document.createElement('tr');
    const cells = [row.name, row.size.toLocaleString('en'), row.says, row.sure.toFixed(3),
                   row.least.toFixed(2), row.median.toFixed(2)];
    cells.forEach((text, i) => {
      const cell = line.insertCell();
      cell.textContent = text;
      if (i === 1 || i > 2) cell.className = 'number';
    });
    return line;
  }));
  const faster = rows[0].median / rows[1].median, smaller = rows[0].size / rows[1].size;
  element('summary').textContent =
      `The sparse file is ${smaller.toFixed(1)} times smaller and ${faster.toFixed(2)} times as fast.`;
  // What a test reads.
  document.body.dataset.rows = JSON.stringify(rows);
}

try {
  await loadLiteRt('/litert/core/wasm/');
  const examples = await (await fetch('/files/examples.json')).json();
  const models = [];
  for (const name of FILES) models.push(await load(name));
  const choice = element('choice');
  examples.images.forEach((_, i) => choice.add(new Option(String(i + 1), String(i))));
  choice.onchange = () => show(models, examples.images[choice.value], examples);
  await show(models, examples.images[0], examples);
} catch (error) {
  element('error').textContent = String(error);
  element('summary').textContent = '';
}
