/** @file The shared body in a page's dedicated worker: takes options of `open`, answers with what came out. */
import { trainAll } from "./body.js";

onmessage = async ({ data }) => postMessage(await trainAll(data).catch((error) => ({ error: String(error) })));
