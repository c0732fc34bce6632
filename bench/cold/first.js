/**
 * @file The cold path in a process of its own: `first.js ENTRY MODEL` prints milliseconds of each phase as JSON. Imports nothing else,
 * which would warm what is measured.
 */
const [entry, file] = process.argv.slice(2);
const times = [performance.now()];
const { loadModel } = await import(`../../build/${entry}.js`);
times.push(performance.now());
const model = await loadModel(file);
times.push(performance.now());
const [[p]] = await (await model.predict([[0.1, 0.2]])).array();
times.push(performance.now());
const [start, imported, loaded, predicted] = times;
console.log(
  JSON.stringify({ import: imported - start, load: loaded - imported, predict: predicted - loaded, total: predicted - start, p }),
);
process.exit(0);
