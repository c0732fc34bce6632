// The plain recurrent layer over whole sequences, and its gradient. Layouts: xw, h, dh, dxw [BATCH,STEPS,UNITS]; h0, dh0 [BATCH,UNITS];
// mask [BATCH,STEPS]. Where mask is 0 the state is kept, and dxw is 0.
//
// simpleRnn      xw, wr[UNITS, UNITS], h0?, mask? -> h;  h[t] = activation(xw[t] + h[t-1] wr)
// simpleRnnGrad  dh?, wr transposed [UNITS, UNITS], h, mask? -> dxw, dh0?
//
// See recurrent.wgsl for how the work is shared out. Where not SMALL, simpleRnnGrad needs dh0, to carry the gradient.
// The body gives the activation and its derivative in terms of what it gave.
//
// Elman, "Finding Structure in Time", 1990.

const BATCH: u32 = 1;
const STEPS: u32 = 1;
const UNITS: u32 = 1;
const REVERSE: bool = false;
const HAS_H0: bool = false;
const HAS_MASK: bool = false;
const HAS_DH: bool = true;
const HAS_DH0: bool = false;

const SMALL: bool = true;
const WIDTH: u32 = 32;
const SLICES: u32 = 1;
// Workgroup memory: where SMALL, 2 UNITS, then the sums.
const SHARED: u32 = 2;
const PARTIALS: u32 = 2;

const THREADS: u32 = WIDTH * SLICES;
const CHUNK: u32 = (UNITS + SLICES - 1) / SLICES;

// body
fn activate(v: vec4<f32>) -> vec4<f32> { return tanh(v); }
fn derivative(v: vec4<f32>) -> vec4<f32> { return 1.0 - v * v; }
// end body

@group(0) @binding(0) var<storage, read_write> h_out: array<f32>;
@group(0) @binding(1) var<storage, read> xw: array<f32>;
@group(0) @binding(2) var<storage, read> wr: array<f32>;
@group(0) @binding(3) var<storage, read> h0: array<f32>;
@group(0) @binding(4) var<storage, read> mask: array<u32>;

fn load_h(at: vec4<u32>) -> vec4<f32> { return vec4(h_out[at.x], h_out[at.y], h_out[at.z], h_out[at.w]); }
fn store_h(at: vec4<u32>, v: vec4<f32>) { h_out[at.x] = v.x; h_out[at.y] = v.y; h_out[at.z] = v.z; h_out[at.w] = v.w; }
fn load_xw(at: vec4<u32>) -> vec4<f32> { return vec4(xw[at.x], xw[at.y], xw[at.z], xw[at.w]); }
fn load_h0(at: vec4<u32>) -> vec4<f32> { return vec4(h0[at.x], h0[at.y], h0[at.z], h0[at.w]); }

// Where the state is kept.
fn kept_at(rows: vec4<u32>) -> vec4<bool> {
  if (HAS_MASK) {
    return vec4(mask[rows.x], mask[rows.y], mask[rows.z], mask[rows.w]) == vec4(0u);
  }
  return vec4(false);
}

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
fn simpleRnn(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let lane = local % WIDTH;
  let begin = slice * CHUNK;
  let end = min(begin + CHUNK, UNITS);
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
  for (var step = 0u; step < STEPS; step++) {
    let multiplied = HAS_H0 || step > 0u;
    let rows = recurrent_rows(sequences, step);
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = min(first + lane, UNITS - 1u);
      let owner = slice == 0u && first + lane < UNITS;
      var sum = vec4(0.0);
      if (owner) {
        sum = load_xw(rows * UNITS + unit);
      }
      if (multiplied) {
        for (var k = begin; k < end; k++) {
          sum += hidden_before(sequences, step, k) * wr[k * UNITS + unit];
        }
      }
      sum = recurrent_join(sum, slice, lane);
      if (owner) {
        var hidden = vec4(0.0);
        if (multiplied) {
          hidden = hidden_before(sequences, step, unit);
        }
        hidden = select(activate(sum), hidden, kept_at(rows));
        store_h(rows * UNITS + unit, hidden);
        if (SMALL) {
          recurrent_memory[((step + 1u) & 1u) * UNITS + unit] = hidden;
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
  }
}

@group(0) @binding(0) var<storage, read_write> dxw_out: array<f32>;
@group(0) @binding(1) var<storage, read_write> dh0_out: array<f32>;
@group(0) @binding(3) var<storage, read> dh: array<f32>;
@group(0) @binding(5) var<storage, read> states: array<f32>;

fn load_dxw(at: vec4<u32>) -> vec4<f32> { return vec4(dxw_out[at.x], dxw_out[at.y], dxw_out[at.z], dxw_out[at.w]); }
fn store_dxw(at: vec4<u32>, v: vec4<f32>) { dxw_out[at.x] = v.x; dxw_out[at.y] = v.y; dxw_out[at.z] = v.z; dxw_out[at.w] = v.w; }
fn load_dh0(at: vec4<u32>) -> vec4<f32> { return vec4(dh0_out[at.x], dh0_out[at.y], dh0_out[at.z], dh0_out[at.w]); }
fn store_dh0(at: vec4<u32>, v: vec4<f32>) { dh0_out[at.x] = v.x; dh0_out[at.y] = v.y; dh0_out[at.z] = v.z; dh0_out[at.w] = v.w; }
fn load_dh(at: vec4<u32>) -> vec4<f32> { return vec4(dh[at.x], dh[at.y], dh[at.z], dh[at.w]); }
fn load_states(at: vec4<u32>) -> vec4<f32> { return vec4(states[at.x], states[at.y], states[at.z], states[at.w]); }

@compute @workgroup_size(THREADS)
fn simpleRnnGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let group = id.x + id.y * groups.x;
  if (group * 4u >= BATCH) {
    return;
  }
  let sequences = recurrent_sequences(group);
  let slice = local / WIDTH;
  let lane = local % WIDTH;
  let begin = slice * CHUNK;
  let end = min(begin + CHUNK, UNITS);
  var dhidden = vec4(0.0);
  for (var left = STEPS; left > 0u; left--) {
    let step = left - 1u;
    let rows = recurrent_rows(sequences, step);
    let kept = kept_at(rows);
    for (var first = 0u; first < UNITS; first += WIDTH) {
      let unit = first + lane;
      if (slice == 0u && unit < UNITS) {
        let at = rows * UNITS + unit;
        if (!SMALL) {
          dhidden = vec4(0.0);
          if (left < STEPS) {
            dhidden = load_dh0(sequences * UNITS + unit);
          }
        }
        if (HAS_DH) {
          dhidden += load_dh(at);
        }
        let d = select(dhidden * derivative(load_states(at)), vec4(0.0), kept);
        dhidden = select(vec4(0.0), dhidden, kept);
        store_dxw(at, d);
        if (SMALL) {
          recurrent_memory[unit] = d;
        } else {
          store_dh0(sequences * UNITS + unit, dhidden);
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
        if (SMALL) {
          sum += recurrent_memory[n] * wr[n * UNITS + unit];
        } else {
          sum += load_dxw(rows * UNITS + n) * wr[n * UNITS + unit];
        }
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
  if (SMALL && HAS_DH0 && local < UNITS) {
    store_dh0(sequences * UNITS + lane, dhidden);
  }
}
