/**
 * Little data: a network that is large for what there is to learn from, and has to be shown it in many forms.
 * Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018.
 */

export { convNet } from "../convnet/model.js";
