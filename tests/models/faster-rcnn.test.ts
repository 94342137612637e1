/** Faster R-CNN gives torchvision's boxes from torchvision's weights: resizing, both stages, both suppressions, RoiAlign. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { decodeModel } from "../../compiler/onnx/protobuf.js";
import { decodeTensor } from "../../compiler/onnx/tensor.js";
import { compile, F, nn, toGraph, type Value } from "../../index.js";
import { element } from "../../ir/tensor.js";
import { anchorGrid } from "../../models/detection/boxes.js";
import { FasterRcnn } from "../../models/faster-rcnn/model.js";
import type { Feed } from "../../runtime/feeds.js";
import { load } from "../../runtime/index.js";
import { dataFolder, hasData, readTensors } from "../nn/reference-data.js";
import { toTensor } from "../onnx/compare.js";

/** Pictures of the cases, what they are resized to (the shorter side to 64), and what that is padded to. */
const [picture, resized, padded] = [
  [56, 72],
  [64, 82],
  [64, 96],
] as const;

class Trunk extends nn.Module<readonly [x: Value], readonly Value[]> {
  readonly body = nn.sequential(
    ...[3, 8, 16].flatMap((from, i) => [nn.Conv2d(from, i === 0 ? 8 : 16, 3, { stride: 2, padding: 1 }), nn.ReLU()]),
  );
  forward(ctx: nn.Context, x: Value): readonly Value[] {
    return [this.body(ctx, x)];
  }
}

/** What torchvision does before and after: x [1, 3, 56, 72] of values from 0 to 1. */
class Whole extends nn.Module {
  readonly m = new FasterRcnn({
    backbone: new Trunk(),
    channels: 16,
    anchors: [
      anchorGrid([padded[0] / 8, padded[1] / 8], 8, [
        [22, 12],
        [46, 22],
        [16, 16],
        [32, 32],
        [12, 22],
        [22, 46],
      ]),
    ],
    shapes: 6,
    strides: [8],
    side: resized,
    classes: 4,
    width: 32,
    size: 3,
    proposals: { candidates: 60, most: 20 },
    most: 10,
    score: 0.2,
  });

  forward(ctx: nn.Context, x: Value): Value {
    const statistics = [F.constant([0.485, 0.456, 0.406]), F.constant([0.229, 0.224, 0.225])];
    const [mean, deviation] = statistics.map((v) => v.reshape(3, 1, 1)) as [Value, Value];
    const large = F.interpolate(x.sub(mean).div(deviation), { size: resized, mode: "linear" });
    const found = this.m(ctx, F.pad(large, [0, padded[1] - resized[1], 0, padded[0] - resized[0]]));
    const [down, across] = [picture[0] / resized[0], picture[1] / resized[1]];
    return found.mul(F.constant([across, down, across, down, 1, 1]));
  }
}

it.skipIf(!hasData)("torchvision's boxes, scores and labels", { timeout: 120_000 }, async () => {
  const place = join(dataFolder, "reference/onnx/frcnn_torchvision_full");
  const { initializer = [] } = decodeModel(readFileSync(join(place, "model.onnx"))).graph!;
  const net = new Whole();
  const known = net.variables();
  const weights = initializer.flatMap((t) => {
    const name = t.name!.replace("m.backbone.", "m.backbone.body.");
    return known.has(name) ? [[name, toTensor(decodeTensor(t, name))] as const] : [];
  });
  net.loadState(new Map(weights));
  expect(net.parameterCount()).toBe(12_898);

  const graph = toGraph(net, { inputs: { x: [1, 3, ...picture] }, outputs: ["found"] });
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  const io = readTensors(join(place, "io.safetensors"));
  for (const name of ["case0", "case1"]) {
    const image = io.get(`${name}.in.image`)!;
    const { found } = await session.run({ x: { ...image, shape: [1, ...image.shape] } as Feed });
    const [boxes, scores, labels] = ["boxes", "scores", "labels"].map((what) => io.get(`${name}.out.${what}`)!);
    expect(found!.shape).toEqual([1, scores!.data.length, 6]);
    for (let i = 0; i < scores!.data.length; i++) {
      const own = Array.from({ length: 6 }, (_, j) => Number(found!.data[6 * i + j]));
      expect(own[4], `${name}, score ${i}`).toBeCloseTo(element(scores!, i), 4);
      expect(own[5]! + 1, `${name}, label ${i}`).toBe(element(labels!, i));
      for (let j = 0; j < 4; j++) expect(own[j], `${name}, box ${i}`).toBeCloseTo(element(boxes!, 4 * i + j), 2);
    }
  }
  session.dispose();
});
