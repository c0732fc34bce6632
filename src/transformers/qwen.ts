/** @file What Qwen's architectures share. */
import type { Config } from "./config.ts";
import { windowsOfTypes } from "./decoder.ts";

/** Layers from `max_window_layers` on see a window, where the configuration says that any does. */
export function qwenWindows(config: Config, layers: number): readonly (number | null)[] {
  const window = (): number => config.count("sliding_window");
  if (config.has("layer_types")) return windowsOfTypes(config, layers, window);
  if (!config.flag("use_sliding_window", false) || !config.has("sliding_window")) return new Array<null>(layers).fill(null);
  const first = config.has("max_window_layers") && config.values.max_window_layers === 0 ? 0 : config.count("max_window_layers", 28);
  return Array.from({ length: layers }, (_, i) => (i >= first ? window() : null));
}
