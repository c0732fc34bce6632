/**
 * @file Readers of data files and the steps from them to arrays for `fit`.
 * @module lockstep/data
 */
export { parseCsv } from "./csv.ts";
export type { CsvOptions, Table } from "./csv.ts";
export { oneHot, trainTestSplit, windows } from "./encode.ts";
export type { RowData, Rows, Split, SplitOptions } from "./encode.ts";
export { padSequences } from "./sequences.ts";
export type { PadOptions } from "./sequences.ts";
export { text, tokenWindows } from "./text.ts";
export type { Text, TextOptions, TokenIds, TokenWindows, TokenWindowsOptions } from "./text.ts";
export { gunzip, parseIdx, readIdx } from "./idx.ts";
export type { IdxData, IdxFile } from "./idx.ts";
