/** @file What files hold besides a model. */

/** Options of `saveKeras`. */
export interface SaveKerasOptions {
  /** Also what training needs to go on: loss, metrics, optimizer and its state. Default true for a compiled model. */
  readonly optimizer?: boolean;
}
