import { test } from "uvu";
import * as assert from "uvu/assert";
import { bar } from "../build/esm/bar.js";
import { progress } from "../build/esm/progress.js";

const ANSI = /\x1b\[\d*[mK]/g;

/** What `fit` takes. */
const reporter = (options) => ((options.verbose ?? 1) === 1 && options.stream.isTTY ? bar : progress)(options);

/** A reporter on a terminal of 100 columns that keeps what it gets, and a clock that the test moves. */
function setup(options = {}, stream = {}) {
  const clock = { time: 5000 };
  const writes = [];
  const report = reporter({
    stream: { write: (text) => writes.push(text), isTTY: true, columns: 100, ...stream },
    epochs: 10,
    steps: 1875,
    now: () => clock.time,
    ...options,
  });
  return { report, clock, writes };
}

/** What a terminal shows: a carriage return starts the line again, and every redraw clears the rest of it. */
function screen(writes) {
  return writes
    .join("")
    .split("\n")
    .map((line) => line.slice(line.lastIndexOf("\r") + 1).replace(ANSI, ""));
}

/** Takes steps `from` to `to`, `ms` each. */
function steps({ report, clock }, from, to, ms, metrics = { loss: 0.5 }) {
  for (let done = from; done <= to; done++) {
    clock.time += ms;
    report.step(done, metrics);
  }
}

test("a terminal shows a bar, the time left, and at the end the time taken", () => {
  const run = setup();
  run.report.beginEpoch(2);
  steps(run, 1, 476, 4, { loss: 0.0883, accuracy: 0.97312 });
  assert.equal(screen(run.writes), ["Epoch 3/10", " 476/1875 ━━━━━━━━━━━━━━━━━━━━ 6s 4ms/step - accuracy: 0.9731 - loss: 0.0883"]);
  const last = run.writes.at(-1);
  assert.ok(last.startsWith("\r"));
  assert.ok(last.endsWith("\x1b[K"));
  assert.match(last, "\x1b[32m━━━━━\x1b[90m━━━━━━━━━━━━━━━\x1b[0m");
  steps(run, 477, 1875, 4);
  run.report.endEpoch({ loss: 0.05, accuracy: 0.98, val_loss: 0.04 });
  assert.equal(screen(run.writes), [
    "Epoch 3/10",
    "1875/1875 ━━━━━━━━━━━━━━━━━━━━ 8s 4ms/step - accuracy: 0.9800 - loss: 0.0500 - val_loss: 0.0400",
    "",
  ]);
});

test("metrics stand in order of name, those of validation last", () => {
  const run = setup({ verbose: 2 });
  run.report.beginEpoch(0);
  steps(run, 1, 3, 1);
  run.report.endEpoch({ val_loss: 1, zeal: 2, val_accuracy: 3, loss: 4, accuracy: 5 });
  assert.equal(
    run.writes.join(""),
    "Epoch 1/10 - 0s - 1ms/step - accuracy: 5.0000 - loss: 4.0000 - zeal: 2.0000 - val_accuracy: 3.0000 - val_loss: 1.0000\n",
  );
});

test("redraws come at most ten times a second, and `due` says when", () => {
  const run = setup();
  run.report.beginEpoch(0);
  let drawn = 0;
  for (let done = 1; done <= 1000; done++) {
    run.clock.time += 1;
    const due = run.report.due();
    const before = run.writes.length;
    run.report.step(done, { loss: 1 });
    assert.is(run.writes.length > before, due);
    drawn += Number(due);
  }
  assert.ok(drawn >= 9 && drawn <= 11, `${drawn} redraws in a second`);
});

test("elsewhere one plain line per epoch", () => {
  for (const [options, stream] of [[{}, { isTTY: false }], [{}, { isTTY: undefined, columns: undefined }], [{ verbose: 2 }, {}]]) {
    const run = setup(options, stream);
    for (const epoch of [0, 1]) {
      run.report.beginEpoch(epoch);
      steps(run, 1, 1875, 4);
      assert.not(run.report.due());
      run.report.endEpoch({ loss: 0.25, val_loss: 0.5 });
    }
    run.report.stop();
    assert.equal(run.writes, [
      "Epoch 1/10 - 8s - 4ms/step - loss: 0.2500 - val_loss: 0.5000\n",
      "Epoch 2/10 - 8s - 4ms/step - loss: 0.2500 - val_loss: 0.5000\n",
    ]);
  }
});

test("verbose 0 writes nothing", () => {
  const run = setup({ verbose: 0 });
  run.report.beginEpoch(0);
  steps(run, 1, 100, 50);
  assert.not(run.report.due());
  run.report.endEpoch({ loss: 1 });
  run.report.stop();
  assert.equal(run.writes, []);
});

test("no line that is drawn over is as wide as the terminal, and nothing of an old one stays", () => {
  const metrics = { accuracy: 0.5, loss: 1.5, precision: 0.25, val_accuracy: 0.5, val_loss: 1.25 };
  for (let columns = 1; columns <= 160; columns++) {
    const run = setup({}, { columns });
    run.report.beginEpoch(0);
    steps(run, 1, 40, 60, metrics);
    const live = run.writes.slice(1);
    run.report.endEpoch(metrics);
    assert.ok(run.writes.at(-2).includes("val_loss: 1.2500\x1b[K"));
    for (const text of live) {
      assert.ok(text.replace(ANSI, "").replace(/[\r\n]/g, "").length < Math.max(columns, 2), `${columns}: ${text}`);
      assert.ok(text === "\n" || text.endsWith("\x1b[K"));
    }
  }
});

test("what a narrow terminal loses: bar, timing, later metrics; at the end of an epoch the bar alone", () => {
  const lines = (columns) => {
    const run = setup({ steps: 10 }, { columns });
    run.report.beginEpoch(0);
    steps(run, 1, 10, 500, { accuracy: 0.5, loss: 1.5 });
    const live = screen(run.writes)[1];
    run.report.endEpoch({ accuracy: 0.5, loss: 1.5 });
    return [live, screen(run.writes)[1]];
  };
  const metrics = "accuracy: 0.5000 - loss: 1.5000";
  assert.equal(lines(80), [
    `10/10 ━━━━━━━━━━━━━━━━━━━━ 0s 500ms/step - ${metrics}`,
    `10/10 ━━━━━━━━━━━━━━━━━━━━ 5s 500ms/step - ${metrics}`,
  ]);
  assert.equal(lines(62), [`10/10 ━━━━━━━ 0s 500ms/step - ${metrics}`, `10/10 ━━━━━━━ 5s 500ms/step - ${metrics}`]);
  assert.equal(lines(56), [`10/10 0s 500ms/step - ${metrics}`, `10/10 5s 500ms/step - ${metrics}`]);
  assert.equal(lines(50), [`10/10 - ${metrics}`, `10/10 5s 500ms/step - ${metrics}`]);
  assert.equal(lines(30), ["10/10 - accuracy: 0.5000", `10/10 5s 500ms/step - ${metrics}`]);
  assert.equal(lines(12), ["10/10", `10/10 5s 500ms/step - ${metrics}`]);
});

test("the bar follows a resized terminal and shows half cells", () => {
  const stream = { columns: 80 };
  const writes = [];
  const clock = { time: 0 };
  stream.isTTY = true;
  stream.write = (text) => writes.push(text);
  const report = reporter({ stream, epochs: 1, steps: 8, now: () => clock.time });
  report.beginEpoch(0);
  steps({ report, clock }, 1, 1, 1000);
  assert.is(screen(writes)[1], "1/8 ━━╸━━━━━━━━━━━━━━━━━ 7s 1s/step - loss: 0.5000");
  stream.columns = 40;
  steps({ report, clock }, 2, 2, 1000);
  assert.is(screen(writes)[1], "2/8 ━━╸━━━━━━ 6s 1s/step - loss: 0.5000");
  assert.is(screen(writes)[1].length, 39);
});

test("steps nobody knows beforehand", () => {
  const run = setup({ steps: null });
  run.report.beginEpoch(0);
  steps(run, 1, 3, 1000);
  assert.is(screen(run.writes)[1], "3/? 3s 1s/step - loss: 0.5000");
  run.report.endEpoch({ loss: 0.5 });
  assert.is(screen(run.writes)[1], "3/3 ━━━━━━━━━━━━━━━━━━━━ 3s 1s/step - loss: 0.5000");
});

test("the first step, which compiles, does not count as a step's time", () => {
  const run = setup({ steps: 11 });
  run.report.beginEpoch(0);
  steps(run, 1, 1, 2000);
  assert.match(screen(run.writes)[1], "20s 2s/step");
  steps(run, 2, 11, 10);
  run.report.endEpoch({ loss: 1 });
  assert.match(screen(run.writes)[1], " 2s 10ms/step");
});

test("numbers and times", () => {
  const shown = (value) => {
    const run = setup({ verbose: 2 });
    run.report.beginEpoch(0);
    run.report.endEpoch({ loss: value });
    return run.writes[0].split("loss: ")[1].trim();
  };
  const cases = [
    [0.97314, "0.9731"],
    [12.5, "12.5000"],
    [-0.25, "-0.2500"],
    [0.0011, "0.0011"],
    [0.001, "1.0000e-03"],
    [0.00012345, "1.2345e-04"],
    [-3e-12, "-3.0000e-12"],
    [1e-100, "1.0000e-100"],
    [0, "0.0000e+00"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
  ];
  for (const [value, text] of cases) assert.is(shown(value), text);

  const timing = (count, ms) => {
    const run = setup({ verbose: 2 });
    run.report.beginEpoch(0);
    steps(run, 1, count, ms);
    run.report.endEpoch({});
    return run.writes[0].trim();
  };
  assert.is(timing(1000, 0.25), "Epoch 1/10 - 0s - 250us/step");
  assert.is(timing(65, 1000), "Epoch 1/10 - 1:05 - 1s/step");
  assert.is(timing(7384, 1000), "Epoch 1/10 - 2:03:04 - 1s/step");
  assert.is(timing(0, 1), "Epoch 1/10 - 0s - 0ms/step");
});

test("stop leaves an unfinished line once", () => {
  const run = setup();
  run.report.stop();
  assert.equal(run.writes, []);
  run.report.beginEpoch(0);
  steps(run, 1, 5, 200);
  run.report.stop();
  run.report.stop();
  assert.is(run.writes.filter((text) => text === "\n").length, 1);
  assert.is(run.writes.at(-1), "\n");
});

test("no colors where NO_COLOR is set, and still what is done and what is to come", () => {
  const { NO_COLOR } = process.env;
  process.env.NO_COLOR = "1";
  try {
    const { report, clock, writes } = setup();
    report.beginEpoch(0);
    clock.time += 1000;
    report.step(469, { loss: 0.5 });
    assert.not.match(writes.join(""), /\x1b\[\d+m/);
    assert.match(writes.at(-1), / 469\/1875 ━━━━━─{15} /);
  } finally {
    if (NO_COLOR === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = NO_COLOR;
  }
});

test.run();
