import { discriminator, generator, published } from "../../../models/dcgan/model.js";
import type { Published } from "../published.js";

export default [
  {
    name: "DCGAN's generator",
    build: () => generator(published),
    parameters: 3_576_704,
    input: [100, 1, 1],
    output: [3, 64, 64],
    exported: [{ name: "dcgan_generator", build: () => generator({ latent: 20, widths: [32, 16, 8], channels: 3 }) }],
  },
  {
    name: "DCGAN's discriminator",
    build: () => discriminator(published),
    parameters: 2_765_568,
    input: [3, 64, 64],
    output: [1],
  },
] satisfies readonly Published[];
