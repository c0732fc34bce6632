/**
 * @file Layers that fewer models have, for `loadModel(file, { layers: extraLayers })`. It holds those of config.ts itself, which every
 * application that reads a file downloads.
 */
import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
} from "./adaptive.ts";
import { randomBrightness, randomContrast, randomCrop, randomRotation, randomTranslation, randomZoom } from "./augment.ts";
import { categoryEncoding, discretization } from "./categories.ts";
import type { LayerKind } from "./config.ts";
import { convLstm1d, convLstm2d, convLstm3d } from "./conv-lstm.ts";
import { conv3d, conv3dTranspose } from "./conv3d.ts";
import { centerCrop, randomFlip, resizing } from "./images.ts";
import type { Layer } from "./layer.ts";
import { integerLookup, stringLookup } from "./lookup.ts";
import { spatialDropout3d } from "./noise.ts";
import { avgPool3d, globalAvgPool3d, globalMaxPool3d, maxPool3d } from "./pool3d.ts";
import { gruCell, lstmCell, rnn, simpleRnnCell, stackedRnnCells } from "./rnn.ts";
import { textVectorization } from "./text.ts";
import { cropping3d, upSampling3d, zeroPadding3d } from "./volumes.ts";

/** The factories by the names of their positional arguments. */
const FACTORIES: readonly (readonly [args: readonly string[], { readonly [kind: string]: (...args: never[]) => Layer }])[] = [
  [["filters", "kernelSize"], { conv3d, conv3dTranspose, convLstm1d, convLstm2d, convLstm3d }],
  [["poolSize"], { maxPool3d, avgPool3d }],
  [["outputSize"], { adaptiveAvgPool1d, adaptiveAvgPool2d, adaptiveAvgPool3d, adaptiveMaxPool1d, adaptiveMaxPool2d, adaptiveMaxPool3d }],
  [["units"], { lstmCell, gruCell, simpleRnnCell }],
  [["cells"], { stackedRnnCells }],
  [["cell"], { rnn }],
  [["rate"], { spatialDropout3d }],
  [["padding"], { zeroPadding3d }],
  [["cropping"], { cropping3d }],
  [["size"], { upSampling3d }],
  [["factor"], { randomRotation, randomContrast, randomBrightness }],
  [["heightFactor"], { randomZoom }],
  [["heightFactor", "widthFactor"], { randomTranslation }],
  [["height", "width"], { resizing, centerCrop, randomCrop }],
  [["numTokens"], { categoryEncoding }],
  [[], { globalAvgPool3d, globalMaxPool3d, randomFlip, discretization, stringLookup, integerLookup, textVectorization }],
];

/**
 * Kinds of layers that `loadModel` does not bring, so that applications without them do not download them. A file with one of them is read
 * by `loadModel(file, { layers: extraLayers })`; with layers of one's own too by `{ layers: { ...extraLayers, mine: (config) => ... } }`.
 * An application that knows which of them it needs holds those alone: `{ layers: { zeroPadding3d: extraLayers.zeroPadding3d } }` keeps all,
 * `{ layers: { zeroPadding3d: { args: ["padding"], make: zeroPadding3d } } }` that one.
 */
export const extraLayers: { readonly [kind: string]: LayerKind } = Object.fromEntries(
  FACTORIES.flatMap(([args, factories]) => Object.entries(factories).map(([kind, make]) => [kind, { args, make }])),
);
