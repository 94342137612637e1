/** Models that a plugin compiles, beside one that was compiled before. */
import { answerOf, tell } from "./answer.js";
import { load } from "./model/net.js";
import loadTraining from "./net.ts?wasmith";
import loadOnnx, { load as loadAgain } from "./scores.onnx";

tell(async () => {
  const session = await loadOnnx({ threads: 2 });
  const { y } = await session.run({ x: Float32Array.of(1, 2, 3) });
  session.dispose();
  const before = await answerOf(load);
  const answer = await answerOf(loadTraining);
  return { ...answer, scores: Array.from(y.data), before, same: loadAgain === loadOnnx };
});
