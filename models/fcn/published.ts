/** A fully convolutional network on a ResNet-50, as torchvision's fcn_resnet50: its state_dict fits. */

import { F, nn, type Value } from "wasmith";
import { fifty, ResNetTrunk } from "../resnet/model.js";

/** Scores of classes for each place of a map. */
const head = (from: number, classes: number) =>
  nn.sequential(
    nn.Conv2d(from, from / 4, 3, { padding: 1, bias: false }),
    nn.BatchNorm2d(from / 4),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Conv2d(from / 4, classes, 1),
  );

/**
 * x [batch, 3, H, W], where 8 divides H and W → logits [batch, classes, H, W]. The last two stages of the trunk keep their maps at an eighth
 * of the picture and spread their windows instead; so one set of scores, resized, is fine enough without those of earlier maps.
 */
export class FcnResNet50 extends nn.Module {
  readonly backbone = new ResNetTrunk({ ...fifty, dilated: 2 });
  readonly classifier: nn.Layer;
  readonly aux_classifier: nn.Layer | undefined;

  /** @param aux whether the third stage has scores of its own, which give the lower layers gradients while training */
  constructor({ classes = 21, aux = true }: { readonly classes?: number; readonly aux?: boolean } = {}) {
    super();
    const [, , third, fourth] = this.backbone.channels;
    this.classifier = head(fourth!, classes);
    this.aux_classifier = aux ? head(third!, classes) : undefined;
  }

  /** The logits, and those of the third stage. */
  all(ctx: nn.Context, x: Value): { logits: Value; aux: readonly Value[] } {
    const [, , third, fourth] = this.backbone(ctx, x);
    const resized = (scores: Value) => F.interpolate(scores, { scale: 8, mode: "linear" });
    return {
      logits: resized(this.classifier(ctx, fourth)),
      aux: this.aux_classifier ? [resized(this.aux_classifier(ctx, third))] : [],
    };
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.all(ctx, x).logits;
  }
}
