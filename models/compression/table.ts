/** What a network costs, and how good it is: a row of the table. */

import { compile, type nn, toGraph } from "wasmith";
import { load, type Tensor } from "wasmith/runtime";
import { argMax, floats } from "../values.js";

export interface Pictures {
  /** [count, 1, 28, 28] */
  readonly x: Tensor<"f32">;
  /** Which digit each shows. */
  readonly y: ArrayLike<number>;
}

export interface Row {
  readonly name: string;
  /** Weights that are not 0. */
  readonly weights: number;
  /** Bytes of the artefact: code and weights; and packed by gzip. */
  readonly bytes: number;
  readonly packed: number;
  /** Milliseconds an inference of one picture, with one thread: the median of 300. */
  readonly ms: number;
  readonly accuracy: number;
}

const some = ({ x }: Pictures, from: number, count: number): Tensor<"f32"> => ({
  ...x,
  shape: [count, 1, 28, 28],
  data: x.data.subarray(from * 784, (from + count) * 784),
});

async function packedSize(bytes: Uint8Array): Promise<number> {
  const packed = new Blob([bytes.slice()]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(packed).arrayBuffer()).byteLength;
}

/** Compiles the network with its weights, and runs it on pictures. */
export async function rowOf(name: string, net: nn.Module, weights: number, pictures: Pictures): Promise<Row> {
  const graph = toGraph(net, { inputs: { x: ["batch", 1, 28, 28] }, outputs: ["logits"] });
  const artifact = await compile(graph, { variants: ["simd128"], name: "predict" });
  const bytes = await artifact.toBytes();
  const session = await load(artifact, { threads: 1 });
  const answers: number[] = [];
  for (let from = 0; from < pictures.y.length; from += 500)
    answers.push(...argMax(floats((await session.run({ x: some(pictures, from, 500) })).logits), 10));
  const times: number[] = [];
  for (let i = 0; i < 300; i++) {
    const begin = performance.now();
    await session.run({ x: some(pictures, i, 1) });
    times.push(performance.now() - begin);
  }
  session.dispose();
  return {
    name,
    weights,
    bytes: bytes.length,
    packed: await packedSize(bytes),
    ms: times.sort((a, b) => a - b)[150]!,
    accuracy: answers.filter((digit, i) => digit === pictures.y[i]).length / answers.length,
  };
}

/** The rows in Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const kilo = (bytes: number) => `${(bytes / 1000).toFixed(0)} KB`;
  return [
    "| | weights | artefact | packed | an inference | accuracy |",
    "|---|---|---|---|---|---|",
    ...rows.map(
      ({ name, weights, bytes, packed, ms, accuracy }) =>
        `| ${name} | ${(weights / 1000).toFixed(1)} k | ${kilo(bytes)} | ${kilo(packed)} | ${ms.toFixed(3)} ms | ${(100 * accuracy).toFixed(1)} % |`,
    ),
    "",
  ].join("\n");
}
