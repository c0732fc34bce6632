// map(inputs...) -> outputs...: a fused elementwise body, one element (or four, as vec4) per invocation. The body declares the bindings
// (one per tensor; an output in the place of an input is bound once) and `element(i)`, which computes the i-th element or vec4 of every
// output. Inputs are read with the strides baked into the body.

// Invocations with work to do.
const COUNT: u32 = 1;

// body
@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(1) var<storage, read_write> y0: array<f32>;

fn element(i: u32) {
  y0[i] = -x0[i];
}
// end body

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i < COUNT) {
    element(i);
  }
}
