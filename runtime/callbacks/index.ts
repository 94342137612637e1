/** `wasmith/callbacks`: what watches training, ready for the option `callbacks` of `fit`. */
export type { Chart, Point } from "../charts.js";
export { ModelError, type Problem } from "../errors.js";
export { drawCharts } from "../svg.js";
export { type CheckpointOptions, checkpoints } from "./checkpoints.js";
export { csvLogger, jsonLinesLogger, type LoggerOptions } from "./loggers.js";
export type { MonitorOptions } from "./monitor.js";
export { findLearningRate, type LearningRateCurve, type LearningRateOptions } from "./rate.js";
export { type EarlyStoppingOptions, earlyStopping, type PlateauOptions, reduceOnPlateau } from "./stopping.js";
export { type TensorBoardOptions, tensorBoard } from "./tensorboard.js";
