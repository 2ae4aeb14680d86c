'use strict';
const at = id => document.getElementById(id);
const sliders = [...document.querySelectorAll('.scale')];
const { maxBytes, examples } = document.body.dataset;
let picture = null, example = 0, running = false, waiting = false;

const say = (status, error = '') => {
  at('status').textContent = status;
  at('error').textContent = error;
  at('error').hidden = !error;
};

const tooLarge = () => `The file is too large: at most ${maxBytes / 1e6} MB.`;

// One request at a time: what changes meanwhile is asked for when the answer is there.
async function predict() {
  if (!picture) return;
  if (running) { waiting = true; return; }
  running = true;
  do {
    waiting = false;
    say('Predicting …');
    at('tried').classList.add('stale');
    let error = '';
    try {
      const asked = new URLSearchParams(sliders.map(slider => ['scale', slider.value]));
      const headers = { 'Content-Type': 'application/octet-stream' };
      const answer = await fetch(`/predict?${asked}`, { method: 'POST', headers, body: picture });
      const text = await answer.text();
      if (answer.ok) at('tried').innerHTML = text;
      else error = answer.status === 413 ? tooLarge() : text;
    } catch {
      error = 'There was no answer: does the file still exist, and the program in the terminal still run?';
    }
    say('', error);
    at('tried').classList.toggle('stale', Boolean(error));
  } while (waiting);
  running = false;
}

function choose(file, name) {
  if (file.size > maxBytes) { say('', tooLarge()); return; }
  picture = file;
  at('name').textContent = name;
  predict();
}

async function draw() {
  try {
    const answer = await fetch(`/example/${example++ % examples}`);
    choose(await answer.blob(), 'A drawn street');
  } catch {
    say('', 'There was no answer: does the program in the terminal still run?');
  }
}

function label(slider) {
  const value = Number(slider.value);
  slider.nextElementSibling.textContent = value ? `× ${value.toFixed(2)}` : 'off';
}

for (const slider of sliders) slider.addEventListener('input', () => { label(slider); predict(); });
for (const button of document.querySelectorAll('[data-scale]')) {
  button.addEventListener('click', () => {
    for (const slider of sliders) { slider.value = button.dataset.scale; label(slider); }
    predict();
  });
}
at('example').addEventListener('click', draw);
at('file').addEventListener('change', event => {
  const [file] = event.target.files;
  if (file) choose(file, file.name);
  event.target.value = '';  // the same file can be chosen again
});
// A picture that misses the field must not replace the page.
for (const kind of ['dragover', 'drop']) addEventListener(kind, event => event.preventDefault());
addEventListener('dragover', () => at('drop').classList.add('over'));
addEventListener('dragleave', () => at('drop').classList.remove('over'));
addEventListener('drop', event => {
  at('drop').classList.remove('over');
  const [file] = event.dataTransfer.files;
  if (file) choose(file, file.name);
});
draw();
