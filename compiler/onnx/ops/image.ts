/** Sampling of images at computed positions: GridSample, AffineGrid, Col2Im. */
import { affineGrid, foldBlocks, gridSample } from "../../../ir/sampling.js";
import type { ImportOp, OpRow } from "../context.js";
import { perAxis, perPads } from "./window.js";

const modes = { linear: "linear", nearest: "nearest", cubic: "cubic", bilinear: "linear", bicubic: "cubic" } as const;

const sample: ImportOp = (c) => {
  const mode = c.attrs.oneOf("mode", ["linear", "nearest", "cubic", "bilinear", "bicubic"], "linear");
  const padding = c.attrs.oneOf("padding_mode", ["zeros", "border", "reflection"], "zeros");
  return gridSample(c.input(0), c.input(1), modes[mode], padding, c.attrs.flag("align_corners", false));
};

const affine: ImportOp = (c) =>
  affineGrid(c.input(0), c.dims(1, "the size").slice(2), c.attrs.flag("align_corners", false));

const col2im: ImportOp = (c) => {
  const imageSize = c.dimsWithin(1);
  const block = c.ints(2, "the block size");
  const axes = block.length;
  const pads = perPads(c, axes);
  return foldBlocks(c.input(0), imageSize, {
    block,
    strides: perAxis(c, "strides", axes, 1),
    dilations: perAxis(c, "dilations", axes, 1),
    padLow: pads.slice(0, axes),
    padHigh: pads.slice(axes),
  });
};

export const image = {
  GridSample: sample,
  AffineGrid: affine,
  Col2Im: col2im,
} as const satisfies Readonly<Record<string, OpRow>>;
