// A picture that tells where it was clicked, dragged over or asked by key. Rows are counted from below, as y points up.
const STEP = 1, LEAP = 10, MOVED_PX = 4;
const HELP = 'Arrow keys move a cross, with Shift by ten pixels; Enter is a click. ';

function render({ model, el }) {
  const box = document.createElement('div');
  box.className = 'cryoseg-picture';
  box.tabIndex = 0;
  box.setAttribute('role', 'application');
  const image = document.createElement('img');
  image.draggable = false;
  const cross = document.createElement('div');
  cross.className = 'cryoseg-cross';
  cross.hidden = true;
  const frame = document.createElement('div');
  frame.className = 'cryoseg-frame';
  frame.hidden = true;
  box.append(image, cross, frame);
  el.append(box);

  const style = document.createElement('style');
  style.textContent = `.cryoseg-picture { position: relative; display: inline-block; cursor: crosshair; touch-action: none;
      line-height: 0; max-width: 100%; }
    .cryoseg-picture:focus-visible { outline: 3px solid #0b5fff; outline-offset: 2px; }
    .cryoseg-picture img { max-width: 100%; image-rendering: pixelated; user-select: none; }
    .cryoseg-cross { position: absolute; width: 21px; height: 21px; margin: -10px 0 0 -10px; pointer-events: none;
      background: linear-gradient(#fff, #fff) 10px 0/1px 100% no-repeat, linear-gradient(#fff, #fff) 0 10px/100% 1px no-repeat;
      mix-blend-mode: difference; }
    .cryoseg-frame { position: absolute; border: 2px dashed #fff; outline: 1px solid #000; pointer-events: none; }`;
  el.append(style);

  const cursor = { x: 0, y: 0 };
  let url = null, start = null, count = 0;

  const size = () => model.get('pixels');                       // rows, columns
  const clamp = (v, n) => Math.max(0, Math.min(n - 1, v));

  function draw() {
    const old = url;
    url = URL.createObjectURL(new Blob([model.get('png')], { type: 'image/png' }));
    image.src = url;
    if (old) URL.revokeObjectURL(old);                          // also where it was replaced before it was shown
  }
  function describe() {
    image.alt = model.get('alt');
    box.setAttribute('aria-label', `${model.get('alt')}. ${HELP}${model.get('hint')}`);
  }
  function place(event) {                                       // x, y of a pixel, whole numbers are pixel centres
    const r = image.getBoundingClientRect(), [rows, columns] = size();
    const x = (event.clientX - r.left) / r.width * columns - .5, y = (r.bottom - event.clientY) / r.height * rows - .5;
    return { x: clamp(x, columns), y: clamp(y, rows) };
  }
  function tell(kind, more) {
    model.set('event', { kind, n: ++count, ...more });
    model.save_changes();
  }
  function showCross() {
    const [rows, columns] = size();
    cross.hidden = false;
    cross.style.left = `${(cursor.x + .5) / columns * image.clientWidth}px`;
    cross.style.top = `${(rows - .5 - cursor.y) / rows * image.clientHeight}px`;
  }
  function showFrame(a, b) {
    const r = image.getBoundingClientRect();
    frame.hidden = false;
    Object.assign(frame.style, {
      left: `${Math.min(a.clientX, b.clientX) - r.left}px`, width: `${Math.abs(a.clientX - b.clientX)}px`,
      top: `${Math.min(a.clientY, b.clientY) - r.top}px`, height: `${Math.abs(a.clientY - b.clientY)}px`,
    });
  }
  const far = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) > MOVED_PX;

  box.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    box.focus();
    box.setPointerCapture(event.pointerId);
    start = event;
  });
  box.addEventListener('pointermove', (event) => { if (start && far(start, event)) showFrame(start, event); });
  box.addEventListener('pointerup', (event) => {
    if (!start) return;
    const from = place(start), to = place(event);
    frame.hidden = true;
    if (far(start, event)) tell('drag', { x: from.x, y: from.y, x2: to.x, y2: to.y });
    else tell('click', from);
    Object.assign(cursor, to);
    start = null;
  });
  box.addEventListener('pointercancel', () => { start = null; frame.hidden = true; });
  box.addEventListener('keydown', (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const [rows, columns] = size();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) {
      const step = event.shiftKey ? LEAP : STEP;
      cursor.x = clamp(cursor.x + way[0] * step, columns);
      cursor.y = clamp(cursor.y + way[1] * step, rows);
      showCross();
    } else if (event.key === 'Enter') tell('click', { ...cursor });
    else if (model.get('heeded').includes(event.key)) tell('key', { key: event.key, ...cursor });
    else return;
    event.preventDefault();
    event.stopPropagation();                                    // or JupyterLab would take the key for a command
  });
  box.addEventListener('focusout', () => { cross.hidden = true; });

  model.on('change:png', draw);
  model.on('change:alt change:hint', describe);
  draw();
  describe();
  return () => { if (url) URL.revokeObjectURL(url); };
}

export default { render };
