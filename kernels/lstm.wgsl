// The LSTM over whole sequences, and its gradient. Layouts: h, c, dh [BATCH,STEPS,UNITS]; xw, gates, dgates [BATCH,STEPS,4 UNITS] in gate
// order i f c~ o; h0, c0, dh0, dc0, dc_last [BATCH,UNITS]; mask [BATCH,STEPS]. Where mask is 0 the state is kept, and gates and dgates are 0.
//
// lstm      xw, wr[UNITS, 4 UNITS], h0?, c0?, mask? -> h, c, gates?
//           c[t] = f c[t-1] + i c~;  h[t] = o activation(c[t])
// lstmGrad  dh?, wr transposed [4 UNITS, UNITS], c, gates, extra? -> dgates, dh0?, dc0?
//           extra holds dc_last, c0 and mask, those that there are, at the elements *_AT: eight buffers are all that every
//           device can bind.
//
// See recurrent.wgsl for how the work is shared out. Where not SMALL, lstmGrad needs dh0 and dc0, to carry the gradients.
// The body gives the activations and their derivatives in terms of what they gave: of the candidate and the cell's output, and of gates.
//
// Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997.

const BATCH: u32 = 1;
const STEPS: u32 = 1;
const UNITS: u32 = 1;
const REVERSE: bool = false;
const HAS_H0: bool = false;
const HAS_C0: bool = false;
const HAS_MASK: bool = false;
const HAS_GATES: bool = true;
const HAS_DH: bool = true;
const HAS_DC_LAST: bool = false;
const HAS_DH0: bool = false;
const HAS_DC0: bool = false;
const DC_LAST_AT: u32 = 0;
const C0_AT: u32 = 0;
const MASK_AT: u32 = 0;

const SMALL: bool = true;
const WIDTH: u32 = 32;
const SLICES: u32 = 1;
// Workgroup memory: where SMALL, 2 UNITS (lstm) or 4 UNITS (lstmGrad), then the sums.
const SHARED: u32 = 4;
const PARTIALS: u32 = 4;

const THREADS: u32 = WIDTH * SLICES;
const COLUMNS: u32 = 4 * UNITS;

// body
fn activate(v: vec4<f32>) -> vec4<f32> { return tanh(v); }
fn derivative(v: vec4<f32>) -> vec4<f32> { return 1.0 - v * v; }
fn activate_gate(v: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-v)); }
fn derivative_gate(v: vec4<f32>) -> vec4<f32> { return v * (1.0 - v); }
// end body

@group(0) @binding(0) var<storage, read_write> h_out: array<f32>;
@group(0) @binding(1) var<storage, read_write> c_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> gates_out: array<f32>;
@group(0) @binding(3) var<storage, read> xw: array<f32>;
@group(0) @binding(4) var<storage, read> wr: array<f32>;
@group(0) @binding(5) var<storage, read> h0: array<f32>;
@group(0) @binding(6) var<storage, read> c0: array<f32>;
@group(0) @binding(7) var<storage, read> mask: array<u32>;

fn load_h(at: vec4<u32>) -> vec4<f32> { return vec4(h_out[at.x], h_out[at.y], h_out[at.z], h_out[at.w]); }
fn store_h(at: vec4<u32>, v: vec4<f32>) { h_out[at.x] = v.x; h_out[at.y] = v.y; h_out[at.z] = v.z; h_out[at.w] = v.w; }
fn load_c(at: vec4<u32>) -> vec4<f32> { return vec4(c_out[at.x], c_out[at.y], c_out[at.z], c_out[at.w]); }
fn store_c(at: vec4<u32>, v: vec4<f32>) { c_out[at.x] = v.x; c_out[at.y] = v.y; c_out[at.z] = v.z; c_out[at.w] = v.w; }
fn store_gate(at: vec4<u32>, v: vec4<f32>) { gates_out[at.x] = v.x; gates_out[at.y] = v.y; gates_out[at.z] = v.z; gates_out[at.w] = v.w; }
fn load_xw(at: vec4<u32>) -> vec4<f32> { return vec4(xw[at.x], xw[at.y], xw[at.z], xw[at.w]); }
fn load_h0(at: vec4<u32>) -> vec4<f32> { return vec4(h0[at.x], h0[at.y], h0[at.z], h0[at.w]); }
fn load_c0(at: vec4<u32>) -> vec4<f32> { return vec4(c0[at.x], c0[at.y], c0[at.z], c0[at.w]); }

// h before a step, when there is one.
fn hidden_before(sequences: vec4<u32>, step: u32, unit: u32) -> vec4<f32> {
  if (SMALL) {
    return recurrent_memory[(step & 1u) * UNITS + unit];
  }
  if (step > 0u) {
    return load_h(recurrent_rows(sequences, step - 1u) * UNITS + unit);
  }
  return load_h0(sequences * UNITS + unit);
}

@compute @workgroup_size(THREADS)
fn lstm(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let chunk = (UNITS + SLICES - 1u) / SLICES;
  let begin = slice * chunk;
  let end = min(begin + chunk, UNITS);
  var cell = vec4(0.0);
  if (SMALL) {
    let unit = local % WIDTH;
    if (local < UNITS) {
      let at = sequences * UNITS + unit;
      if (HAS_H0) {
        recurrent_memory[unit] = load_h0(at);
      } else {
        recurrent_memory[unit] = vec4(0.0);
      }
      if (HAS_C0) {
        cell = load_c0(at);
      }
    }
    workgroupBarrier();
  }
  for (var step = 0u; step < STEPS; step++) {
    let rows = recurrent_rows(sequences, step);
    var kept = vec4(false);
    if (HAS_MASK) {
      kept = vec4(mask[rows.x], mask[rows.y], mask[rows.z], mask[rows.w]) == vec4(0u);
    }
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let lane = local % WIDTH;
      let unit = min(first + lane, UNITS - 1u);
      let owner = slice == 0u && first + lane < UNITS;
      let gate_at = rows * COLUMNS + unit;
      var i = vec4(0.0);
      var f = vec4(0.0);
      var candidate = vec4(0.0);
      var o = vec4(0.0);
      if (owner) {
        i = load_xw(gate_at);
        f = load_xw(gate_at + UNITS);
        candidate = load_xw(gate_at + 2u * UNITS);
        o = load_xw(gate_at + 3u * UNITS);
      }
      if (HAS_H0 || step > 0u) {
        for (var k = begin; k < end; k++) {
          let v = hidden_before(sequences, step, k);
          let at = k * COLUMNS + unit;
          i += v * wr[at];
          f += v * wr[at + UNITS];
          candidate += v * wr[at + 2u * UNITS];
          o += v * wr[at + 3u * UNITS];
        }
      }
      if (SLICES > 1u) {
        if (slice > 0u) {
          let at = PARTIALS + (slice - 1u) * 4u * WIDTH + lane;
          recurrent_memory[at] = i;
          recurrent_memory[at + WIDTH] = f;
          recurrent_memory[at + 2u * WIDTH] = candidate;
          recurrent_memory[at + 3u * WIDTH] = o;
        }
        workgroupBarrier();
        if (owner) {
          for (var s = 1u; s < SLICES; s++) {
            let at = PARTIALS + (s - 1u) * 4u * WIDTH + lane;
            i += recurrent_memory[at];
            f += recurrent_memory[at + WIDTH];
            candidate += recurrent_memory[at + 2u * WIDTH];
            o += recurrent_memory[at + 3u * WIDTH];
          }
        }
      }
      if (owner) {
        var hidden = vec4(0.0);
        if (HAS_H0 || step > 0u) {
          hidden = hidden_before(sequences, step, unit);
        }
        if (!SMALL) {
          cell = vec4(0.0);
          if (step > 0u) {
            cell = load_c(recurrent_rows(sequences, step - 1u) * UNITS + unit);
          } else if (HAS_C0) {
            cell = load_c0(sequences * UNITS + unit);
          }
        }
        i = activate_gate(i);
        f = activate_gate(f);
        candidate = activate(candidate);
        o = activate_gate(o);
        let next = f * cell + i * candidate;
        hidden = select(o * activate(next), hidden, kept);
        cell = select(next, cell, kept);
        store_h(rows * UNITS + unit, hidden);
        store_c(rows * UNITS + unit, cell);
        if (SMALL) {
          recurrent_memory[((step + 1u) & 1u) * UNITS + unit] = hidden;
        }
        if (HAS_GATES) {
          store_gate(gate_at, select(i, vec4(0.0), kept));
          store_gate(gate_at + UNITS, select(f, vec4(0.0), kept));
          store_gate(gate_at + 2u * UNITS, select(candidate, vec4(0.0), kept));
          store_gate(gate_at + 3u * UNITS, select(o, vec4(0.0), kept));
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
  }
}

@group(0) @binding(0) var<storage, read_write> dgates_out: array<f32>;
@group(0) @binding(1) var<storage, read_write> dh0_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> dc0_out: array<f32>;
@group(0) @binding(3) var<storage, read> dh: array<f32>;
@group(0) @binding(5) var<storage, read> cells: array<f32>;
@group(0) @binding(6) var<storage, read> saved: array<f32>;
@group(0) @binding(7) var<storage, read> extra: array<u32>;

fn load_dgate(at: vec4<u32>) -> vec4<f32> { return vec4(dgates_out[at.x], dgates_out[at.y], dgates_out[at.z], dgates_out[at.w]); }
fn store_dgate(at: vec4<u32>, v: vec4<f32>) { dgates_out[at.x] = v.x; dgates_out[at.y] = v.y; dgates_out[at.z] = v.z; dgates_out[at.w] = v.w; }
fn load_dh0(at: vec4<u32>) -> vec4<f32> { return vec4(dh0_out[at.x], dh0_out[at.y], dh0_out[at.z], dh0_out[at.w]); }
fn store_dh0(at: vec4<u32>, v: vec4<f32>) { dh0_out[at.x] = v.x; dh0_out[at.y] = v.y; dh0_out[at.z] = v.z; dh0_out[at.w] = v.w; }
fn load_dc0(at: vec4<u32>) -> vec4<f32> { return vec4(dc0_out[at.x], dc0_out[at.y], dc0_out[at.z], dc0_out[at.w]); }
fn store_dc0(at: vec4<u32>, v: vec4<f32>) { dc0_out[at.x] = v.x; dc0_out[at.y] = v.y; dc0_out[at.z] = v.z; dc0_out[at.w] = v.w; }
fn load_dh(at: vec4<u32>) -> vec4<f32> { return vec4(dh[at.x], dh[at.y], dh[at.z], dh[at.w]); }
fn load_cells(at: vec4<u32>) -> vec4<f32> { return vec4(cells[at.x], cells[at.y], cells[at.z], cells[at.w]); }
fn load_saved(at: vec4<u32>) -> vec4<f32> { return vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]); }
fn load_extra(at: vec4<u32>) -> vec4<u32> { return vec4(extra[at.x], extra[at.y], extra[at.z], extra[at.w]); }

// The gradient of column n of the pre-activations.
fn dgate_of(rows: vec4<u32>, n: u32) -> vec4<f32> {
  if (SMALL) {
    return recurrent_memory[n];
  }
  return load_dgate(rows * COLUMNS + n);
}

@compute @workgroup_size(THREADS)
fn lstmGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let lane = local % WIDTH;
  let chunk = (COLUMNS + SLICES - 1u) / SLICES;
  let begin = slice * chunk;
  let end = min(begin + chunk, COLUMNS);
  var dhidden = vec4(0.0);
  var dcell = vec4(0.0);
  if (SMALL && HAS_DC_LAST && local < UNITS) {
    dcell = bitcast<vec4<f32>>(load_extra(DC_LAST_AT + sequences * UNITS + lane));
  }
  for (var left = STEPS; left > 0u; left--) {
    let step = left - 1u;
    let rows = recurrent_rows(sequences, step);
    var kept = vec4(false);
    if (HAS_MASK) {
      kept = load_extra(MASK_AT + rows) == vec4(0u);
    }
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = first + lane;
      if (slice == 0u && unit < UNITS) {
        let state_at = sequences * UNITS + unit;
        let at = rows * UNITS + unit;
        if (!SMALL) {
          dhidden = vec4(0.0);
          dcell = vec4(0.0);
          if (left < STEPS) {
            dhidden = load_dh0(state_at);
            dcell = load_dc0(state_at);
          } else if (HAS_DC_LAST) {
            dcell = bitcast<vec4<f32>>(load_extra(DC_LAST_AT + state_at));
          }
        }
        if (HAS_DH) {
          dhidden += load_dh(at);
        }
        var before = vec4(0.0);
        if (step > 0u) {
          before = load_cells(recurrent_rows(sequences, step - 1u) * UNITS + unit);
        } else if (HAS_C0) {
          before = bitcast<vec4<f32>>(load_extra(C0_AT + state_at));
        }
        let gate_at = rows * COLUMNS + unit;
        let i = load_saved(gate_at);
        let f = load_saved(gate_at + UNITS);
        let candidate = load_saved(gate_at + 2u * UNITS);
        let o = load_saved(gate_at + 3u * UNITS);
        let output = activate(load_cells(at));
        let dc = dcell + dhidden * o * derivative(output);
        let di = select(dc * candidate * derivative_gate(i), vec4(0.0), kept);
        let df = select(dc * before * derivative_gate(f), vec4(0.0), kept);
        let dcandidate = select(dc * i * derivative(candidate), vec4(0.0), kept);
        let do_ = select(dhidden * output * derivative_gate(o), vec4(0.0), kept);
        dcell = select(dc * f, dcell, kept);
        dhidden = select(vec4(0.0), dhidden, kept);
        store_dgate(gate_at, di);
        store_dgate(gate_at + UNITS, df);
        store_dgate(gate_at + 2u * UNITS, dcandidate);
        store_dgate(gate_at + 3u * UNITS, do_);
        if (SMALL) {
          recurrent_memory[unit] = di;
          recurrent_memory[unit + UNITS] = df;
          recurrent_memory[unit + 2u * UNITS] = dcandidate;
          recurrent_memory[unit + 3u * UNITS] = do_;
        } else {
          store_dh0(state_at, dhidden);
          store_dc0(state_at, dcell);
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
    if (step == 0u && !HAS_DH0) {
      break;
    }
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = min(first + lane, UNITS - 1u);
      var sum = vec4(0.0);
      for (var n = begin; n < end; n++) {
        sum += dgate_of(rows, n) * wr[n * UNITS + unit];
      }
      sum = recurrent_join(sum, slice, lane);
      if (slice == 0u && first + lane < UNITS) {
        if (SMALL) {
          dhidden += sum;
        } else {
          let at = sequences * UNITS + unit;
          store_dh0(at, load_dh0(at) + sum);
        }
      }
    }
  }
  if (SMALL && local < UNITS) {
    if (HAS_DH0) {
      store_dh0(sequences * UNITS + lane, dhidden);
    }
    if (HAS_DC0) {
      store_dc0(sequences * UNITS + lane, dcell);
    }
  }
}
