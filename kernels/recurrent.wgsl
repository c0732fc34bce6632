// Recurrent layers over whole sequences, and their gradients: what lstm.wgsl, gru.wgsl and simple-rnn.wgsl share. All go in turns, one or
// two for a step: for every unit sums of products of vectors, which the turn before has left, with columns of wr; then what the cell makes
// of them. Gradients go the other way through the steps and multiply by wr transposed.
//
// A workgroup has four sequences: every value is a vec4 with a sequence in each lane, so that one element of wr serves four
// products; past the last sequence lanes repeat it. Invocation (slice, lane) sums its slice of the products of one unit; slice 0, the
// owner of the unit, then joins the sums and does the rest. Sums are added in an order that depends on shapes only.
//
// TOGETHER: a workgroup has an invocation for every unit and takes all turns in one dispatch; vectors are in workgroup memory. Otherwise
// units are cut into BLOCKS of WIDTH, each of a workgroup of its own, and every turn is a dispatch: the number of workgroups along x
// beyond BLOCKS (which have nothing to do) is that of the turn, so that all turns are one pipeline with one set of buffers; those along y
// and z are of the sequences. Vectors are in `vectors`, those read and those written apart, since workgroups of one turn do not wait for
// each other.
//
// Hooks: cell(c, sums); turn_of(turn), what is multiplied, where that is not the same at every turn; read_vector and write_vector,
// `shared_*` where TOGETHER, else `stored_*`; activate, derivative, activate_gate, derivative_gate: of the candidate (and the LSTM's
// output) and of gates.
//
// `extra` holds the operands that are often absent, those that there are, at the elements *_AT (OUTSIDE: there is none): eight buffers are
// all that every device can bind. h0, c0 and factors are [BATCH,UNITS], mask [BATCH,STEPS]: where it is 0 the state is kept, and gates and
// gradients are 0. Factors multiply what a step reads of h (recurrent dropout, constant over steps), and so the gradients that come back
// from there.

const BATCH: u32 = 1;
const STEPS: u32 = 1;
const UNITS: u32 = 1;
const REVERSE: bool = false;
const TURNS: u32 = 1;
// Elements of a row of wr, and the most sums of a unit.
const ROW: u32 = 1;
const SUMS: u32 = 1;
// Vectors that a turn may leave.
const VECTORS: u32 = 1;

const TOGETHER: bool = true;
const BLOCKS: u32 = 1;
const WIDTH: u32 = 32;
const SLICES: u32 = 1;
// vec4s of workgroup memory, and where among them the sums of all slices but one are.
const SHARED: u32 = 1;
const PARTIALS: u32 = 0;

const H0_AT: u32 = OUTSIDE;
const MASK_AT: u32 = OUTSIDE;
const FACTORS_AT: u32 = OUTSIDE;
const HAS_H0: bool = H0_AT != OUTSIDE;

// Results: h or the gradient of xw, and a second one; gates, written forward, read backward; what is read of each step: xw, or h or c.
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read_write> second: array<f32>;
@group(0) @binding(2) var<storage, read_write> gates: array<f32>;
@group(0) @binding(2) var<storage, read> saved: array<f32>;
@group(0) @binding(3) var<storage, read> given: array<f32>;
@group(0) @binding(4) var<storage, read> wr: array<f32>;
@group(0) @binding(5) var<storage, read> extra: array<u32>;
@group(0) @binding(6) var<storage, read_write> vectors: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dh0: array<f32>;

var<workgroup> recurrent_memory: array<vec4<f32>, SHARED>;

// An owner at a turn.
struct Cell { turn: u32, group: u32, unit: u32, sequences: vec4<u32> }

// The vectors [first, first + terms) times rows of the same numbers of wr, `count` columns of these: column + unit, and so on UNITS apart.
struct Turn { first: u32, terms: u32, column: u32, count: u32 }

fn read_result(at: vec4<u32>) -> vec4<f32> { return vec4(result[at.x], result[at.y], result[at.z], result[at.w]); }
fn write_result(at: vec4<u32>, v: vec4<f32>) { result[at.x] = v.x; result[at.y] = v.y; result[at.z] = v.z; result[at.w] = v.w; }
fn read_second(at: vec4<u32>) -> vec4<f32> { return vec4(second[at.x], second[at.y], second[at.z], second[at.w]); }
fn write_second(at: vec4<u32>, v: vec4<f32>) { second[at.x] = v.x; second[at.y] = v.y; second[at.z] = v.z; second[at.w] = v.w; }
fn read_gates(at: vec4<u32>) -> vec4<f32> { return vec4(gates[at.x], gates[at.y], gates[at.z], gates[at.w]); }
fn write_gates(at: vec4<u32>, v: vec4<f32>) { gates[at.x] = v.x; gates[at.y] = v.y; gates[at.z] = v.z; gates[at.w] = v.w; }
fn read_dh0(at: vec4<u32>) -> vec4<f32> { return vec4(dh0[at.x], dh0[at.y], dh0[at.z], dh0[at.w]); }
fn write_dh0(at: vec4<u32>, v: vec4<f32>) { dh0[at.x] = v.x; dh0[at.y] = v.y; dh0[at.z] = v.z; dh0[at.w] = v.w; }
fn read_saved(at: vec4<u32>) -> vec4<f32> { return vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]); }
fn read_given(at: vec4<u32>) -> vec4<f32> { return vec4(given[at.x], given[at.y], given[at.z], given[at.w]); }
fn read_bits(at: vec4<u32>) -> vec4<u32> { return vec4(extra[at.x], extra[at.y], extra[at.z], extra[at.w]); }
fn read_extra(at: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(read_bits(at)); }

fn derivative_vector(v: vec4<f32>) -> vec4<f32> { return vec4(derivative(v.x), derivative(v.y), derivative(v.z), derivative(v.w)); }
fn gate_vector(v: vec4<f32>) -> vec4<f32> { return vec4(activate_gate(v.x), activate_gate(v.y), activate_gate(v.z), activate_gate(v.w)); }
fn derivative_gate_vector(v: vec4<f32>) -> vec4<f32> {
  return vec4(derivative_gate(v.x), derivative_gate(v.y), derivative_gate(v.z), derivative_gate(v.w));
}

// All vectors, none at the first turn.
fn turn_of(turn: u32) -> Turn {
  return Turn(0u, select(VECTORS, 0u, turn == 0u), 0u, SUMS);
}

// Rows b * STEPS + t at the step-th step.
fn rows_at(c: Cell, step: u32) -> vec4<u32> {
  return c.sequences * STEPS + select(step, STEPS - 1u - step, REVERSE);
}

// Where the state is kept.
fn kept_at(rows: vec4<u32>) -> vec4<bool> {
  if (MASK_AT != OUTSIDE) {
    return read_bits(MASK_AT + rows) == vec4(0u);
  }
  return vec4(false);
}

// What is read of h, and the gradient that comes back from there.
fn dropped(c: Cell, v: vec4<f32>) -> vec4<f32> {
  if (FACTORS_AT != OUTSIDE) {
    return v * read_extra(FACTORS_AT + c.sequences * UNITS + c.unit);
  }
  return v;
}

// h0, or 0.
fn first_state(c: Cell) -> vec4<f32> {
  if (HAS_H0) {
    return read_extra(H0_AT + c.sequences * UNITS + c.unit);
  }
  return vec4<f32>();
}

// Forward: h before a step.
fn state_before(c: Cell, step: u32) -> vec4<f32> {
  if (step > 0u) {
    return read_result(rows_at(c, step - 1u) * UNITS + c.unit);
  }
  return first_state(c);
}

// Backward: the gradient of h before the turn before, as far as it does not come through vectors.
fn dh_before(c: Cell) -> vec4<f32> {
  if (c.turn > 0u) {
    return read_dh0(c.sequences * UNITS + c.unit);
  }
  return vec4<f32>();
}

fn shared_read(group: u32, turn: u32, i: u32) -> vec4<f32> {
  return recurrent_memory[i];
}

fn shared_write(c: Cell, i: u32, v: vec4<f32>) {
  recurrent_memory[i] = v;
}

fn stored_read(group: u32, turn: u32, i: u32) -> vec4<f32> {
  return vectors[(group * 2u + turn % 2u) * VECTORS + i];
}

fn stored_write(c: Cell, i: u32, v: vec4<f32>) {
  vectors[(c.group * 2u + (c.turn + 1u) % 2u) * VECTORS + i] = v;
}

@compute @workgroup_size(WIDTH, SLICES)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let group = select(id.y + id.z * groups.y, id.x + id.y * groups.x, TOGETHER);
  let block = select(id.x, 0u, TOGETHER);
  if (group * 4u >= BATCH || block >= BLOCKS) {
    return;
  }
  let lane = local.x;
  let slice = local.y;
  let unit = block * WIDTH + lane;
  let column = min(unit, UNITS - 1u);
  let sequences = min(vec4(group * 4u) + vec4(0u, 1u, 2u, 3u), vec4(BATCH - 1u));
  var turn = select(groups.x - BLOCKS, 0u, TOGETHER);
  let end = select(turn + 1u, TURNS, TOGETHER);
  for (; turn < end; turn++) {
    let t = turn_of(turn);
    let chunk = (t.terms + SLICES - 1u) / SLICES;
    var sums = mat4x4<f32>();
    for (var k = t.first + slice * chunk; k < t.first + min(slice * chunk + chunk, t.terms); k++) {
      let v = read_vector(group, turn, k);
      let at = k * ROW + t.column + column;
      sums[0] += v * wr[at];
      if (t.count > 1u) {
        sums[1] += v * wr[at + UNITS];
      }
      if (t.count > 2u) {
        sums[2] += v * wr[at + 2u * UNITS];
      }
      if (t.count > 3u) {
        sums[3] += v * wr[at + 3u * UNITS];
      }
    }
    if (slice > 0u) {
      for (var s = 0u; s < SUMS; s++) {
        recurrent_memory[PARTIALS + ((slice - 1u) * SUMS + s) * WIDTH + lane] = sums[s];
      }
    }
    // What was read may be overwritten now.
    workgroupBarrier();
    if (slice == 0u && unit < UNITS) {
      for (var other = 0u; other < SLICES - 1u; other++) {
        for (var s = 0u; s < SUMS; s++) {
          sums[s] += recurrent_memory[PARTIALS + (other * SUMS + s) * WIDTH + lane];
        }
      }
      cell(Cell(turn, group, unit, sequences), sums);
    }
    workgroupBarrier();
  }
}
