/** Everything to build models from: `nn.Conv2d(1, 6, 5)`, `nn.sequential(…)`, `class Net extends nn.Module`. */

export { Context } from "./context.js";
export { type GraphOptions, type InputSpec, type Inputs, toGraph } from "./graph.js";
export { type FromGraphOptions, fromGraph, type GraphOutput } from "./graph-model.js";
export * as init from "./init.js";
export { fromKeras, type KerasOptions } from "./keras.js";
export * from "./layers/activation.js";
export * from "./layers/attention.js";
export * from "./layers/cells.js";
export * from "./layers/compose.js";
export * from "./layers/conv.js";
export * from "./layers/dropout.js";
export * from "./layers/embedding.js";
export * from "./layers/image.js";
export * from "./layers/linear.js";
export * from "./layers/norm.js";
export * from "./layers/parametrize.js";
export * from "./layers/pool.js";
export * from "./layers/recurrent.js";
export * from "./layers/resize.js";
export * from "./layers/shape.js";
export * from "./layers/transformer.js";
export { buffer, type Layer, type LoadOptions, Module, parameter, type StateSource, Variable } from "./module.js";
