/**
 * @file Types and casts in the numbers of elementwise steps of `map`, whose ops step-names.ts numbers. Shared by the encoder and assembly/, which has one case per number, i32
 * variants where they differ, and takes numbers only.
 */
/** Added to a step's number for operands of another type than f32. */
export const TYPE_I32 = 64;
export const TYPE_U32 = 128;
export const TYPE_BOOL = 192;

// cast has a number for each pair of types that changes bits; the others are the step "store".
export const STEP_CASTS = 256;
export const STEP_CAST_F32_I32 = 256;
export const STEP_CAST_F32_U32 = 257;
export const STEP_CAST_F32_BOOL = 258;
export const STEP_CAST_I32_F32 = 259;
export const STEP_CAST_U32_F32 = 260;
export const STEP_CAST_INT_BOOL = 261;
