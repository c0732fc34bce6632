/** @file Calls the kernels of recurrent layers: a part of the kernels that applications without such layers do not download. */
import * as O from "../../src/wasm/opcodes";
import { gru, gruGrad } from "../gru";
import { lstm, lstmGrad } from "../lstm";
import { simpleRnn, simpleRnnGrad } from "../simple-rnn";

export function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.LSTM:
      lstm(c, piece, scratch);
      break;
    case O.LSTM_GRAD:
      if (TRAINING) lstmGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.GRU:
      gru(c, piece, scratch);
      break;
    case O.GRU_GRAD:
      if (TRAINING) gruGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.SIMPLE_RNN:
      simpleRnn(c, piece, scratch);
      break;
    case O.SIMPLE_RNN_GRAD:
      if (TRAINING) simpleRnnGrad(c, piece, scratch);
      else unreachable();
      break;
    default:
      unreachable();
  }
}
