/** @file A library's process: questions and answers as lines of JSON. Whatever happens to it becomes an error of the question at hand. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A step of the slowest (a convolutional network in jax-js) takes a second or two. */
const PATIENCE_MS = 90_000;

function ended(code, signal, stderr) {
  const last = stderr.trim().split("\n").at(-1);
  return `exited with ${signal ?? code}${last ? `: ${last}` : ""}`;
}

export class Process {
  #child = null;
  #waiting = null;
  #stderr = "";
  #end = "not started";

  /** @param command what to spawn: [program, ...arguments], with `env` on top of this process' own */
  constructor(command, env = {}) {
    this.command = command;
    this.env = env;
  }

  start() {
    const [program, ...args] = this.command;
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...this.env } });
    this.#child = child;
    this.#stderr = "";
    // Libraries chat on stderr; its last line is wanted only when the process dies.
    child.stderr.on("data", (text) => (this.#stderr = (this.#stderr + text).slice(-2000)));
    child.stdin.on("error", () => {});
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("@") && this.#settle(child, JSON.parse(line.slice(1))));
    child.on("error", (error) => this.#lost(child, error.message));
    child.on("close", (code, signal) => this.#lost(child, ended(code, signal, this.#stderr)));
  }

  #settle(child, value) {
    if (child !== this.#child) return;
    this.#waiting?.(value);
    this.#waiting = null;
  }

  #lost(child, why) {
    if (child !== this.#child) return;
    this.#end = why.slice(0, 300);
    this.#settle(child, { error: this.#end });
    this.#child = null;
  }

  /** True while there is a process. */
  get running() {
    return this.#child !== null;
  }

  /** The answer; `{ error }` when it failed or there is no process (any more). */
  async ask(question) {
    if (this.#child === null) return { error: this.#end };
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        const child = this.#child;
        this.#lost(child, `no answer within ${PATIENCE_MS / 1000} s`);
        child.kill("SIGKILL");
      }, PATIENCE_MS);
      this.#waiting = (value) => {
        clearTimeout(timer);
        resolve(value);
      };
      this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    });
  }

  end() {
    const child = this.#child;
    this.#child = null;
    child?.kill("SIGKILL");
  }
}

/** Runs to the end; the value of its line that starts with `@`, or `{ error }`. */
export function once([program, ...args], env = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    const out = { stdout: "", stderr: "" };
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    for (const name of ["stdout", "stderr"]) child[name].on("data", (text) => (out[name] += text));
    child.on("error", (error) => resolve({ error: error.message }));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const line = out.stdout.split("\n").find((l) => l.startsWith("@"));
      resolve(line ? JSON.parse(line.slice(1)) : { error: ended(code, signal, out.stderr) });
    });
  });
}
