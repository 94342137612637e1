/** What the options of each layer may be, are by default, and mean: for checks and for docs/LAYERS.md. */

import { aBoolean, aFunction, aProbability, atLeast, oneOf } from "../../options.js";
import type { GRUCellOptions, RNNCellOptions } from "./cells.js";
import { inWords, type LayerOptions, option } from "./options.js";
import type {
  CellOptions,
  GRUOptions,
  NonlinearityOption,
  RecurrentOptions,
  ResetOption,
  RNNOptions,
} from "./recurrent.js";

const uniformByHidden = inWords("uniform in ±1/√hidden");
export const cellOptions: LayerOptions<CellOptions> = {
  bias: option(
    oneOf(true, false, "single"),
    true,
    'two biases a gate (`true`), one as in Keras (`"single"`), or none (`false`)',
  ),
  weightInit: option(aFunction, uniformByHidden, "first values of the input's weights"),
  recurrentInit: option(aFunction, uniformByHidden, "first values of the state's weights"),
  biasInit: option(aFunction, uniformByHidden, "first values of the biases"),
};

export const nonlinearityOption: LayerOptions<NonlinearityOption> = {
  nonlinearity: option(oneOf("tanh", "relu"), "tanh", "what is done with the sums"),
};

export const resetOption: LayerOptions<ResetOption> = {
  resetAfter: option(aBoolean, true, "the reset gate acts after the product with the state, not before"),
};

export const recurrentOptions: LayerOptions<RecurrentOptions> = {
  layers: option(atLeast(1), 1, "how many are stacked"),
  bidirectional: option(aBoolean, false, "a second direction, from the end of each sequence to its start"),
  batchFirst: option(aBoolean, false, "x is [batch, steps, features], not [steps, batch, features]"),
  dropout: option(aProbability, 0, "dropped between the layers while training"),
  ...cellOptions,
};

export const rnnOptions: LayerOptions<RNNOptions> = { ...recurrentOptions, ...nonlinearityOption };
export const gruOptions: LayerOptions<GRUOptions> = { ...recurrentOptions, ...resetOption };
export const rnnCellOptions: LayerOptions<RNNCellOptions> = { ...cellOptions, ...nonlinearityOption };
export const gruCellOptions: LayerOptions<GRUCellOptions> = { ...cellOptions, ...resetOption };
