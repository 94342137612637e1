/** Models of one op: what a kernel takes with its copies in and out, and in the layout that files have. */

import { F, nn, type Value } from "wasmith";
import type { AnyModel, Feed } from "./model.js";

export interface KernelRow {
  readonly name: string;
  readonly feeds: Readonly<Record<string, Feed>>;
  readonly make: () => AnyModel;
}

const f32 = (...shape: readonly number[]): Feed => ({ dtype: "f32", shape });
const indices = (below: number, ...shape: readonly number[]): Feed => ({ dtype: "i64", shape, below });

class Apply extends nn.Module<readonly Value[]> {
  readonly #body: (...values: readonly Value[]) => Value;

  constructor(body: (...values: readonly Value[]) => Value) {
    super();
    this.#body = body;
  }

  forward(_: nn.Context, ...values: readonly Value[]): Value {
    return this.#body(...values);
  }
}

const layer = (name: string, x: Feed, make: () => nn.Layer): KernelRow => ({ name, feeds: { x }, make });
const unary = (name: string, body: (x: Value) => Value, x = f32(1024, 1024)): KernelRow => ({
  name,
  feeds: { x },
  make: () => new Apply((v) => body(v!)),
});

const conv3x3 = (size: number, channels: number): KernelRow =>
  layer(`op_conv3x3_${size}`, f32(1, channels, size, size), () => nn.Conv2d(channels, channels, 3, { padding: 1 }));

const image = f32(1, 64, 112, 112);
const heads = f32(1, 8, 256, 64);

export const kernelRows: readonly KernelRow[] = [
  layer("op_dw3x3", f32(1, 96, 112, 112), () => nn.Conv2d(96, 96, 3, { padding: 1, groups: 96 })),
  layer("op_conv7x7s2", f32(1, 3, 224, 224), () => nn.Conv2d(3, 64, 7, { padding: 3, stride: 2 })),
  conv3x3(56, 64),
  conv3x3(28, 128),
  conv3x3(14, 256),
  conv3x3(7, 512),
  unary("op_nchw_to_nhwc", (x) => F.permute(x, 0, 2, 3, 1), image),
  unary("op_nhwc_to_nchw", (x) => F.permute(x, 0, 3, 1, 2), f32(1, 112, 112, 64)),
  layer("op_maxpool3x3s2", image, () => nn.MaxPool2d(3, { stride: 2, padding: 1 })),
  layer("op_gather_rows", indices(30_000, 1, 512), () => nn.Embedding(30_000, 384)),
  {
    name: "op_gather_elements",
    feeds: { x: f32(1024, 1024), index: indices(1024, 1024, 1024) },
    make: () => new Apply((x, index) => F.gather(x!, 1, index!)),
  },
  unary("op_tanh", F.tanh),
  unary("op_exp", F.exp),
  unary("op_sigmoid", F.sigmoid),
  unary("op_silu", F.silu),
  unary("op_gelu", (x) => F.gelu(x)),
  unary("op_erf", F.erf),
  unary("op_softmax", (x) => F.softmax(x, -1), f32(3072, 256)),
  layer("op_layernorm", f32(1, 512, 768), () => nn.LayerNorm(768)),
  {
    name: "op_attention_256",
    feeds: { q: heads, k: heads, v: heads },
    make: () => new Apply((q, k, v) => F.attention(q!, k!, v!)),
  },
  {
    name: "op_matmul_512",
    feeds: { a: f32(512, 512), b: f32(512, 512) },
    make: () => new Apply((a, b) => F.matmul(a!, b!)),
  },
  layer("op_gemv_2048", f32(1, 2048), () => nn.Linear(2048, 2048, { bias: false })),
];
