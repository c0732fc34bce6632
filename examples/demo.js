/** @file `npm run demo`: trains the three networks, one after another, and says how well they do. Under a minute on two cores. */
import { cnn } from "./cnn.js";
import { ffn } from "./ffn.js";
import { forecast } from "./lstm.js";

const started = performance.now();
const common = { seed: 1, verbose: 1 };
await ffn({ ...common, epochs: 200 });
await cnn({ ...common, epochs: 8, samples: 6000 });
await forecast({ ...common, epochs: 80 });
console.log(`\nThree networks trained in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
