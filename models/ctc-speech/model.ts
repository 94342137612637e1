/**
 * Tells which digits are spoken, in recordings that nobody has cut up: frames [batch, time, bands] → logits [batch, time / 2, 11] of a blank
 * (0) and of the ten digits.
 * Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks", 2006.
 */

import { F, nn, type Value } from "wasmith";

export interface SpeechOptions {
  readonly bands: number;
  readonly classes: number;
  readonly hidden?: number;
  readonly dropout?: number;
}

/** How many steps are told of so many frames. */
const stepsOf = (frames: Value) => frames.add(1).floorDivide(2);

/** Two convolutions over time see a sound, a recurrent layer in both directions what is around it. */
export class SpeechNet extends nn.Module<readonly [x: Value, frames: Value]> {
  readonly sounds: nn.Layer;
  readonly rnn: nn.GRUModule;
  readonly head: nn.Layer;

  constructor({ bands, classes, hidden = 64, dropout = 0.3 }: SpeechOptions) {
    super();
    this.sounds = nn.sequential(
      nn.Conv1d(bands, hidden, 5, { padding: 2 }),
      nn.BatchNorm1d(hidden),
      nn.ReLU(),
      nn.Dropout(dropout),
      nn.Conv1d(hidden, hidden, 5, { stride: 2, padding: 2 }),
      nn.BatchNorm1d(hidden),
      nn.ReLU(),
      nn.Dropout(dropout),
    );
    this.rnn = nn.GRU(hidden, hidden, { bidirectional: true, batchFirst: true });
    this.head = nn.sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, classes));
  }

  /** @param frames [batch] of each recording; what is behind them is padding */
  forward(ctx: nn.Context, x: Value, frames: Value): Value {
    const sounds = this.sounds(ctx, x.transpose()).transpose();
    return this.head(ctx, this.rnn(ctx, sounds, { lengths: stepsOf(frames) }).output);
  }
}

/** Loss of labels [batch, most] (from 1 on), whatever the time at which each is told: all ways to tell them count. */
export function ctcLoss(logits: Value, frames: Value, labels: Value, lengths: Value): Value {
  return F.ctcLoss(F.logSoftmax(logits).transpose(0, 1), labels, stepsOf(frames), lengths);
}

/**
 * The most probable class at each step, each once while it lasts, and no blanks: labels [batch, steps], 0 behind the last.
 * Steps behind the end of a recording tell nothing.
 */
export function greedy(logits: Value, frames: Value): Value {
  const [batch, steps] = logits.type.shape;
  const inside = F.arange(steps!).lt(stepsOf(frames).cast("i64").unsqueeze(1));
  const best = F.where(inside, F.argMax(logits, -1), 0);
  const before = F.cat([F.zeros([batch!, 1], "i64"), best.slice(1, 0, -1)], 1);
  const told = best.ne(0).logicalAnd(best.ne(before));
  // What is told moves to the place that it has among the told; all else goes to a place behind the end.
  const places = F.where(told, F.cumSum(told.cast("i64"), 1, { exclusive: true }), F.size(best, 1));
  const empty = F.cat([F.zerosLike(best), F.zeros([batch!, 1], "i64")], 1);
  return empty.scatter(1, places, best).slice(1, 0, -1);
}
