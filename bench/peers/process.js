/** @file A library's process: questions and answers as lines of JSON. Whatever happens to it becomes an error of the question at hand. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A step of the slowest (a convolutional network in jax-js) takes a second or two. */
const PATIENCE_MS = 90_000;

export class Process {
  #child = null;
  #waiting = null;
  #stderr = "";

  /** @param command what to spawn: [program, ...arguments], with `env` on top of this process' own */
  constructor(command, env = {}) {
    this.command = command;
    this.env = env;
  }

  #open() {
    const [program, ...args] = this.command;
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...this.env } });
    this.#child = child;
    this.#stderr = "";
    // Libraries chat on stderr; its last line is wanted only when the process dies.
    child.stderr.on("data", (text) => (this.#stderr = (this.#stderr + text).slice(-2000)));
    child.stdin.on("error", () => {});
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("@") && this.#settle(child, JSON.parse(line.slice(1))));
    child.on("error", (error) => this.#lost(child, error.message));
    child.on("close", (code, signal) => this.#lost(child, `exited with ${signal ?? code}: ${this.#stderr.trim().split("\n").at(-1)}`));
  }

  #settle(child, value) {
    if (child !== this.#child) return;
    this.#waiting?.(value);
    this.#waiting = null;
  }

  #lost(child, why) {
    this.#settle(child, { error: why.slice(0, 300), lost: true });
    if (child === this.#child) this.#child = null;
  }

  /** True while there is a process. */
  get running() {
    return this.#child !== null;
  }

  /** The answer; `{ error }` when it failed, `{ error, lost: true }` when the process is gone with it. Starts the process when there is none. */
  ask(question) {
    if (this.#child === null) this.#open();
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
      resolve(line ? JSON.parse(line.slice(1)) : { error: `exited with ${signal ?? code}: ${out.stderr.trim().split("\n").at(-1)}` });
    });
  });
}
