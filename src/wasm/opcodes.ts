/**
 * @file Numbers shared by the encoder (TypeScript) and the kernels (AssemblyScript imports this very file). Plain constants only. The
 * kernels are built whole and in parts: the number of an opcode's part is what PART_SHIFT leaves of it.
 */
export const PART_SHIFT = 5;
export const PART_CONV = 1;
export const PART_RECURRENT = 2;
export const PART_NORM = 3;
export const PART_ATTENTION = 4;
export const PART_PACKED = 5;
/** One more than the last. */
export const PARTS = 6;

// The core: map, reduce, move; products; softmax, loss and norms; random.
export const MAP = 1;
export const REDUCE = 2;
export const COPY = 3;
export const FILL = 4;
export const IOTA = 5;
export const GATHER = 6;
export const SCATTER_ADD = 7;
export const GATHER_BYTES = 8;

export const MATMUL = 10;
export const MATMUL_SMALL = 11;
export const PACK = 12;
export const MATMUL_COMBINE = 13;

export const SOFTMAX = 16;
export const SOFTMAX_GRAD = 17;
export const LOG_SOFTMAX = 18;
export const LOG_SOFTMAX_GRAD = 19;
export const SOFTMAX_CROSS_ENTROPY = 20;

export const RANDOM = 24;
export const PERMUTATION = 25;

export const LOOP = 28;

// Part 1: convolutional networks.
export const CONV2D = 32;
export const CONV2D_FILTER_GRAD = 33;
export const CONV2D_NARROW = 34;
export const CONV2D_NARROW_FILTER_GRAD = 35;
export const WINOGRAD = 36;
export const WINOGRAD_FILTERS = 37;
export const WINOGRAD_INPUT_GRAD = 38;
export const WINOGRAD_TILES = 39;
export const WINOGRAD_FILTER_GRAD = 40;
export const MAX_POOL = 41;
export const MAX_POOL_GRAD = 42;
export const AVG_POOL = 43;
export const AVG_POOL_GRAD = 44;
export const CONV2D_DEPTHWISE = 45;

// Part 2: recurrent layers.
export const LSTM = 64;
export const LSTM_GRAD = 65;
export const GRU = 66;
export const GRU_GRAD = 67;
export const SIMPLE_RNN = 68;
export const SIMPLE_RNN_GRAD = 69;

// Part 3: layer normalization.
export const LAYER_NORM = 96;
export const LAYER_NORM_GRAD = 97;

// Part 4: transformers.
export const ROTARY = 128;
export const ATTENTION = 129;
export const ATTENTION_ROWS = 130;
export const ATTENTION_GRAD = 131;
export const SCATTER_UPDATE = 132;
export const MASS_THRESHOLD = 133;

// Part 5: weights in few bits.
export const PACKED_QUANTIZE = 160;
export const PACKED_MATMUL = 161;
export const PACKED_DOTS = 162;
export const PACKED_ROWS = 163;
export const UNPACK = 164;

// Activations that kernels apply themselves (matmul epilogue, recurrent cells). Each has a derivative that needs only the output.
export const ACT_LINEAR = 0;
export const ACT_RELU = 1;
export const ACT_TANH = 2;
export const ACT_SIGMOID = 3;
export const ACT_HARD_SIGMOID = 4;
export const ACT_SOFTPLUS = 5;
export const ACT_SOFTSIGN = 6;
export const ACT_ELU = 7;
export const ACT_SELU = 8;
export const ACT_LEAKY_RELU = 9;
export const ACT_EXPONENTIAL = 10;
export const ACT_RELU6 = 11;

// Packed weights: the formats, and the most rows of a product whose operand a is not made 8 bits.
export const PACKED_F16 = 0;
export const PACKED_BF16 = 1;
export const PACKED_Q8 = 2;
export const PACKED_Q4 = 3;
export const PACKED_Q4M = 4;
export const PACKED_FEW = 8;

/** Bytes of private working memory that each thread's kernels get, 64-byte aligned. */
export const SCRATCH_BYTES = 1048576;
/** Words before a command's arguments: opcode | barrier << 16, length in words, pieces, pieces taken by threads (0 between runs). */
export const HEADER_WORDS = 4;

/** Words of a loop before its body: steps, words up to the end of the body. */
export const LOOP_HEADER = 2;

// map: elements of a tile, of a piece, words before the dimensions, and how an input is read.
export const MAP_TILE = 512;
export const MAP_PIECE = 16384;
export const MAP_HEADER = 6;
export const MODE_CONTIGUOUS = 0;
export const MODE_SCALAR = 1;
export const MODE_STRIDED = 2;
export const MODE_BYTES = 3;

// reduce: words before the map block, and numbers of the operations.
export const REDUCE_HEADER = 8;
export const REDUCE_SUM = 0;
export const REDUCE_MAX = 1;
export const REDUCE_MIN = 2;
export const REDUCE_PROD = 3;
export const REDUCE_ARGMAX = 4;
export const REDUCE_ARGMIN = 5;

// Words that threads share, by byte offset, each on a cache line of its own where it is written often.
export const SYNC_ARRIVED = 0;
export const SYNC_GENERATION = 64;
export const SYNC_ABORT = 128;
export const SYNC_JOB = 192;
export const SYNC_QUIT = 256;
export const SYNC_LIST = 260;
export const SYNC_END = 264;
export const SYNC_BYTES = 320;
