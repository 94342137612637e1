/** What Faster R-CNN says of places and of proposals. */

import { nn, type Value } from "wasmith";

const small = { weightInit: nn.init.normal(0, 0.01), biasInit: nn.init.zeros };

/** Says at each place of each map how likely its anchors hold something, and how they move to it. */
export class RpnHead extends nn.Module<readonly [maps: readonly Value[]], { objectness: Value[]; deltas: Value[] }> {
  readonly conv: nn.Layer;
  readonly cls_logits: nn.Layer;
  readonly bbox_pred: nn.Layer;

  constructor(channels: number, anchors: number) {
    super();
    this.conv = nn.sequential(nn.sequential(nn.Conv2d(channels, channels, 3, { ...small, padding: 1 }), nn.ReLU()));
    this.cls_logits = nn.Conv2d(channels, anchors, 1, small);
    this.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1, small);
  }

  /** Of each map: objectness [N, anchors of the map] and deltas [N, anchors of the map, 4], place by place. */
  forward(ctx: nn.Context, maps: readonly Value[]) {
    const shared = maps.map((map) => this.conv(ctx, map));
    const rows = (values: Value, ...shape: number[]) => {
      const [, outputs, height, width] = values.type.shape as number[];
      return values.permute(0, 2, 3, 1).reshape(-1, (height! * width! * outputs!) / (shape[0] ?? 1), ...shape);
    };
    return {
      objectness: shared.map((map) => rows(this.cls_logits(ctx, map))),
      deltas: shared.map((map) => rows(this.bbox_pred(ctx, map), 4)),
    };
  }
}

/** Two layers that look at what the maps hold in a proposal: [K, C, size, size] → [K, width]. */
export class BoxHead extends nn.Module {
  readonly fc6: nn.Layer;
  readonly fc7: nn.Layer;

  constructor(inputs: number, width: number) {
    super();
    this.fc6 = nn.Linear(inputs, width);
    this.fc7 = nn.Linear(width, width);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.fc7(ctx, this.fc6(ctx, x.flatten(1)).relu()).relu();
  }
}

/** Class, of which 0 is the background, and deltas for each class. */
export class Predictor extends nn.Module<readonly [x: Value], { logits: Value; deltas: Value }> {
  readonly cls_score: nn.Layer;
  readonly bbox_pred: nn.Layer;

  constructor(width: number, classes: number) {
    super();
    this.cls_score = nn.Linear(width, classes);
    this.bbox_pred = nn.Linear(width, 4 * classes);
  }

  forward(ctx: nn.Context, x: Value) {
    return { logits: this.cls_score(ctx, x), deltas: this.bbox_pred(ctx, x).unflatten(1, [-1, 4]) };
  }
}
