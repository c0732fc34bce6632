// The GRU over whole sequences, and its gradient. Layouts: h, dh [BATCH,STEPS,UNITS]; xw, dxw, dhw [BATCH,STEPS,3 UNITS] in gate order
// z r h~; gates [BATCH,STEPS,4 UNITS]: z, r, h~ after their activations and then q = h[t-1] wr_h + bias2_h where RESET_AFTER, else
// p = r h[t-1]; bias2 [3 UNITS]; h0, dh0 [BATCH,UNITS]; mask [BATCH,STEPS]. Where mask is 0 the state is kept, and gates, dxw and dhw
// are 0.
//
// gru      xw, wr[UNITS, 3 UNITS], bias2?, h0?, mask? -> h, gates?
//          h~ = activation(xw_h + r q) or activation(xw_h + p wr_h);  h[t] = z h[t-1] + (1 - z) h~
// gruGrad  dh?, wr transposed [3 UNITS, UNITS], h, gates, extra? -> dxw, dhw?, dh0?: the gradients of xw and of h[t-1] wr + bias2,
//          equal where not RESET_AFTER. extra holds h0 and mask, those that there are, at the elements *_AT: eight buffers
//          are all that every device can bind.
//
// See recurrent.wgsl for how the work is shared out. Where not SMALL, gru without RESET_AFTER needs gates, and gruGrad dh0, to
// carry the gradient, and with RESET_AFTER dhw.
// The body gives the activations and their derivatives in terms of what they gave: of the candidate, and of gates.
//
// Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014; RESET_AFTER is the variant of cuDNN.

const BATCH: u32 = 1;
const STEPS: u32 = 1;
const UNITS: u32 = 1;
const REVERSE: bool = false;
const RESET_AFTER: bool = true;
const HAS_BIAS: bool = false;
const HAS_H0: bool = false;
const HAS_MASK: bool = false;
const HAS_GATES: bool = true;
const HAS_DH: bool = true;
const HAS_DHW: bool = false;
const HAS_DH0: bool = false;
const H0_AT: u32 = 0;
const MASK_AT: u32 = 0;

const SMALL: bool = true;
const WIDTH: u32 = 32;
const SLICES: u32 = 1;
// Workgroup memory: where SMALL, 3 UNITS, then the sums.
const SHARED: u32 = 3;
const PARTIALS: u32 = 3;

const THREADS: u32 = WIDTH * SLICES;
const COLUMNS: u32 = 3 * UNITS;

// body
fn activate(v: vec4<f32>) -> vec4<f32> { return tanh(v); }
fn derivative(v: vec4<f32>) -> vec4<f32> { return 1.0 - v * v; }
fn activate_gate(v: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-v)); }
fn derivative_gate(v: vec4<f32>) -> vec4<f32> { return v * (1.0 - v); }
// end body

@group(0) @binding(0) var<storage, read_write> h_out: array<f32>;
@group(0) @binding(1) var<storage, read_write> gates_out: array<f32>;
@group(0) @binding(2) var<storage, read> xw: array<f32>;
@group(0) @binding(3) var<storage, read> wr: array<f32>;
@group(0) @binding(4) var<storage, read> bias2: array<f32>;
@group(0) @binding(5) var<storage, read> h0: array<f32>;
@group(0) @binding(6) var<storage, read> mask: array<u32>;

fn load_h(at: vec4<u32>) -> vec4<f32> { return vec4(h_out[at.x], h_out[at.y], h_out[at.z], h_out[at.w]); }
fn store_h(at: vec4<u32>, v: vec4<f32>) { h_out[at.x] = v.x; h_out[at.y] = v.y; h_out[at.z] = v.z; h_out[at.w] = v.w; }
fn load_gate(at: vec4<u32>) -> vec4<f32> { return vec4(gates_out[at.x], gates_out[at.y], gates_out[at.z], gates_out[at.w]); }
fn store_gate(at: vec4<u32>, v: vec4<f32>) { gates_out[at.x] = v.x; gates_out[at.y] = v.y; gates_out[at.z] = v.z; gates_out[at.w] = v.w; }
fn load_xw(at: vec4<u32>) -> vec4<f32> { return vec4(xw[at.x], xw[at.y], xw[at.z], xw[at.w]); }
fn load_h0(at: vec4<u32>) -> vec4<f32> { return vec4(h0[at.x], h0[at.y], h0[at.z], h0[at.w]); }

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

// p of a step.
fn reset_of(rows: vec4<u32>, unit: u32) -> vec4<f32> {
  if (SMALL) {
    return recurrent_memory[2u * UNITS + unit];
  }
  return load_gate(rows * (4u * UNITS) + 3u * UNITS + unit);
}

@compute @workgroup_size(THREADS)
fn gru(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let lane = local % WIDTH;
  let chunk = (UNITS + SLICES - 1u) / SLICES;
  let begin = slice * chunk;
  let end = min(begin + chunk, UNITS);
  if (SMALL) {
    if (local < UNITS) {
      if (HAS_H0) {
        recurrent_memory[lane] = load_h0(sequences * UNITS + lane);
      } else {
        recurrent_memory[lane] = vec4(0.0);
      }
    }
    workgroupBarrier();
  }
  // Of the unit `lane`, from the first product to the second.
  var z = vec4(0.0);
  var r = vec4(0.0);
  for (var step = 0u; step < STEPS; step++) {
    let multiplied = HAS_H0 || step > 0u;
    let rows = recurrent_rows(sequences, step);
    var kept = vec4(false);
    if (HAS_MASK) {
      kept = vec4(mask[rows.x], mask[rows.y], mask[rows.z], mask[rows.w]) == vec4(0u);
    }
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = min(first + lane, UNITS - 1u);
      let owner = slice == 0u && first + lane < UNITS;
      z = vec4(0.0);
      r = vec4(0.0);
      var q = vec4(0.0);
      if (owner) {
        z = load_xw(rows * COLUMNS + unit);
        r = load_xw(rows * COLUMNS + unit + UNITS);
        if (HAS_BIAS) {
          z += bias2[unit];
          r += bias2[unit + UNITS];
          q = vec4(bias2[unit + 2u * UNITS]);
        }
      }
      if (multiplied) {
        for (var k = begin; k < end; k++) {
          let v = hidden_before(sequences, step, k);
          let at = k * COLUMNS + unit;
          z += v * wr[at];
          r += v * wr[at + UNITS];
          if (RESET_AFTER) {
            q += v * wr[at + 2u * UNITS];
          }
        }
      }
      if (SLICES > 1u) {
        if (slice > 0u) {
          let at = PARTIALS + (slice - 1u) * 3u * WIDTH + lane;
          recurrent_memory[at] = z;
          recurrent_memory[at + WIDTH] = r;
          recurrent_memory[at + 2u * WIDTH] = q;
        }
        workgroupBarrier();
        if (owner) {
          for (var s = 1u; s < SLICES; s++) {
            let at = PARTIALS + (s - 1u) * 3u * WIDTH + lane;
            z += recurrent_memory[at];
            r += recurrent_memory[at + WIDTH];
            q += recurrent_memory[at + 2u * WIDTH];
          }
        }
      }
      if (owner) {
        var hidden = vec4(0.0);
        if (multiplied) {
          hidden = hidden_before(sequences, step, unit);
        }
        z = activate_gate(z);
        r = activate_gate(r);
        let gate_at = rows * (4u * UNITS) + unit;
        if (RESET_AFTER) {
          let candidate = activate(load_xw(rows * COLUMNS + unit + 2u * UNITS) + r * q);
          let next = select(z * hidden + (1.0 - z) * candidate, hidden, kept);
          store_h(rows * UNITS + unit, next);
          if (SMALL) {
            recurrent_memory[((step + 1u) & 1u) * UNITS + unit] = next;
          }
          if (HAS_GATES) {
            store_gate(gate_at + 2u * UNITS, select(candidate, vec4(0.0), kept));
            store_gate(gate_at + 3u * UNITS, select(q, vec4(0.0), kept));
          }
        } else {
          let p = select(r * hidden, vec4(0.0), kept);
          if (SMALL) {
            recurrent_memory[2u * UNITS + unit] = p;
          }
          if (HAS_GATES) {
            store_gate(gate_at + 3u * UNITS, p);
          }
        }
        if (HAS_GATES) {
          store_gate(gate_at, select(z, vec4(0.0), kept));
          store_gate(gate_at + UNITS, select(r, vec4(0.0), kept));
        }
      }
    }
    if (!RESET_AFTER) {
      storageBarrier();
      workgroupBarrier();
      for (var first = 0u; first < UNITS; first += WIDTH) {
        let unit = min(first + lane, UNITS - 1u);
        let owner = slice == 0u && first + lane < UNITS;
        var candidate = vec4(0.0);
        if (owner) {
          candidate = load_xw(rows * COLUMNS + unit + 2u * UNITS);
        }
        if (multiplied) {
          for (var k = begin; k < end; k++) {
            candidate += reset_of(rows, k) * wr[k * COLUMNS + unit + 2u * UNITS];
          }
        }
        candidate = recurrent_join(candidate, slice, lane);
        if (owner) {
          let gate_at = rows * (4u * UNITS) + unit;
          var hidden = vec4(0.0);
          if (multiplied) {
            hidden = hidden_before(sequences, step, unit);
          }
          if (!SMALL) {
            z = load_gate(gate_at);
          }
          candidate = activate(candidate);
          let next = select(z * hidden + (1.0 - z) * candidate, hidden, kept);
          store_h(rows * UNITS + unit, next);
          if (SMALL) {
            recurrent_memory[((step + 1u) & 1u) * UNITS + unit] = next;
          }
          if (HAS_GATES) {
            store_gate(gate_at + 2u * UNITS, select(candidate, vec4(0.0), kept));
          }
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
  }
}

@group(0) @binding(0) var<storage, read_write> dxw_out: array<f32>;
@group(0) @binding(1) var<storage, read_write> dhw_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh0_out: array<f32>;
@group(0) @binding(4) var<storage, read> dh: array<f32>;
@group(0) @binding(5) var<storage, read> states: array<f32>;
@group(0) @binding(6) var<storage, read> saved: array<f32>;
@group(0) @binding(7) var<storage, read> extra: array<u32>;

fn load_dxw(at: vec4<u32>) -> vec4<f32> { return vec4(dxw_out[at.x], dxw_out[at.y], dxw_out[at.z], dxw_out[at.w]); }
fn store_dxw(at: vec4<u32>, v: vec4<f32>) { dxw_out[at.x] = v.x; dxw_out[at.y] = v.y; dxw_out[at.z] = v.z; dxw_out[at.w] = v.w; }
fn load_dhw(at: vec4<u32>) -> vec4<f32> { return vec4(dhw_out[at.x], dhw_out[at.y], dhw_out[at.z], dhw_out[at.w]); }
fn store_dhw(at: vec4<u32>, v: vec4<f32>) { dhw_out[at.x] = v.x; dhw_out[at.y] = v.y; dhw_out[at.z] = v.z; dhw_out[at.w] = v.w; }
fn load_dh0(at: vec4<u32>) -> vec4<f32> { return vec4(dh0_out[at.x], dh0_out[at.y], dh0_out[at.z], dh0_out[at.w]); }
fn store_dh0(at: vec4<u32>, v: vec4<f32>) { dh0_out[at.x] = v.x; dh0_out[at.y] = v.y; dh0_out[at.z] = v.z; dh0_out[at.w] = v.w; }
fn load_dh(at: vec4<u32>) -> vec4<f32> { return vec4(dh[at.x], dh[at.y], dh[at.z], dh[at.w]); }
fn load_states(at: vec4<u32>) -> vec4<f32> { return vec4(states[at.x], states[at.y], states[at.z], states[at.w]); }
fn load_saved(at: vec4<u32>) -> vec4<f32> { return vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]); }
fn load_extra(at: vec4<u32>) -> vec4<u32> { return vec4(extra[at.x], extra[at.y], extra[at.z], extra[at.w]); }

fn state_before(sequences: vec4<u32>, step: u32, unit: u32) -> vec4<f32> {
  if (step > 0u) {
    return load_states(recurrent_rows(sequences, step - 1u) * UNITS + unit);
  }
  if (HAS_H0) {
    return bitcast<vec4<f32>>(load_extra(H0_AT + sequences * UNITS + unit));
  }
  return vec4(0.0);
}

// Slice `slice` of the gradient of a unit of h[t-1] through columns [first, last) of h[t-1] wr + bias2.
fn product(rows: vec4<u32>, unit: u32, slice: u32, first: u32, last: u32) -> vec4<f32> {
  let chunk = (last - first + SLICES - 1u) / SLICES;
  let begin = first + slice * chunk;
  let end = min(begin + chunk, last);
  var sum = vec4(0.0);
  for (var n = begin; n < end; n++) {
    var d = vec4(0.0);
    if (SMALL) {
      d = recurrent_memory[n];
    } else if (RESET_AFTER) {
      d = load_dhw(rows * COLUMNS + n);
    } else {
      d = load_dxw(rows * COLUMNS + n);
    }
    sum += d * wr[n * UNITS + unit];
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn gruGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let lane = local % WIDTH;
  // The gradient of h before the step, as far as it is known.
  var dhidden = vec4(0.0);
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
        let at = rows * COLUMNS + unit;
        let gate_at = rows * (4u * UNITS) + unit;
        if (!SMALL) {
          dhidden = vec4(0.0);
          if (left < STEPS) {
            dhidden = load_dh0(state_at);
          }
        }
        if (HAS_DH) {
          dhidden += load_dh(rows * UNITS + unit);
        }
        let z = load_saved(gate_at);
        let candidate = load_saved(gate_at + 2u * UNITS);
        let before = state_before(sequences, step, unit);
        let dz = select(dhidden * (before - candidate) * derivative_gate(z), vec4(0.0), kept);
        let dcandidate = select(dhidden * (1.0 - z) * derivative(candidate), vec4(0.0), kept);
        var dentering = dcandidate;
        dhidden = select(dhidden * z, dhidden, kept);
        store_dxw(at, dz);
        store_dxw(at + 2u * UNITS, dcandidate);
        if (RESET_AFTER) {
          let r = load_saved(gate_at + UNITS);
          let dr = dcandidate * load_saved(gate_at + 3u * UNITS) * derivative_gate(r);
          dentering *= r;
          store_dxw(at + UNITS, dr);
          if (SMALL) {
            recurrent_memory[unit + UNITS] = dr;
          }
          if (HAS_DHW) {
            store_dhw(at + UNITS, dr);
          }
        }
        if (HAS_DHW) {
          store_dhw(at, dz);
          store_dhw(at + 2u * UNITS, dentering);
        }
        if (SMALL) {
          recurrent_memory[unit] = dz;
          recurrent_memory[unit + 2u * UNITS] = dentering;
        } else {
          store_dh0(state_at, dhidden);
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
    if (!RESET_AFTER) {
      for (var first = 0u; first < UNITS; first += WIDTH) {
        let unit = min(first + lane, UNITS - 1u);
        let dreset = recurrent_join(product(rows, unit, slice, 2u * UNITS, 3u * UNITS), slice, lane);
        if (slice == 0u && first + lane < UNITS) {
          let r = load_saved(rows * (4u * UNITS) + unit + UNITS);
          let dr = dreset * state_before(sequences, step, unit) * derivative_gate(r);
          store_dxw(rows * COLUMNS + unit + UNITS, dr);
          if (HAS_DHW) {
            store_dhw(rows * COLUMNS + unit + UNITS, dr);
          }
          if (SMALL) {
            recurrent_memory[unit + UNITS] = dr;
            dhidden += dreset * r;
          } else {
            let at = sequences * UNITS + unit;
            store_dh0(at, load_dh0(at) + dreset * r);
          }
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
    if (step == 0u && !HAS_DH0) {
      break;
    }
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = min(first + lane, UNITS - 1u);
      let sum = recurrent_join(product(rows, unit, slice, 0u, select(2u, 3u, RESET_AFTER) * UNITS), slice, lane);
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
  if (SMALL && HAS_DH0 && local < UNITS) {
    store_dh0(sequences * UNITS + lane, dhidden);
  }
}
