// The LSTM over whole sequences, and its gradient: the cells of recurrent.wgsl. Layouts: h, c, dh [BATCH,STEPS,UNITS]; xw, gates,
// dgates [BATCH,STEPS,4 UNITS] in gate order i f c~ o; dh0, dc0, dc_last [BATCH,UNITS].
//
// lstm      xw, wr[UNITS, 4 UNITS], h0?, c0?, mask?, factors? -> h, c, gates?
//           c[t] = f c[t-1] + i c~;  h[t] = o activation(c[t])
// lstmGrad  dh?, wr transposed [4 UNITS, UNITS], c, gates, dc_last?, c0?, mask?, factors? -> dgates, dh0, dc0, which carry the gradients
//
// Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997.

const HAS_GATES: bool = true;
const C0_AT: u32 = OUTSIDE;
const DH_AT: u32 = OUTSIDE;
const DC_LAST_AT: u32 = OUTSIDE;

// c0, or 0.
fn first_cell(c: Cell) -> vec4<f32> {
  if (C0_AT != OUTSIDE) {
    return read_extra(C0_AT + c.sequences * UNITS + c.unit);
  }
  return vec4<f32>();
}

fn lstm(c: Cell, sums: mat4x4<f32>) {
  if (HAS_H0 && c.turn == 0u) {
    write_vector(c, c.unit, dropped(c, first_state(c)));
    return;
  }
  let step = c.turn - u32(HAS_H0);
  let rows = rows_at(c, step);
  let kept = kept_at(rows);
  let at = rows * UNITS + c.unit;
  let gate_at = rows * (4u * UNITS) + c.unit;
  let i = gate_vector(sums[0] + read_given(gate_at));
  let f = gate_vector(sums[1] + read_given(gate_at + UNITS));
  let candidate = activate_vector(sums[2] + read_given(gate_at + 2u * UNITS));
  let o = gate_vector(sums[3] + read_given(gate_at + 3u * UNITS));
  var before = first_cell(c);
  if (step > 0u) {
    before = read_second(rows_at(c, step - 1u) * UNITS + c.unit);
  }
  let next = f * before + i * candidate;
  let state = select(o * activate_vector(next), state_before(c, step), kept);
  write_vector(c, c.unit, dropped(c, state));
  write_result(at, state);
  write_second(at, select(next, before, kept));
  if (HAS_GATES) {
    write_gates(gate_at, select(i, vec4<f32>(), kept));
    write_gates(gate_at + UNITS, select(f, vec4<f32>(), kept));
    write_gates(gate_at + 2u * UNITS, select(candidate, vec4<f32>(), kept));
    write_gates(gate_at + 3u * UNITS, select(o, vec4<f32>(), kept));
  }
}

// A column of dgates.
fn write_dgate(c: Cell, rows: vec4<u32>, gate: u32, d: vec4<f32>) {
  write_result(rows * (4u * UNITS) + gate * UNITS + c.unit, d);
  write_vector(c, gate * UNITS + c.unit, d);
}

fn lstm_grad(c: Cell, sums: mat4x4<f32>) {
  let state_at = c.sequences * UNITS + c.unit;
  var dhidden = dropped(c, sums[0]) + dh_before(c);
  if (c.turn == STEPS) {
    write_dh0(state_at, dhidden);
    return;
  }
  let step = STEPS - 1u - c.turn;
  let rows = rows_at(c, step);
  let kept = kept_at(rows);
  let at = rows * UNITS + c.unit;
  let gate_at = rows * (4u * UNITS) + c.unit;
  if (DH_AT != OUTSIDE) {
    dhidden += read_extra(DH_AT + at);
  }
  var dcell = vec4<f32>();
  if (c.turn > 0u) {
    dcell = read_second(state_at);
  } else if (DC_LAST_AT != OUTSIDE) {
    dcell = read_extra(DC_LAST_AT + state_at);
  }
  var before = first_cell(c);
  if (step > 0u) {
    before = read_given(rows_at(c, step - 1u) * UNITS + c.unit);
  }
  let i = read_saved(gate_at);
  let f = read_saved(gate_at + UNITS);
  let candidate = read_saved(gate_at + 2u * UNITS);
  let o = read_saved(gate_at + 3u * UNITS);
  let output = activate_vector(read_given(at));
  let dc = dcell + dhidden * o * derivative_vector(output);
  write_dgate(c, rows, 0u, select(dc * candidate * derivative_gate_vector(i), vec4<f32>(), kept));
  write_dgate(c, rows, 1u, select(dc * before * derivative_gate_vector(f), vec4<f32>(), kept));
  write_dgate(c, rows, 2u, select(dc * i * derivative_vector(candidate), vec4<f32>(), kept));
  write_dgate(c, rows, 3u, select(dhidden * output * derivative_gate_vector(o), vec4<f32>(), kept));
  write_second(state_at, select(dc * f, dcell, kept));
  write_dh0(state_at, select(vec4<f32>(), dhidden, kept));
}
