// Rows of what moves in a loop. `current` holds how many steps were before; with REVERSE rows are taken from the last one on.
const THREADS: u32 = 256u;
const STEPS: u32 = 3u;
const WORDS: u32 = 8u;
const REVERSE: bool = false;

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> current: array<u32>;
@group(0) @binding(0) var<storage, read_write> counter: array<u32>;

fn first_word() -> u32 {
  return select(current[0], STEPS - 1u - current[0], REVERSE) * WORDS;
}

// y [WORDS] = the step's row of x [STEPS, WORDS]
@compute @workgroup_size(THREADS)
fn read_row(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let word = (id.x + id.y * groups.x) * THREADS + i;
  if (word < WORDS) {
    y[word] = x[first_word() + word];
  }
}

// The step's row of y [STEPS, WORDS] = x [WORDS]
@compute @workgroup_size(THREADS)
fn write_row(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let word = (id.x + id.y * groups.x) * THREADS + i;
  if (word < WORDS) {
    y[first_word() + word] = x[word];
  }
}

@compute @workgroup_size(1)
fn begin() {
  counter[0] = 0u;
}

@compute @workgroup_size(1)
fn next() {
  counter[0] = counter[0] + 1u;
}
