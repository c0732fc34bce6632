/**
 * @file The elementwise ops and what fused.ts makes of several, each at its number in steps.ts: a list that a download holds in a third of
 * the bytes of a table. steps.ts itself is for AssemblyScript too, which takes numbers only.
 */
export const STEP_NAMES: readonly string[] = (
  "const add sub mul div pow maximum minimum mod neg abs sign floor ceil round exp log expm1 log1p sqrt rsqrt square reciprocal sin " +
  "cos tanh sigmoid erf relu " +
  "equal notEqual less lessEqual greater greaterEqual and or xor not isFinite where erfc store madd msub adam gelu"
).split(" ");
