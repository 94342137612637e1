/** RoiAlign. */
import { roiAlign } from "../../../ir/roi-align.js";
import type { ImportOp, OpRow } from "../context.js";

const align: ImportOp = (c) => {
  const half =
    c.since >= 16 &&
    c.attrs.oneOf("coordinate_transformation_mode", ["half_pixel", "output_half_pixel"], "half_pixel") === "half_pixel";
  const options = {
    output: [c.attrs.int("output_height", 1), c.attrs.int("output_width", 1)] as const,
    scale: c.attrs.float("spatial_scale", 1),
    ratio: c.attrs.int("sampling_ratio", 0),
    half,
    average: c.attrs.oneOf("mode", ["avg", "max"], "avg") === "avg",
  };
  return roiAlign(
    c.input(0),
    c.input(1),
    c.input(2),
    options,
    (name, bound, make) => c.services.findSize(name, bound, make).size,
  );
};

export const regions = { RoiAlign: align } as const satisfies Readonly<Record<string, OpRow>>;
