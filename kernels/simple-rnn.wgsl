// The plain recurrent layer over whole sequences, and its gradient: the cells of recurrent.wgsl. Layouts: xw, h, dh, dxw
// [BATCH,STEPS,UNITS]; dh0 [BATCH,UNITS].
//
// simpleRnn      xw, wr[UNITS, UNITS], h0?, mask?, factors? -> h;  h[t] = activation(xw[t] + h[t-1] wr)
// simpleRnnGrad  dh?, wr transposed [UNITS, UNITS], h, mask?, factors? -> dxw, dh0, which carries the gradient
//
// Elman, "Finding Structure in Time", 1990.

const DH_AT: u32 = OUTSIDE;

fn simple(c: Cell, sums: mat4x4<f32>) {
  if (HAS_H0 && c.turn == 0u) {
    write_vector(c, c.unit, dropped(c, first_state(c)));
    return;
  }
  let step = c.turn - u32(HAS_H0);
  let rows = rows_at(c, step);
  let at = rows * UNITS + c.unit;
  let state = select(activate_vector(sums[0] + read_given(at)), state_before(c, step), kept_at(rows));
  write_vector(c, c.unit, dropped(c, state));
  write_result(at, state);
}

fn simple_grad(c: Cell, sums: mat4x4<f32>) {
  let state_at = c.sequences * UNITS + c.unit;
  var dhidden = dropped(c, sums[0]) + dh_before(c);
  if (c.turn == STEPS) {
    write_dh0(state_at, dhidden);
    return;
  }
  let rows = rows_at(c, STEPS - 1u - c.turn);
  let kept = kept_at(rows);
  let at = rows * UNITS + c.unit;
  if (DH_AT != OUTSIDE) {
    dhidden += read_extra(DH_AT + at);
  }
  let d = select(dhidden * derivative_vector(read_given(at)), vec4<f32>(), kept);
  write_vector(c, c.unit, d);
  write_result(at, d);
  write_dh0(state_at, select(vec4<f32>(), dhidden, kept));
}
