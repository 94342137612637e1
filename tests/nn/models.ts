/** Models of the reference trajectories that are no part of models/. */

import { nn } from "../../compiler/dsl/index.js";
import { mean, np } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { relu } from "../../ir/ops/activation.js";

class BasicBlock extends nn.Module {
  readonly conv1: nn.ConvLayer;
  readonly bn1: nn.BatchNormLayer;
  readonly conv2: nn.ConvLayer;
  readonly bn2: nn.BatchNormLayer;
  readonly down: nn.Layer | undefined;

  constructor(input: number, output: number, stride: number) {
    super();
    this.conv1 = nn.Conv2d(input, output, 3, { stride, padding: 1, bias: false });
    this.bn1 = nn.BatchNorm2d(output);
    this.conv2 = nn.Conv2d(output, output, 3, { padding: 1, bias: false });
    this.bn2 = nn.BatchNorm2d(output);
    const changes = stride !== 1 || input !== output;
    this.down = changes
      ? nn.sequential(nn.Conv2d(input, output, 1, { stride, bias: false }), nn.BatchNorm2d(output))
      : undefined;
  }

  forward(ctx: nn.Context, x: Value): Value {
    const inner = relu([this.bn1.apply(ctx, this.conv1.apply(ctx, x))]);
    const body = this.bn2.apply(ctx, this.conv2.apply(ctx, inner));
    return relu([np.add(body, this.down === undefined ? x : this.down.apply(ctx, x))]);
  }
}

export class SmallResNet extends nn.Module {
  readonly conv1 = nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn1 = nn.BatchNorm2d(8);
  readonly layers = [new BasicBlock(8, 8, 1), new BasicBlock(8, 16, 2)];
  readonly fc = nn.Linear(16, 5);

  forward(ctx: nn.Context, x: Value): Value {
    const start = relu([this.bn1.apply(ctx, this.conv1.apply(ctx, x))]);
    const features = this.layers.reduce((v, layer) => layer.apply(ctx, v), start);
    return this.fc.apply(ctx, mean(features, [2, 3]));
  }
}
