/** @file The two live plots, drawn by uPlot: it redraws a thousand points in about a millisecond. */
import uPlot from "uplot";

/** Points kept; beyond, every second one of the older half goes. */
const MOST_POINTS = 1200;
const FONT = "12px system-ui, sans-serif";

/** A plot of two series over steps, in colours of the style sheet. */
function plot(element, { series, range, format }) {
  const rows = [[], [], []];
  let chart = null;

  const draw = () => {
    const style = getComputedStyle(element);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const line = ({ name, points }) => ({
      label: name,
      stroke: colour(`--${name}`),
      width: 2,
      spanGaps: true,
      points: { show: points, size: 5, fill: colour(`--${name}`) },
    });
    chart?.destroy();
    chart = new uPlot(
      {
        width: element.clientWidth,
        height: element.clientHeight,
        cursor: { show: false },
        legend: { show: false },
        scales: { x: { time: false, range: (_, low, high) => [0, Math.max(high ?? 0, 100)] }, y: { range } },
        axes: [
          { ...axis, size: 28, space: 70, values: (_, ticks) => ticks.map((t) => t.toLocaleString("en")) },
          { ...axis, size: 46, space: 36, values: (_, ticks) => ticks.map(format) },
        ],
        series: [{}, ...series.map(line)],
      },
      rows,
      element,
    );
  };

  draw();
  new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: element.clientHeight })).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    add(step, first, second) {
      [step, first, second].forEach((value, i) => rows[i].push(value));
      if (rows[0].length > MOST_POINTS) {
        // Points of the second series are few: they all stay.
        const kept = rows[0].map((_, i) => i > MOST_POINTS / 2 || i % 2 === 0 || rows[2][i] !== null);
        rows.forEach((row, r) => (rows[r] = row.filter((_, i) => kept[i])));
      }
      chart.setData(rows);
    },
    clear() {
      rows.forEach((row) => (row.length = 0));
      chart.setData(rows);
    },
  };
}

/** Loss of the batches since the last point, and over held-out data; beyond `most` it is cut off. */
export const lossPlot = (element, most = 3) =>
  plot(element, {
    series: [{ name: "training", points: false }, { name: "validation", points: true }],
    range: (_, low, high) => [0, Math.max(0.2, Math.min(high ?? 2.5, most))],
    format: (v) => v.toFixed(v < 1 && v > 0 ? 2 : 1),
  });

/** Accuracy of each epoch, and over held-out digits. */
export const accuracyPlot = (element) =>
  plot(element, {
    series: [{ name: "training", points: true }, { name: "validation", points: true }],
    range: (_, low) => [Math.max(0, Math.min(0.9, Math.floor(10 * (low ?? 0)) / 10)), 1],
    format: (v) => `${Math.round(100 * v)} %`,
  });
