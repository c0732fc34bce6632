/**
 * @file Numbers of the elementwise steps of `map`: STEP_ and the op's name in capitals. Shared by the encoder, which finds a step's number
 * by its place in step-names.ts, and assembly/map.ts, which has one case per number. i32 variants where they differ.
 */
export const STEP_CONST = 0;
export const STEP_ADD = 1;
export const STEP_SUB = 2;
export const STEP_MUL = 3;
export const STEP_DIV = 4;
export const STEP_POW = 5;
export const STEP_MAXIMUM = 6;
export const STEP_MINIMUM = 7;
export const STEP_MOD = 8;
export const STEP_NEG = 9;
export const STEP_ABS = 10;
export const STEP_SIGN = 11;
export const STEP_FLOOR = 12;
export const STEP_CEIL = 13;
export const STEP_ROUND = 14;
export const STEP_EXP = 15;
export const STEP_LOG = 16;
export const STEP_EXPM1 = 17;
export const STEP_LOG1P = 18;
export const STEP_SQRT = 19;
export const STEP_RSQRT = 20;
export const STEP_SQUARE = 21;
export const STEP_RECIPROCAL = 22;
export const STEP_SIN = 23;
export const STEP_COS = 24;
export const STEP_TANH = 25;
export const STEP_SIGMOID = 26;
export const STEP_ERF = 27;
export const STEP_RELU = 28;
export const STEP_EQUAL = 29;
export const STEP_NOTEQUAL = 30;
export const STEP_LESS = 31;
export const STEP_LESSEQUAL = 32;
export const STEP_GREATER = 33;
export const STEP_GREATEREQUAL = 34;
export const STEP_AND = 35;
export const STEP_OR = 36;
export const STEP_XOR = 37;
export const STEP_NOT = 38;
export const STEP_ISFINITE = 39;
export const STEP_WHERE = 40;
export const STEP_ERFC = 41;
export const STEP_STORE = 42;
// What src/wasm/encode/map/fused.ts makes of several steps: a * b + c, c - a * b, and the whole of adam and of gelu.
export const STEP_MADD = 43;
export const STEP_MSUB = 44;
export const STEP_ADAM = 45;
export const STEP_GELU = 46;

/** Added to a step's number for operands of another type than f32. */
export const TYPE_I32 = 64;
export const TYPE_U32 = 128;
export const TYPE_BOOL = 192;

// cast has a number for each pair of types that changes bits; the others are STEP_STORE.
export const STEP_CASTS = 256;
export const STEP_CAST_F32_I32 = 256;
export const STEP_CAST_F32_U32 = 257;
export const STEP_CAST_F32_BOOL = 258;
export const STEP_CAST_I32_F32 = 259;
export const STEP_CAST_U32_F32 = 260;
export const STEP_CAST_INT_BOOL = 261;
