/**
 * Pictures and texts in one space, where those that belong together are near: contrastive pre-training.
 * Radford et al., "Learning transferable visual models from natural language supervision", 2021.
 */

import { F, nn, type Value } from "wasmith";

/** Characters i32 [batch, length] → [batch, width]: what a recurrent network knows at the end of each text. */
export class TextTower extends nn.Module {
  readonly embedding: nn.EmbeddingLayer;
  readonly rnn: nn.GRUModule;
  readonly head: nn.LinearLayer;

  constructor({ characters = 28, width = 64, hidden = 64 } = {}) {
    super();
    this.embedding = nn.Embedding(characters, 16);
    this.rnn = nn.GRU(16, hidden, { batchFirst: true });
    this.head = nn.Linear(hidden, width);
  }

  forward(ctx: nn.Context, text: Value): Value {
    return this.head(ctx, this.rnn(ctx, this.embedding(ctx, text)).hidden.select(0, -1));
  }
}

/** Pictures [batch, 1, 14, 28] → [batch, width]. */
export const pictureTower = ({ width = 64 } = {}) =>
  nn.sequential(
    nn.Conv2d(1, 16, 3, { padding: 1 }),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, { padding: 1 }),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(32 * 3 * 7, width),
  );

/** Gives the likeness of all pictures and texts, [pictures, texts]. */
export class Clip extends nn.Module<readonly [pictures: Value, texts: Value], Value> {
  readonly picture: nn.Layer;
  readonly text: nn.Layer;
  /** Log of what likenesses are multiplied by. */
  readonly scale: nn.Variable;

  constructor(picture: nn.Layer, text: nn.Layer) {
    super();
    this.picture = picture;
    this.text = text;
    this.scale = nn.parameter([], nn.init.constant(Math.log(10)));
  }

  forward(ctx: nn.Context, pictures: Value, texts: Value): Value {
    const near = F.normalize(this.picture(ctx, pictures)).matmul(F.normalize(this.text(ctx, texts)).transpose());
    return near.mul(F.exp(ctx.value(this.scale)));
  }
}

/** Each picture should find its text among all, and each text its picture: pair i is row i and column i. */
export function contrastive(likeness: Value): Value {
  const own = F.arange(likeness.type.shape[0]!);
  return F.crossEntropy(likeness, own).add(F.crossEntropy(likeness.transpose(), own)).mul(0.5);
}
