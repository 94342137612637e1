/**
 * Functions on values: `F.softmax(x, -1)`. Names and order of arguments are PyTorch's (torch and torch.nn.functional), in camelCase; what
 * PyTorch's users pass by keyword is in the options. Functions that draw random numbers, or find sizes that data decide, take the
 * context first.
 */

import "./methods.js";

export * from "./activation.js";
export * from "./arithmetic.js";
export * from "./attention.js";
export * from "./cast.js";
export * from "./control.js";
export * from "./conv.js";
export * from "./create.js";
export * from "./gradient.js";
export * from "./image.js";
export * from "./indexing.js";
export * from "./loss.js";
export * from "./math.js";
export * from "./norm.js";
export * from "./pool.js";
export * from "./product.js";
export * from "./quantized.js";
export * from "./random.js";
export * from "./recurrent.js";
export * from "./reduce.js";
export * from "./shape.js";
export * from "./sizes.js";
