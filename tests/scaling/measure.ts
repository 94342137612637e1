/** What importing and compiling a model takes, by stages, in time of the processor: what busy neighbours do not inflate. */
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { Program } from "../../compiler/program.js";

/** An ONNX file, or a program of the DSL. */
export type ScalingModel = Uint8Array | Program;

export interface Cost {
  readonly milliseconds: number;
  /** By name; passes under the places where they stand in the pipeline. */
  readonly stages: ReadonlyMap<string, number>;
}

const processorMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Imports and compiles for one variant. */
export async function measure(model: ScalingModel): Promise<Cost> {
  const stages = new Map<string, number>();
  const start = processorMs();
  let last = start;
  const note = (stage: string): void => {
    const now = processorMs();
    stages.set(stage, (stages.get(stage) ?? 0) + now - last);
    last = now;
  };
  const input = model instanceof Uint8Array ? importOnnx(model) : model;
  note("import");
  await compile(input, {
    variants: ["simd128"],
    onPass: (e) => note(`${e.index} ${e.pass}`),
    onStage: (stage) => note(stage),
  });
  note("seal");
  return { milliseconds: last - start, stages };
}

/** The slope of the line through the points in logarithms, by least squares. */
export function slopeOf(points: readonly { readonly n: number; readonly milliseconds: number }[]): number {
  const x = points.map((p) => Math.log(p.n));
  const y = points.map((p) => Math.log(p.milliseconds));
  const mean = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0) / v.length;
  const [mx, my] = [mean(x), mean(y)];
  const top = x.reduce((sum, v, i) => sum + (v - mx) * (y[i]! - my), 0);
  return top / x.reduce((sum, v) => sum + (v - mx) ** 2, 0);
}
