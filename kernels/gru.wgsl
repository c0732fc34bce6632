// The GRU over whole sequences, and its gradient: the cells of recurrent.wgsl. Layouts: h, dh [BATCH,STEPS,UNITS]; xw, dxw,
// dhw [BATCH,STEPS,3 UNITS] in gate order z r h~; gates [BATCH,STEPS,4 UNITS]: z, r, h~ after their activations and then
// q = h[t-1] wr_h + bias2_h where RESET_AFTER, else p = r h[t-1]; bias2 [3 UNITS]; dh0 [BATCH,UNITS].
//
// gru      xw, wr[UNITS, 3 UNITS], bias2?, h0?, mask?, factors? -> h, gates?
//          h~ = activation(xw_h + r q) or activation(xw_h + p wr_h);  h[t] = z h[t-1] + (1 - z) h~
//          Factors multiply h[t-1] everywhere but in this last sum.
// gruGrad  dh?, wr transposed [3 UNITS, UNITS], h, gates, h0?, mask?, factors? -> dxw, dhw?, dh0, which carries the gradient: those of
//          xw and of h[t-1] wr + bias2, equal where not RESET_AFTER.
//
// With RESET_AFTER a step is one turn, otherwise two: forward z, r and p, then h; backward what goes through z and h~, then r. There gates
// are needed, to carry z.
//
// Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014; RESET_AFTER is the variant of cuDNN.

const RESET_AFTER: bool = true;
const HAS_BIAS: bool = false;
const HAS_GATES: bool = true;
const HAS_DHW: bool = false;
const DH_AT: u32 = OUTSIDE;

const STEP_TURNS: u32 = select(2u, 1u, RESET_AFTER);

@group(0) @binding(8) var<storage, read> bias2: array<f32>;

fn bias_of(column: u32) -> f32 {
  if (HAS_BIAS) {
    return bias2[column];
  }
  return 0.0;
}

// Whether a turn is the second of its step.
fn is_second(turn: u32) -> bool {
  return !RESET_AFTER && turn % 2u == 1u;
}

// Where not RESET_AFTER. The first turn of all may be that of h0.
fn gru_turn(turn: u32) -> Turn {
  let second = is_second(turn - u32(HAS_H0));
  return Turn(0u, select(UNITS, 0u, turn == 0u), select(0u, 2u * UNITS, second), select(2u, 1u, second));
}

fn gru(c: Cell, sums: mat4x4<f32>) {
  if (HAS_H0 && c.turn == 0u) {
    write_vector(c, c.unit, dropped(c, first_state(c)));
    return;
  }
  let turn = c.turn - u32(HAS_H0);
  let step = turn / STEP_TURNS;
  let rows = rows_at(c, step);
  let kept = kept_at(rows);
  let at = rows * (3u * UNITS) + c.unit;
  let gate_at = rows * (4u * UNITS) + c.unit;
  let before = state_before(c, step);
  var z = vec4<f32>();
  var candidate = sums[0];
  if (is_second(turn)) {
    z = read_gates(gate_at);
  } else {
    z = gate_vector(sums[0] + read_given(at) + bias_of(c.unit));
    let r = gate_vector(sums[1] + read_given(at + UNITS) + bias_of(c.unit + UNITS));
    let q = select(r * dropped(c, before), sums[2] + bias_of(c.unit + 2u * UNITS), RESET_AFTER);
    candidate = r * q;
    if (HAS_GATES) {
      write_gates(gate_at, select(z, vec4<f32>(), kept));
      write_gates(gate_at + UNITS, select(r, vec4<f32>(), kept));
      write_gates(gate_at + 3u * UNITS, select(q, vec4<f32>(), kept));
    }
    if (!RESET_AFTER) {
      write_vector(c, c.unit, q);
      return;
    }
  }
  candidate = activate_vector(candidate + read_given(at + 2u * UNITS));
  let state = select(z * before + (1.0 - z) * candidate, before, kept);
  write_vector(c, c.unit, dropped(c, state));
  write_result(rows * UNITS + c.unit, state);
  if (HAS_GATES) {
    write_gates(gate_at + 2u * UNITS, select(candidate, vec4<f32>(), kept));
  }
}

fn gru_grad_turn(turn: u32) -> Turn {
  if (is_second(turn)) {
    return Turn(2u * UNITS, UNITS, 0u, 1u);
  }
  return Turn(0u, select(2u * UNITS, 0u, turn == 0u), 0u, 1u);
}

// Columns of dxw, and of dhw with what it multiplies by wr.
fn write_gradient(c: Cell, rows: vec4<u32>, gate: u32, dxw: vec4<f32>, dhw: vec4<f32>) {
  let at = rows * (3u * UNITS) + gate * UNITS + c.unit;
  write_result(at, dxw);
  if (HAS_DHW) {
    write_second(at, dhw);
  }
  write_vector(c, gate * UNITS + c.unit, dhw);
}

fn gru_grad(c: Cell, sums: mat4x4<f32>) {
  let state_at = c.sequences * UNITS + c.unit;
  var dhidden = dropped(c, sums[0]) + dh_before(c);
  if (c.turn == STEPS * STEP_TURNS) {
    write_dh0(state_at, dhidden);
    return;
  }
  let step = STEPS - 1u - c.turn / STEP_TURNS;
  let rows = rows_at(c, step);
  let kept = kept_at(rows);
  let gate_at = rows * (4u * UNITS) + c.unit;
  let r = read_saved(gate_at + UNITS);
  var before = first_state(c);
  if (step > 0u) {
    before = read_given(rows_at(c, step - 1u) * UNITS + c.unit);
  }
  if (is_second(c.turn)) {
    let d = dropped(c, sums[0]);
    let dr = d * before * derivative_gate_vector(r);
    write_gradient(c, rows, 1u, dr, dr);
    // For the next turn, which reads what this one leaves.
    write_vector(c, c.unit, read_result(rows * (3u * UNITS) + c.unit));
    write_dh0(state_at, dh_before(c) + d * r);
    return;
  }
  if (DH_AT != OUTSIDE) {
    dhidden += read_extra(DH_AT + rows * UNITS + c.unit);
  }
  let z = read_saved(gate_at);
  let candidate = read_saved(gate_at + 2u * UNITS);
  let dz = select(dhidden * (before - candidate) * derivative_gate_vector(z), vec4<f32>(), kept);
  let dcandidate = select(dhidden * (1.0 - z) * derivative_vector(candidate), vec4<f32>(), kept);
  write_gradient(c, rows, 0u, dz, dz);
  if (RESET_AFTER) {
    let dr = dcandidate * read_saved(gate_at + 3u * UNITS) * derivative_gate_vector(r);
    write_gradient(c, rows, 1u, dr, dr);
    write_gradient(c, rows, 2u, dcandidate, dcandidate * r);
  } else {
    write_gradient(c, rows, 2u, dcandidate, dcandidate);
  }
  write_dh0(state_at, select(dhidden * z, dhidden, kept));
}
