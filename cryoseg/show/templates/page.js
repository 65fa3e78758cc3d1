'use strict';
// Tables: a click on the name of a column sorts by it, a second one the other way round.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.querySelectorAll('th')], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    const key = row => row.cells[column] ? row.cells[column].dataset.value ?? '' : '';
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      if (x === '' || y === '') return (x === '') - (y === '');
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    [...body.rows].sort(compare).forEach(row => body.append(row));
  }));
}

// Slices: one at a time, chosen by a slider. Without this script all of them are shown.
for (const stack of document.querySelectorAll('.stack')) {
  const slices = [...stack.querySelectorAll('figure')], slider = stack.querySelector('.steer input');
  if (!slider) continue;
  const told = stack.querySelector('output');
  const show = () => {
    slices.forEach((slice, number) => slice.hidden = number !== Number(slider.value));
    told.textContent = slices[slider.value].querySelector('figcaption').textContent;
    slider.setAttribute('aria-valuetext', told.textContent);
  };
  slider.addEventListener('input', show);
  stack.classList.add('live');
  show();
}
const overlay = document.getElementById('overlay');
if (overlay) overlay.addEventListener('input', () =>
  document.documentElement.style.setProperty('--overlay', overlay.value));

// The scene sleeps as text, its tags hidden, until the button wakes it in a frame of its own.
const wake = document.getElementById('wake');
if (wake) wake.addEventListener('click', () => {
  const text = document.getElementById('asleep').textContent;
  const page = text.replaceAll('<~/script', '<' + '/script').replaceAll('<~!--', '<' + '!--');
  const frame = document.createElement('iframe');
  frame.title = 'surfaces in 3-D; arrow keys turn them, + and − zoom';
  frame.sandbox = 'allow-scripts';
  frame.srcdoc = page;
  document.getElementById('stage').append(frame);
  const choices = [...document.querySelectorAll('.controls input')];
  const tell = () => {
    const show = {};
    for (const choice of choices) show[choice.dataset.by ?? choice.dataset.show] = choice.checked;
    frame.contentWindow.postMessage(show, '*');
  };
  choices.forEach(choice => choice.addEventListener('change', tell));
  wake.hidden = true;
  wake.nextElementSibling.hidden = false;
  choices[0].focus();
});

addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(part => part.open = true));
