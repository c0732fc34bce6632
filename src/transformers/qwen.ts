/** @file What Qwen's architectures share. */
import type { Config } from "./config.ts";
import { slidingWindow, windowsOfTypes } from "./decoder.ts";

/** Layers from `max_window_layers` on see a window, where the configuration says that any does. */
export function qwenWindows(config: Config, layers: number): readonly (number | null)[] {
  const window = config.flag("use_sliding_window", false) ? slidingWindow(config) : null;
  if (config.has("layer_types")) return windowsOfTypes(config, layers, window);
  const first = config.values.max_window_layers === 0 ? 0 : config.count("max_window_layers", 28);
  return Array.from({ length: layers }, (_, i) => (i >= first ? window : null));
}
