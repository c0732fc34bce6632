/**
 * @file The constants that kernels read (math.ts says how its polynomials were fitted), in one table at the beginning of the memory.
 * The whole module and the core write it there; parts, which share the core's memory, only know where it is.
 */

/** Where the compiler puts static data: --memoryBase in scripts/wasm.js. */
const BASE: usize = 64;

const TABLE: usize = PART
  ? BASE
  : memory.data<f32>([
      // NUMBERS
      1.44269504088896341, -0.693145751953125, -1.428606765330187e-6, 12583166, 12583039, 25166078, -104, 0.6931471805599453, 89, 1, 2,
      9.02, 3.95, 80, -0.5, 1.17549435e-38, 23, 1.428606765330187e-6, 0.693145751953125, 3.4028234663852886e38,
      // EXP
      0.001383643364533782, 0.00836913101375103, 0.041668105870485306, 0.16666516661643982, 0.4999999403953552,
      // EXPM1
      2.5410312446183525e-5, 0.00020106213924009353, 0.0013886312954127789, 0.00833257008343935, 0.04166669026017189, 0.16666673123836517,
      0.5,
      // EXPM1_SHORT
      0.0013839015737175941, 0.008367069996893406, 0.041667744517326355, 0.16666539013385773, 0.4999999701976776,
      // ERF
      -9.38598077482311e-6, 0.00011884818377438933, -0.0006373308133333921, 0.001675638952292502, -0.0001694845996098593,
      -0.019147826358675957, 0.10277630388736725, 0.6366195678710938, 0.12837916612625122,
      // LOG
      0.05317102372646332, -0.10904499143362045, 0.12112025916576385, -0.1255202442407608, 0.1420944333076477, -0.16659215092658997,
      0.20002225041389465, -0.2500016987323761, 0.3333331346511841,
      // SIN
      -0.00019517897453624755, 0.008332187309861183, -0.16666655242443085,
      // COS
      2.4432327336398885e-5, -0.0013887309469282627, 0.04166664555668831,
      // EXP_TIMES
      5.051524639129639, 20.08717918395996, 60.25691223144531, 120.5164566040039, 120.5165023803711, 1.000244140625, -1.00048828125,
      // ERFC
      -0.016683265566825867, 0.20398560166358948, -0.5227160453796387, 0.5303887128829956, -0.32631704211235046, 0.18124642968177795,
      0.06911755353212357, 0.04008667543530464, -0.23143944144248962, -0.504501223564148, 10.1, 0.75,
      // GELU
      -0.07078338414430618, 0.24923281371593475, -0.20442968606948853, 0.22792311012744904, 0.012058920226991177, 0.1031336858868599,
      0.09033636748790741, 0.09252823144197464, 0.2316419, 0.3989422804014327,
    ]);

/** Single numbers (math.ts). */
export const NUMBERS: usize = TABLE;
/** exp r for |r| <= ln(2) / 2, without the powers 0 and 1, whose coefficients are 1. */
export const EXP: usize = TABLE + 80;
/** expm1 r for |r| <= ln 2, without the power 1. */
export const EXPM1: usize = TABLE + 100;
/** expm1 r for |r| <= ln(2) / 2, without the power 1. */
export const EXPM1_SHORT: usize = TABLE + 128;
/** q of erf's formula. */
export const ERF: usize = TABLE + 148;
/** (log(1 + f) - f + f^2 / 2) / f^3 */
export const LOG: usize = TABLE + 184;
/** (sin r - r) / r^3 in r^2, for |r| <= pi/4. */
export const SIN: usize = TABLE + 220;
/** (cos r - 1 + r^2 / 2) / r^4 in r^2, for |r| <= pi/4. */
export const COS: usize = TABLE + 232;
/**
 * FACTOR exp r for |r| <= ln(2) / 2 with a relative error of 9.3e-8, fitted as those of math.ts are, without the highest power:
 * the factor, which sums of exponentials have in common, makes its coefficient 1, and an addition does the work of a multiply-add.
 * Then the numbers of `fused` in softmax.ts.
 */
export const EXP_TIMES: usize = TABLE + 244;
/** (exp(a^2) erfc(a) / t - 1) / u, in u, with t = 1 / (1 + 3/4 a) and u = 1 - t; then where erfc ends, and 3/4. */
export const ERFC: usize = TABLE + 272;
/** (1 - Phi(a)) exp(a^2 / 2) / t in t = 1 / (1 + p a); then p, and phi(0). */
export const GELU: usize = TABLE + 320;
