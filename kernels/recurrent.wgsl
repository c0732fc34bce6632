// What lstm.wgsl, gru.wgsl and simple-rnn.wgsl share; the constants are theirs.
//
// A workgroup takes four sequences through all steps: every value is a vec4 with a sequence in each lane, so that one element
// of wr serves four products; past the last sequence lanes repeat it. Invocation (slice, lane) sums its slice of a
// product for the unit `lane`; slice 0, the owner of the unit, then joins the sums and does the rest. SMALL: a workgroup has
// an invocation for every unit, what the product multiplies is in workgroup memory, and states and their gradients are
// in registers. Otherwise invocations take a unit after the other, and all of it is in the buffers, even those that nobody else
// reads. Sums are added in an order that depends on shapes only.

const BATCH: u32 = 1;
const STEPS: u32 = 1;
const REVERSE: bool = false;
const WIDTH: u32 = 32;
const SLICES: u32 = 1;
// vec4s of workgroup memory, and where among them the sums of all slices but one are.
const SHARED: u32 = 1;
const PARTIALS: u32 = 0;

var<workgroup> recurrent_memory: array<vec4<f32>, SHARED>;

// The four sequences of a workgroup.
fn recurrent_sequences(group: u32) -> vec4<u32> {
  return min(vec4(group * 4u) + vec4(0u, 1u, 2u, 3u), vec4(BATCH - 1u));
}

// Rows b * STEPS + t of the sequences at the step-th step.
fn recurrent_rows(sequences: vec4<u32>, step: u32) -> vec4<u32> {
  return sequences * STEPS + select(step, STEPS - 1u - step, REVERSE);
}

// The sum over slices, for owners. What the slices read may be written after it; between two of these must be a barrier.
fn recurrent_join(sum: vec4<f32>, slice: u32, lane: u32) -> vec4<f32> {
  if (slice > 0u) {
    recurrent_memory[PARTIALS + (slice - 1u) * WIDTH + lane] = sum;
  }
  workgroupBarrier();
  var total = sum;
  if (slice == 0u) {
    for (var s = 1u; s < SLICES; s++) {
      total += recurrent_memory[PARTIALS + (s - 1u) * WIDTH + lane];
    }
  }
  return total;
}
