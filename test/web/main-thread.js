/**
 * @file How long a page's own thread is kept busy, from the browser's trace. CPU time, not time on the clock: on a machine that
 * does other things a task of a millisecond can be away for a hundred, which says nothing about the page.
 */

const TASK = "ThreadControllerImpl::RunTask";

/** Traces `browser` while `action` runs. */
async function record(browser, action) {
  const session = await browser.newBrowserCDPSession();
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  const complete = new Promise((done) => session.once("Tracing.tracingComplete", done));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { recordMode: "recordUntilFull", traceBufferSizeInKb: 400_000, includedCategories: ["toplevel"] },
  });
  try {
    await action();
  } finally {
    await session.send("Tracing.end");
    await complete;
    await session.detach();
  }
  return events;
}

/**
 * Milliseconds of CPU: `longest` of the tasks on the thread of the page that has workers, with where it came from; `page` and
 * `workers`, all of that page's tasks and of its workers' tasks; `tasks`, how many were on the page's thread.
 */
export async function measureThreads(browser, action) {
  const events = await record(browser, action);
  const names = new Map(events.filter((e) => e.name === "thread_name").map((e) => [`${e.pid} ${e.tid}`, e.args.name]));
  const nameOf = (e) => names.get(`${e.pid} ${e.tid}`);
  const process = events.find((e) => nameOf(e) === "DedicatedWorker thread")?.pid;
  const tasks = events.filter((e) => e.name === TASK && e.ph === "X" && e.pid === process && e.tdur !== undefined);
  const ofPage = tasks.filter((e) => nameOf(e) === "CrRendererMain");
  const sum = (list) => list.reduce((total, e) => total + e.tdur, 0) / 1000;
  const longest = ofPage.reduce((a, b) => (b.tdur > a.tdur ? b : a), { tdur: 0 });
  return {
    tasks: ofPage.length,
    page: sum(ofPage),
    workers: sum(tasks.filter((e) => nameOf(e) === "DedicatedWorker thread")),
    longest: longest.tdur / 1000,
    from: JSON.stringify(longest.args),
  };
}
