/** Run by relaxed.test.ts in an engine with relaxed SIMD: prints the errors of the hot functions as JSON. */

import type { MathFn } from "../../ir/loop.js";
import { measureErrors } from "./f32-accuracy.js";

const [fns, stride] = process.argv.slice(2) as [string, string];
console.log(JSON.stringify(measureErrors("relaxed", fns.split(",") as MathFn[], Number(stride))));
