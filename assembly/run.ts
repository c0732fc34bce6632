/**
 * @file Walks a command list. Every thread walks the same list and takes pieces of each command as long as there are any; where a
 * command carries a barrier, all wait until everything before it is done. How commands look: src/wasm/commands.ts.
 */
import * as O from "../src/wasm/opcodes";
import { gather, gatherBytes, scatterAdd } from "./gather";
import { softmaxCrossEntropy } from "./softmax/cross-entropy";
import { map } from "./map";
import { combine, matmul, matmulSmall, pack } from "./matmul";
import { copy, fill, iota } from "./move";
import { call as attention } from "./parts/attention";
import { call as conv } from "./parts/conv";
import { call as norm } from "./parts/norm";
import { call as packed } from "./parts/packed";
import { call as recurrent } from "./parts/recurrent";
import { permutation, random } from "./random";
import { reduce } from "./reduce";
import { beginStep } from "./scan";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "./softmax";

/** Calls a part's kernels: directly in the whole module, else by the table into which JavaScript puts them (src/wasm/table.ts). */
function part(op: u32, c: usize, piece: u32, scratch: usize): void {
  const number = op >> O.PART_SHIFT;
  if (!WHOLE) call_indirect<void>(number, op, c, piece, scratch);
  else if (number == O.PART_CONV) conv(op, c, piece, scratch);
  else if (number == O.PART_RECURRENT) recurrent(op, c, piece, scratch);
  else if (number == O.PART_NORM) norm(op, c, piece, scratch);
  else if (number == O.PART_PACKED) packed(op, c, piece, scratch);
  else attention(op, c, piece, scratch);
}

function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.MAP:
      map(c, piece, scratch);
      break;
    case O.REDUCE:
      reduce(c, piece, scratch);
      break;
    case O.COPY:
      copy(c, piece, scratch);
      break;
    case O.FILL:
      fill(c, piece, scratch);
      break;
    case O.IOTA:
      iota(c, piece, scratch);
      break;
    case O.GATHER:
      gather(c, piece, scratch);
      break;
    case O.GATHER_BYTES:
      gatherBytes(c, piece, scratch);
      break;
    case O.SCATTER_ADD:
      scatterAdd(c, piece, scratch);
      break;
    case O.MATMUL:
      matmul(c, piece, scratch);
      break;
    case O.MATMUL_SMALL:
      matmulSmall(c, piece, scratch);
      break;
    case O.PACK:
      pack(c, piece, scratch);
      break;
    case O.MATMUL_COMBINE:
      combine(c, piece, scratch);
      break;
    case O.SOFTMAX:
      softmax(c, piece, scratch);
      break;
    case O.SOFTMAX_GRAD:
      if (TRAINING) softmaxGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.LOG_SOFTMAX:
      logSoftmax(c, piece, scratch);
      break;
    case O.LOG_SOFTMAX_GRAD:
      if (TRAINING) logSoftmaxGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.SOFTMAX_CROSS_ENTROPY:
      if (TRAINING) softmaxCrossEntropy(c, piece, scratch);
      else unreachable();
      break;
    case O.RANDOM:
      random(c, piece, scratch);
      break;
    case O.PERMUTATION:
      if (TRAINING) permutation(c, piece, scratch);
      else unreachable();
      break;
    default:
      part(op, c, piece, scratch);
  }
}

/** Spins before a thread goes to sleep at a barrier: some tens of microseconds, longer than any command's tail. */
const SPINS: u32 = 20000;
/** Nanoseconds of one sleep at a barrier; afterwards the abort word is looked at again. */
const NAP: i64 = 1000000;
/** Naps after which a thread gives up on the others: half a minute. */
const MOST_NAPS: u32 = 30000;

/** Waits until all threads have come here. False when the run was aborted, or another thread does not come. */
function barrier(sync: usize, threads: u32): bool {
  const generation = atomic.load<u32>(sync, O.SYNC_GENERATION);
  if (atomic.add<u32>(sync, 1, O.SYNC_ARRIVED) + 1 == threads) {
    atomic.store<u32>(sync, 0, O.SYNC_ARRIVED);
    atomic.add<u32>(sync, 1, O.SYNC_GENERATION);
    atomic.notify(sync + O.SYNC_GENERATION, threads);
  } else {
    let naps: u32 = 0;
    for (let spins: u32 = 0; atomic.load<u32>(sync, O.SYNC_GENERATION) == generation; spins++) {
      if (atomic.load<u32>(sync, O.SYNC_ABORT)) return false;
      if (spins < SPINS) continue;
      atomic.wait<i32>(sync + O.SYNC_GENERATION, <i32>generation, NAP);
      if (++naps == MOST_NAPS) {
        atomic.store<u32>(sync, 1, O.SYNC_ABORT);
        return false;
      }
    }
  }
  return !atomic.load<u32>(sync, O.SYNC_ABORT);
}

/**
 * Claims that a thread makes of a command's pieces, at most about: with 4, two threads share the 43 pieces of a product as 23 and 20, with
 * 16 as 22 and 21.
 */
const CLAIMS: u32 = 16;

/**
 * Runs pieces that no other thread has taken: a thread that is late, slow or interrupted takes fewer. Neighbouring pieces touch
 * neighbouring memory, so some are taken together. Every thread finds nothing left once; the last to do so sets the counter back for the
 * next run, since all others are through with this command.
 */
function takePieces(op: u32, c: usize, pieces: u32, threads: u32, scratch: usize, taken: usize): void {
  const some = max<u32>(1, pieces / (threads * CLAIMS));
  const last = ((pieces + some - 1) / some + threads - 1) * some;
  while (true) {
    const first = atomic.add<u32>(taken, some);
    if (first >= pieces) {
      if (first == last) atomic.store<u32>(taken, 0);
      return;
    }
    const end = min(pieces, first + some);
    for (let p = first; p < end; p++) call(op, c, p, scratch);
  }
}

/**
 * Runs the commands in [list, end) as thread `thread` of `threads`. `scratch` is this thread's working memory, `sync` the words that
 * the threads share (opcodes.ts). Returns when all threads have finished; false when the run was aborted.
 */
export function run(list: usize, end: usize, thread: u32, threads: u32, scratch: usize, sync: usize): bool {
  return walk(list, end, thread, threads, scratch, sync) && (threads == 1 || barrier(sync, threads));
}

function walk(list: usize, end: usize, thread: u32, threads: u32, scratch: usize, sync: usize): bool {
  while (list < end) {
    const word = load<u32>(list);
    const op = word & 0xffff;
    const words = load<u32>(list, 4);
    const pieces = load<u32>(list, 8);
    if (threads > 1 && word >> 16 != 0 && !barrier(sync, threads)) return false;
    const c = list + 4 * O.HEADER_WORDS;
    if (op == O.LOOP) {
      if (!loop(c, thread, threads, scratch, sync)) return false;
    } else if (threads == 1 || pieces == 1) {
      // A single piece is always the last thread's.
      if (thread == threads - 1) for (let p: u32 = 0; p < pieces; p++) call(op, c, p, scratch);
    } else takePieces(op, c, pieces, threads, scratch, list + 12);
    list += words << 2;
  }
  return true;
}

/**
 * Repeats the commands of a body: steps, words up to the end of the body, the body, and which of its words to set at the beginning of each
 * step, which the last thread does while the others wait.
 */
function loop(c: usize, thread: u32, threads: u32, scratch: usize, sync: usize): bool {
  const steps = load<u32>(c);
  const body = c + 4 * O.LOOP_HEADER;
  const end = c + (load<u32>(c, 4) << 2);
  for (let step: u32 = 0; step < steps; step++) {
    if (threads > 1 && step > 0 && !barrier(sync, threads)) return false;
    if (thread == threads - 1) beginStep(c, end, step);
    if (threads > 1 && !barrier(sync, threads)) return false;
    if (!walk(body, end, thread, threads, scratch, sync)) return false;
  }
  return true;
}

/**
 * Runs one piece of the command at `command`: for callers that take a list in small bites. Whoever calls keeps the order of the commands.
 */
export function piece(command: usize, index: u32, scratch: usize): void {
  call(load<u32>(command) & 0xffff, command + 4 * O.HEADER_WORDS, index, scratch);
}

/** A worker's life: waits for a job, runs its share, waits again. Ends when told to quit or when a run was aborted. */
export function work(thread: u32, threads: u32, scratch: usize, sync: usize): void {
  let seen: u32 = 0;
  while (true) {
    let spins: u32 = 0;
    while (atomic.load<u32>(sync, O.SYNC_JOB) == seen) {
      if (++spins >= SPINS) atomic.wait<i32>(sync + O.SYNC_JOB, <i32>seen, -1);
    }
    seen = atomic.load<u32>(sync, O.SYNC_JOB);
    if (atomic.load<u32>(sync, O.SYNC_QUIT)) return;
    if (!run(load<u32>(sync, O.SYNC_LIST), load<u32>(sync, O.SYNC_END), thread, threads, scratch, sync)) return;
  }
}
