/** How the classifier is trained, on either data set. */

import { losses, metrics, optim, trainStep } from "wasmith";
import { TextRnn, type TextRnnOptions } from "./model.js";

export const classifier = (vocabulary: number, size: Omit<TextRnnOptions, "vocabulary"> = {}) =>
  trainStep(new TextRnn({ vocabulary, ...size }), {
    inputs: { text: { dtype: "i32", shape: ["steps", "batch"] }, lengths: { dtype: "i32", shape: ["batch"] } },
    targets: { label: ["batch"] },
    loss: losses.bceWithLogits(),
    optimizer: optim.Adam({ lr: 1e-3 }),
    clip: optim.clipNorm(1),
    metrics: { accuracy: metrics.binaryAccuracy() },
  });
