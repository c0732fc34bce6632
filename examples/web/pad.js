/**
 * @file The drawing pad. Strokes are kept as lists of points, so that what the network gets can be drawn afresh, at its own
 * size, thickness and place, however large and wherever somebody draws.
 */
const SIDE = 28;
/** Height of a digit and thickness of its line in what the network was trained on, in pixels of 28. */
const DIGIT = 18;
const THICKNESS = 2.3;

/**
 * @param {HTMLCanvasElement} canvas where one draws
 * @param {HTMLCanvasElement} seen 28x28, shows what the network gets
 * @param {(pixels: Float32Array | null, settled: boolean) => void} changed 784 numbers from 0 to 1, null when the pad is
 *   empty; `settled` when the pen was lifted
 */
export function drawingPad(canvas, seen, changed) {
  const context = canvas.getContext("2d");
  const small = seen.getContext("2d", { willReadFrequently: true });
  let strokes = [];
  let picture = null;
  let pen = null;
  let asked = false;

  const ink = (target, points, place, thickness) => {
    target.strokeStyle = "#fff";
    target.lineCap = target.lineJoin = "round";
    target.lineWidth = thickness;
    target.beginPath();
    points.forEach((point, i) => {
      const [x, y] = place(point);
      if (i === 0) target.moveTo(x, y);
      target.lineTo(x, y);
    });
    target.stroke();
  };

  /** Everything, in the pixels of this screen. */
  const redraw = () => {
    const size = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== size) canvas.width = canvas.height = size;
    context.clearRect(0, 0, size, size);
    if (picture !== null) context.drawImage(seen, 0, 0, size, size);
    for (const points of strokes) ink(context, points, ([x, y]) => [x * size, y * size], size * 0.07);
  };

  /** The strokes' box, moved to the middle and scaled to the size of a digit. */
  const shrink = () => {
    const points = strokes.flat();
    const [left, right] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
    const [top, bottom] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
    const scale = DIGIT / Math.max(right - left, bottom - top, 0.2);
    const place = ([x, y]) => [SIDE / 2 + scale * (x - (left + right) / 2), SIDE / 2 + scale * (y - (top + bottom) / 2)];
    small.fillStyle = "#000";
    small.fillRect(0, 0, SIDE, SIDE);
    for (const stroke of strokes) ink(small, stroke, place, THICKNESS);
    const { data } = small.getImageData(0, 0, SIDE, SIDE);
    return Float32Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i] / 255);
  };

  /** At most once a frame: pens report more often than that. */
  const tell = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      redraw();
      if (strokes.length > 0) changed(shrink(), pen === null);
    });
  };

  const pointOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pen !== null) return;
    canvas.setPointerCapture(event.pointerId);
    pen = event.pointerId;
    picture = null;
    strokes.push([pointOf(event)]);
    tell();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pen) return;
    const events = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1).push(...(events.length > 0 ? events : [event]).map(pointOf));
    tell();
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => {
      if (event.pointerId !== pen) return;
      pen = null;
      tell();
    });
  }
  new ResizeObserver(redraw).observe(canvas);

  return {
    clear() {
      strokes = [];
      picture = null;
      small.clearRect(0, 0, SIDE, SIDE);
      redraw();
      changed(null, true);
    },
    /** Shows a picture of 28x28 in place of strokes. */
    show(pixels) {
      strokes = [];
      picture = pixels;
      paintDigit(seen, pixels);
      redraw();
      changed(pixels, true);
    },
  };
}

/** Paints 784 numbers from 0 to 1 as white on black. */
export function paintDigit(canvas, pixels) {
  const image = new ImageData(SIDE, SIDE);
  pixels.forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
