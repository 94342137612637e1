/** How the classifier is trained, on either data set. */

import { losses, metrics, optim, schedules, trainStep } from "wasmith";
import { TextRnn, type TextRnnOptions } from "./model.js";

/** @param updates in the whole training */
export const classifier = (vocabulary: number, updates: number, size: Omit<TextRnnOptions, "vocabulary"> = {}) =>
  trainStep(new TextRnn({ vocabulary, ...size }), {
    inputs: { text: { dtype: "i32", shape: ["steps", "batch"] }, lengths: { dtype: "i32", shape: ["batch"] } },
    targets: { label: ["batch"] },
    loss: losses.bceWithLogits(),
    optimizer: optim.Adam(),
    schedule: schedules.warmupCosine(1e-3, Math.ceil(updates / 20), updates),
    clip: optim.clipNorm(1),
    metrics: { accuracy: metrics.binaryAccuracy() },
  });
