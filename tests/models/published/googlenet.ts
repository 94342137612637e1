import { nn } from "wasmith";
import { type Branches, conv, Inception } from "../../../models/googlenet/blocks.js";
import { GoogLeNet } from "../../../models/googlenet/model.js";
import type { Published } from "../published.js";

/** An eighth of the channels, seven of the nine blocks, and the paper's 5×5. */
function exportedNet(): nn.Module {
  const c = (channels: number) => channels / 8;
  const pool = (side: number) => nn.MaxPool2d(side, { stride: 2, ceilMode: true });
  let from = c(192);
  const inception = (...branches: Branches) => {
    const block = new Inception(from, c, branches, 5);
    from = c(branches[0] + branches[2] + branches[4] + branches[5]);
    return block;
  };
  return nn.sequential({
    conv1: conv(3, 8, 7, 2),
    pool1: pool(3),
    conv2: conv(8, 8, 1),
    conv3: conv(8, 24, 3),
    pool2: pool(3),
    i3a: inception(64, 96, 128, 16, 32, 32),
    i3b: inception(128, 128, 192, 32, 96, 64),
    pool3: pool(3),
    i4a: inception(192, 96, 208, 16, 48, 64),
    i4b: inception(160, 112, 224, 24, 64, 64),
    i4e: inception(256, 160, 320, 32, 128, 128),
    pool4: pool(2),
    i5a: inception(256, 160, 320, 32, 128, 128),
    i5b: inception(384, 192, 384, 48, 128, 128),
    mean: nn.AdaptiveAvgPool2d(1),
    flatten: nn.Flatten(),
    fc: nn.Linear(from, 10),
  });
}

export default [
  {
    // With both classifiers on the way; 6,624,904 without.
    name: "GoogLeNet",
    build: () => new GoogLeNet(),
    parameters: 13_004_888,
    input: [3, 224, 224],
    output: [1000],
    exported: [
      {
        name: "googlenet",
        build: exportedNet,
        rename: (name) => name.replace(/\.b(\d)/, ".branch$1"),
        folded: 1e-3,
      },
    ],
  },
] satisfies readonly Published[];
