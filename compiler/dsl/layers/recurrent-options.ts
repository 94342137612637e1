/** Options that recurrent layers and cells share. */

import { choice, flag, option, optional } from "../../schema.js";
import { initializer } from "./define.js";

const byHidden = "uniform in ±1/√hidden";
export const cellOptions = {
  bias: option<boolean | "single">(
    choice<boolean | "single">(true, false, "single"),
    true,
    'Two biases a gate as PyTorch, one as Keras ("single", added to the products with the input), or none',
  ),
  weightInit: optional(initializer, `First values of the input's weights. Default: ${byHidden}`),
  recurrentInit: optional(initializer, `First values of the state's weights. Default: ${byHidden}`),
  biasInit: optional(initializer, `First values of the biases. Default: ${byHidden}`),
};
export const nonlinearityOption = {
  nonlinearity: option(choice("tanh", "relu"), "tanh", "What is done with the sums"),
};
export const resetOption = {
  resetAfter: option(flag, true, "The reset gate acts after the product with the state, not before it as in the paper"),
};
