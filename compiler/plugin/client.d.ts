/** Types of imports that have no file of their own: `/// <reference types="wasmith/client" />`. */

declare module "*.onnx" {
  import type { LoadOptions, Session } from "wasmith/runtime";
  export function load(options?: LoadOptions): Promise<Session>;
  export default load;
}

declare module "*.graph" {
  import type { LoadOptions, Session } from "wasmith/runtime";
  export function load(options?: LoadOptions): Promise<Session>;
  export default load;
}

declare module "*?train" {
  import type { LoadOptions, TrainingSession } from "wasmith/runtime";
  export function load(options?: LoadOptions): Promise<TrainingSession>;
  export default load;
}

/** Of a module of code: it trains if it is made by `trainStep`. */
declare module "*?wasmith" {
  import type { LoadOptions, Session } from "wasmith/runtime";
  export function load<S extends Session<never, unknown> = Session>(options?: LoadOptions): Promise<S>;
  export default load;
}
