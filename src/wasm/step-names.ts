/**
 * @file The elementwise ops and what encode/fused.ts makes of several (madd: a * b + c, msub: c - a * b, the whole of adam), each at its number in command lists: in a list
 * that a download holds in a third of the bytes of a table. The build makes constants of it for assembly/, build/steps.ts: STEP_ and the name in capitals.
 */
export const STEP_NAMES: readonly string[] = (
  "const add sub mul div pow maximum minimum mod neg abs sign floor ceil round exp log expm1 log1p sqrt rsqrt square reciprocal sin cos tanh sigmoid erf erfc relu "
  + "equal notEqual less lessEqual greater greaterEqual and or xor not isFinite where store madd msub adam"
).split(" ");
