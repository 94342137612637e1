/**
 * The ConvNet of many introductions, a modern form of LeNet-5: x [batch, channels, 32, 32] → logits [batch, classes].
 * LeCun et al., "Gradient-based learning applied to document recognition", 1998.
 */

import { nn } from "wasmith";

export const convNet = ({ channels = 1, classes = 10 }: { channels?: number; classes?: number } = {}) =>
  nn.sequential({
    conv1: nn.Conv2d(channels, 6, 5),
    relu1: nn.ReLU(),
    pool1: nn.MaxPool2d(2),
    conv2: nn.Conv2d(6, 16, 5),
    relu2: nn.ReLU(),
    pool2: nn.MaxPool2d(2),
    flatten: nn.Flatten(),
    fc1: nn.Linear(16 * 5 * 5, 120),
    relu3: nn.ReLU(),
    fc2: nn.Linear(120, 84),
    relu4: nn.ReLU(),
    fc3: nn.Linear(84, classes),
  });
