/**
 * @file Walks a command list. Every thread walks the same list and does its share of each command's pieces; where a
 * command carries a barrier, all wait until everything before it is done. How commands look: src/wasm/commands.ts.
 */
import * as O from "../src/wasm/opcodes";
import { conv2d, conv2dFilterGrad } from "./conv";
import { gather, scatterAdd } from "./gather";
import { gru, gruGrad } from "./gru";
import { softmaxCrossEntropy } from "./loss";
import { lstm, lstmGrad } from "./lstm";
import { map } from "./map";
import { combine, matmul, matmulSmall, pack } from "./matmul";
import { copy, fill, iota } from "./move";
import { avgPool, avgPoolGrad, maxPool, maxPoolGrad } from "./pool";
import { permutation, random } from "./random";
import { recurrentPack } from "./recurrent";
import { reduce } from "./reduce";
import { simpleRnn, simpleRnnGrad } from "./simple-rnn";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "./softmax";

function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.MAP: map(c, piece, scratch); break;
    case O.REDUCE: reduce(c, piece, scratch); break;
    case O.COPY: copy(c, piece, scratch); break;
    case O.FILL: fill(c, piece, scratch); break;
    case O.IOTA: iota(c, piece, scratch); break;
    case O.GATHER: gather(c, piece, scratch); break;
    case O.SCATTER_ADD: scatterAdd(c, piece, scratch); break;
    case O.MATMUL: matmul(c, piece, scratch); break;
    case O.MATMUL_SMALL: matmulSmall(c, piece, scratch); break;
    case O.PACK: pack(c, piece, scratch); break;
    case O.MATMUL_COMBINE: combine(c, piece, scratch); break;
    case O.CONV2D: conv2d(c, piece, scratch); break;
    case O.CONV2D_FILTER_GRAD: conv2dFilterGrad(c, piece, scratch); break;
    case O.LSTM: lstm(c, piece, scratch); break;
    case O.LSTM_GRAD: lstmGrad(c, piece, scratch); break;
    case O.GRU: gru(c, piece, scratch); break;
    case O.GRU_GRAD: gruGrad(c, piece, scratch); break;
    case O.SIMPLE_RNN: simpleRnn(c, piece, scratch); break;
    case O.SIMPLE_RNN_GRAD: simpleRnnGrad(c, piece, scratch); break;
    case O.RECURRENT_PACK: recurrentPack(c, piece, scratch); break;
    case O.MAX_POOL: maxPool(c, piece, scratch); break;
    case O.MAX_POOL_GRAD: maxPoolGrad(c, piece, scratch); break;
    case O.AVG_POOL: avgPool(c, piece, scratch); break;
    case O.AVG_POOL_GRAD: avgPoolGrad(c, piece, scratch); break;
    case O.SOFTMAX: softmax(c, piece, scratch); break;
    case O.SOFTMAX_GRAD: softmaxGrad(c, piece, scratch); break;
    case O.LOG_SOFTMAX: logSoftmax(c, piece, scratch); break;
    case O.LOG_SOFTMAX_GRAD: logSoftmaxGrad(c, piece, scratch); break;
    case O.SOFTMAX_CROSS_ENTROPY: softmaxCrossEntropy(c, piece, scratch); break;
    case O.RANDOM: random(c, piece, scratch); break;
    case O.PERMUTATION: permutation(c, piece, scratch); break;
    default: unreachable();
  }
}

/**
 * Runs the commands in [list, end) as thread `thread` of `threads`. `scratch` is this thread's working memory. With one
 * thread there is nothing to wait for; the pool adds its barrier here.
 */
export function run(list: usize, end: usize, thread: u32, threads: u32, scratch: usize): void {
  while (list < end) {
    const op = load<u32>(list) & 0xffff;
    const words = load<u32>(list, 4);
    const pieces = load<u32>(list, 8);
    const c = list + 4 * O.HEADER_WORDS;
    // Contiguous shares: neighbouring pieces touch neighbouring memory.
    const first = <u32>((<u64>pieces * thread) / threads);
    const last = <u32>((<u64>pieces * (thread + 1)) / threads);
    for (let p = first; p < last; p++) call(op, c, p, scratch);
    list += words << 2;
  }
}
