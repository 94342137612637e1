/**
 * A generator of pictures and a discriminator that tells them from real ones, of convolutions with batch norms.
 * Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", 2016.
 */

import { nn } from "wasmith";

export interface DcganOptions {
  /** Random numbers that a picture is made of. */
  readonly latent: number;
  /** Channels between the generator's layers, of which each doubles height and width, from 4×4 on; the discriminator has them in reverse. */
  readonly widths: readonly number[];
  /** Of the pictures. */
  readonly channels: number;
  /** Kinds of pictures that both are told, one of ones and zeros for each (Mirza and Osindero, 2014). Default 0: they are told nothing. */
  readonly classes?: number;
}

/** Pictures of 16×16. */
export const small: DcganOptions = { latent: 64, widths: [48, 24], channels: 1, classes: 10 };
/** The paper's, in the widths of most implementations: pictures of 64×64. */
export const published: DcganOptions = { latent: 100, widths: [512, 256, 128, 64], channels: 3 };

// The paper draws all weights so.
const weightInit = nn.init.normal(0, 0.02);
const doubling = { stride: 2, padding: 1, bias: false, weightInit };
const whole = { bias: false, weightInit };
const norm = (channels: number) => nn.BatchNorm2d(channels, { weightInit: nn.init.normal(1, 0.02) });

/** z [batch, latent + classes, 1, 1] → pictures [batch, channels, side, side] of values in [-1, 1]. */
export function generator({ latent, widths, channels, classes = 0 }: DcganOptions = small) {
  const sizes = [...widths, channels];
  return nn.sequential(
    nn.ConvTranspose2d(latent + classes, sizes[0]!, 4, whole),
    ...sizes.slice(1).flatMap((to, i) => [norm(sizes[i]!), nn.ReLU(), nn.ConvTranspose2d(sizes[i]!, to, 4, doubling)]),
    nn.Tanh(),
  );
}

/** Pictures [batch, channels + classes, side, side] → logits [batch, 1] of being real. */
export function discriminator({ widths, channels, classes = 0 }: Omit<DcganOptions, "latent"> = small) {
  const sizes = [channels + classes, ...widths.toReversed()];
  return nn.sequential(
    ...sizes.slice(1).flatMap((to, i) => [
      nn.Conv2d(sizes[i]!, to, 4, doubling),
      // No norm behind the pixels, as the paper says.
      ...(i === 0 ? [] : [norm(to)]),
      nn.LeakyReLU(0.2),
    ]),
    nn.Conv2d(sizes.at(-1)!, 1, 4, whole),
    nn.Flatten(),
  );
}
