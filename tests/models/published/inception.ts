import { F, nn, type Value } from "../../../index.js";
import { average, column, conv, Mixed, row, same, shrink } from "../../../models/inception/blocks.js";
import { InceptionV3 } from "../../../models/inception/model.js";
import type { Published } from "../published.js";

const picture = { input: [3, 299, 299], output: [1000] };

/** Pictures as torchvision scales them, channel by channel: x · scale + shift. */
class Scaled extends nn.Module {
  forward(_: nn.Context, x: Value): Value {
    const channel = (i: number, scale: number, shift: number) =>
      F.slice(x, 1, i, i + 1)
        .mul(scale)
        .add(shift);
    return F.cat([channel(0, 0.458, -0.03), channel(1, 0.448, -0.088), channel(2, 0.45, -0.188)], 1);
  }
}

/** One block of each kind, of few channels. One of the pools leaves the padding out of its means. */
const exportedNet = () =>
  nn.sequential({
    scaled: new Scaled(),
    stem: nn.sequential(conv(3, 8, 3, 2), conv(8, 8, 3), same(8, 12, 3), shrink(), conv(12, 16, 1), conv(16, 24, 3)),
    a: new Mixed(
      [{ a1: same(24, 8, 1) }],
      [{ "a5.0": same(24, 6, 1), "a5.1": same(6, 8, 5) }],
      [{ "a3.0": same(24, 8, 1), "a3.1": same(8, 12, 3), "a3.2": same(12, 12, 3) }],
      [{ pool: average(), ap: same(24, 4, 1) }],
    ),
    b: new Mixed(
      [{ b3: conv(32, 32, 3, 2) }],
      [{ "bd.0": same(32, 8, 1), "bd.1": same(8, 12, 3), "bd.2": conv(12, 16, 3, 2) }],
      [{ pool: shrink() }],
    ),
    c: new Mixed(
      [{ c1: same(80, 16, 1) }],
      [{ "c7.0": same(80, 12, 1), "c7.1": row(12, 12, 7), "c7.2": column(12, 16, 7) }],
      [
        {
          "c77.0": same(80, 12, 1),
          "c77.1": column(12, 12, 7),
          "c77.2": row(12, 12, 7),
          "c77.3": column(12, 12, 7),
          "c77.4": row(12, 16, 7),
        },
      ],
      [{ pool: nn.AvgPool2d(3, { stride: 1, padding: 1, countIncludePad: false }), cp: same(80, 16, 1) }],
    ),
    e: new Mixed(
      [{ e1: same(64, 16, 1) }],
      [{ e3: same(64, 16, 1) }, { e3a: row(16, 16, 3), e3b: column(16, 16, 3) }],
      [{ pool: average(), ep: same(64, 16, 1) }],
    ),
    mean: nn.AdaptiveAvgPool2d(1),
    flatten: nn.Flatten(),
    fc: nn.Linear(64, 10),
  });

export default [
  {
    name: "Inception-v3",
    build: () => new InceptionV3(),
    parameters: 27_161_264,
    ...picture,
    exported: [
      {
        name: "inception_v3_like",
        build: exportedNet,
        rename: (name) => name.replace(/^([abce])\w+/, "$1.$&"),
        folded: 1e-3,
      },
    ],
  },
  {
    name: "Inception-v3 without the classifier on the way",
    build: () => new InceptionV3({ aux: false }),
    parameters: 23_834_568,
    ...picture,
  },
] satisfies readonly Published[];
