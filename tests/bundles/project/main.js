import { answerOf, tell } from "./answer.js";
import { load } from "./model/net.js";

tell(() => answerOf(load));
