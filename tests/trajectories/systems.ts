/**
 * The systems of reference/train as programs, written with nothing but what the package exports. Each is one program with an entry
 * `step`, which takes a slice of the batches and gives the recorded series.
 */

import {
  F,
  gradients,
  losses,
  nn,
  optim,
  type Program,
  perSample,
  program,
  schedules,
  type Value,
} from "../../index.js";

const ids = (...shape: (string | number)[]) => ({ dtype: "i64", shape }) as const;
const mlp =
  (...sizes: number[]) =>
  (activation: () => nn.Layer) =>
    nn.sequential(...sizes.slice(1).flatMap((n, i) => [...(i ? [activation()] : []), nn.Linear(sizes[i]!, n)]));
const size = (x: Value, axis = 0) => x.type.shape[axis]!;
const logProb = (logits: Value, action: Value) => logits.logSoftmax(-1).gather(1, action.unsqueeze(1)).squeeze(1);

class ActorCritic extends nn.Module<readonly [Value], { pi: Value; v: Value }> {
  readonly body = nn.sequential(nn.Linear(4, 32), nn.ReLU());
  readonly pi = nn.Linear(32, 2);
  readonly v = nn.Linear(32, 1);
  forward(ctx: nn.Context, x: Value) {
    const h = this.body(ctx, x);
    return { pi: this.pi(ctx, h), v: this.v(ctx, h).squeeze(1) };
  }
}

class Capsules extends nn.Module<readonly [x: Value, y: Value], { capsules: Value; image: Value }> {
  readonly W = nn.parameter([1, 36, 4, 6, 4], nn.init.zeros);
  readonly conv = nn.Conv2d(1, 8, 5);
  readonly prim = nn.Conv2d(8, 16, 4, { stride: 2 });
  readonly d1 = nn.Linear(24, 24);
  readonly d2 = nn.Linear(24, 144);
  forward(ctx: nn.Context, x: Value, y: Value) {
    const squash = (s: Value) => {
      const n = s.square().sum(-1, true);
      return n.div(n.add(1)).mul(s).div(n.add(1e-8).sqrt());
    };
    const n = size(x);
    const u = squash(
      this.prim(ctx, this.conv(ctx, x).relu()).reshape([n, 4, 4, 9]).permute([0, 1, 3, 2]).reshape([n, 36, 4]),
    );
    const votes = F.einsum("ijok,nik->nijo", ctx.value(this.W).squeeze(0), u);
    let logits = F.zeros([n, 36, 4]);
    let v = votes;
    for (let round = 0; round < 3; round++) {
      v = squash(F.einsum("nij,nijo->njo", logits.softmax(2), votes));
      if (round < 2) logits = logits.add(F.einsum("nijo,njo->nij", votes, v));
    }
    const masked = v.mul(F.oneHot(y, 4).unsqueeze(2)).flatten(1);
    return { capsules: v, image: this.d2(ctx, this.d1(ctx, masked).relu()).sigmoid() };
  }
}

class Reader extends nn.Module {
  readonly c = nn.Conv2d(1, 8, [6, 3], { padding: [0, 1] });
  readonly g = nn.GRU(8, 12, { bidirectional: true });
  readonly o = nn.Linear(24, 6);
  forward(ctx: nn.Context, x: Value) {
    const columns = this.c(ctx, x).relu().squeeze(2).permute([2, 0, 1]);
    return this.o(ctx, this.g(ctx, columns).output).logSoftmax(2);
  }
}

class Retina extends nn.Module<readonly [Value], { cls: Value; box: Value }> {
  readonly backbone = nn.sequential(
    nn.Conv2d(3, 8, 3, { stride: 2, padding: 1 }),
    nn.ReLU(),
    nn.Conv2d(8, 12, 3, { stride: 2, padding: 1 }),
    nn.ReLU(),
  );
  readonly cls = nn.Conv2d(12, 6, 3, { padding: 1 });
  readonly box = nn.Conv2d(12, 8, 3, { padding: 1 });
  forward(ctx: nn.Context, x: Value) {
    const h = this.backbone(ctx, x);
    const anchors = (y: Value, k: number) => y.reshape([2, 2, k, 4, 4]).permute([0, 3, 4, 1, 2]).reshape([2, 32, k]);
    return { cls: anchors(this.cls(ctx, h), 3), box: anchors(this.box(ctx, h), 4) };
  }
}

class Block extends nn.Module {
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly bn2: nn.Layer;
  readonly down?: nn.Layer;
  constructor(input: number, output: number, stride: number) {
    super();
    this.conv1 = nn.Conv2d(input, output, 3, { stride, padding: 1, bias: false });
    this.bn1 = nn.BatchNorm2d(output);
    this.conv2 = nn.Conv2d(output, output, 3, { padding: 1, bias: false });
    this.bn2 = nn.BatchNorm2d(output);
    if (stride > 1)
      this.down = nn.sequential(nn.Conv2d(input, output, 1, { stride, bias: false }), nn.BatchNorm2d(output));
  }
  forward(ctx: nn.Context, x: Value) {
    const h = this.bn1(ctx, this.conv1(ctx, x)).relu();
    return this.bn2(ctx, this.conv2(ctx, h))
      .add(this.down?.(ctx, x) ?? x)
      .relu();
  }
}

class ResNet extends nn.Module {
  readonly conv1 = nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn1 = nn.BatchNorm2d(8);
  readonly layers = [new Block(8, 8, 1), new Block(8, 16, 2)];
  readonly fc = nn.Linear(16, 5);
  forward(ctx: nn.Context, x: Value) {
    const h = this.layers.reduce((v, l) => l(ctx, v), this.bn1(ctx, this.conv1(ctx, x)).relu());
    return this.fc(ctx, h.mean([2, 3]));
  }
}

class UNet extends nn.Module {
  readonly a = nn.Conv2d(1, 6, 3, { padding: 1 });
  readonly na = nn.GroupNorm(2, 6);
  readonly b = nn.Conv2d(6, 10, 3, { stride: 2, padding: 1 });
  readonly up = nn.ConvTranspose2d(10, 6, 2, { stride: 2 });
  readonly c = nn.Conv2d(12, 3, 3, { padding: 1 });
  forward(ctx: nn.Context, x: Value) {
    const a = this.na(ctx, this.a(ctx, x)).silu();
    const b = this.b(ctx, a).gelu();
    const fine = b.add(F.interpolate(F.avgPool2d(b, 2), { scale: 2, mode: "linear" }));
    return this.c(ctx, F.cat([a, this.up(ctx, fine)], 1));
  }
}

class Translator extends nn.Module<readonly [src: Value, tgt: Value]> {
  readonly es = nn.Embedding(14, 8);
  readonly et = nn.Embedding(14, 8);
  readonly enc = nn.GRU(8, 16, { batchFirst: true });
  readonly dec = nn.GRUCell(24, 16);
  readonly k = nn.Linear(16, 16, { bias: false });
  readonly o = nn.Linear(32, 14);
  forward(ctx: nn.Context, src: Value, tgt: Value) {
    const { output: enc, hidden } = this.enc(ctx, this.es(ctx, src));
    const keys = this.k(ctx, enc);
    const words = this.et(ctx, tgt).transpose(0, 1);
    const step = (h: Value, word: Value) => {
      const weights = F.einsum("bsd,bd->bs", keys, h).softmax(1);
      const context = F.einsum("bs,bsd->bd", weights, enc);
      const next = this.dec(ctx, F.cat([word, context], 1), h);
      return [next, this.o(ctx, F.cat([next, context], 1))] as const;
    };
    return F.scan(step, hidden.squeeze(0), words)[1].permute([1, 2, 0]);
  }
}

class GptBlock extends nn.Module {
  readonly ln1 = nn.LayerNorm(32);
  readonly qkv = nn.Linear(32, 96);
  readonly proj = nn.Linear(32, 32);
  readonly ln2 = nn.LayerNorm(32);
  readonly fc1 = nn.Linear(32, 64);
  readonly fc2 = nn.Linear(64, 32);
  forward(ctx: nn.Context, x: Value) {
    const [n, t] = [size(x), size(x, 1)];
    const heads = this.qkv(ctx, this.ln1(ctx, x)).chunk(3, -1);
    const [q, k, v] = heads.map((h) => h.reshape([n, t, 4, 8]).transpose(1, 2));
    const mixed = F.attention(q!, k!, v!, { causal: true });
    const y = x.add(this.proj(ctx, mixed.transpose(1, 2).reshape([n, t, 32])));
    return y.add(this.fc2(ctx, this.fc1(ctx, this.ln2(ctx, y)).gelu()));
  }
}

class Gpt extends nn.Module {
  readonly wte = nn.Embedding(32, 32);
  readonly wpe = nn.Embedding(16, 32);
  readonly blocks = [new GptBlock(), new GptBlock()];
  readonly lnf = nn.LayerNorm(32);
  forward(ctx: nn.Context, tokens: Value) {
    const x = this.wte(ctx, tokens).add(ctx.value(this.wpe.weight));
    const y = this.lnf(
      ctx,
      this.blocks.reduce((v, b) => b(ctx, v), x),
    );
    return y.matmul(ctx.value(this.wte.weight).transpose());
  }
}

class Vae extends nn.Module<readonly [x: Value, eps: Value], { y: Value; mu: Value; logvar: Value }> {
  readonly fc1 = nn.Linear(64, 32);
  readonly fc21 = nn.Linear(32, 4);
  readonly fc22 = nn.Linear(32, 4);
  readonly fc3 = nn.Linear(4, 32);
  readonly fc4 = nn.Linear(32, 64);
  forward(ctx: nn.Context, x: Value, eps: Value) {
    const h = this.fc1(ctx, x).relu();
    const [mu, logvar] = [this.fc21(ctx, h), this.fc22(ctx, h)];
    const z = mu.add(eps.mul(logvar.div(2).exp()));
    return { y: this.fc4(ctx, this.fc3(ctx, z).relu()), mu, logvar };
  }
}

class Stack extends nn.Module {
  readonly lstm1 = nn.LSTM(1, 50, { batchFirst: true });
  readonly lstm2 = nn.LSTM(50, 50, { batchFirst: true });
  readonly lstm3 = nn.LSTM(50, 50, { batchFirst: true });
  readonly drop = nn.Dropout(0.2);
  readonly fc = nn.Linear(50, 1);
  forward(ctx: nn.Context, x: Value) {
    const h = [this.lstm1, this.lstm2, this.lstm3].reduce((v, l) => this.drop(ctx, l(ctx, v).output as Value), x);
    return this.fc(ctx, h.select(1, -1));
  }
}

class Sentiment extends nn.Module {
  readonly embedding = nn.Embedding(300, 100);
  readonly rnn = nn.RNN(100, 256, { layers: 2, bidirectional: true });
  readonly fc = nn.Linear(512, 1);
  forward(ctx: nn.Context, text: Value) {
    const { hidden } = this.rnn(ctx, this.embedding(ctx, text));
    return this.fc(ctx, F.cat([hidden.select(0, -2), hidden.select(0, -1)], 1)).squeeze(1);
  }
}

class Dropped extends nn.Module<readonly [x: Value, mask1: Value, mask2: Value]> {
  readonly a = nn.Linear(10, 24);
  readonly b = nn.Linear(24, 24);
  readonly c = nn.Linear(24, 1);
  forward(ctx: nn.Context, x: Value, mask1: Value, mask2: Value) {
    const h = this.a(ctx, x).relu().mul(mask1).div(0.8);
    return this.c(ctx, this.b(ctx, h).relu().mul(mask2).div(0.5));
  }
}

const adam = (lr: number, more: object = {}) => optim.Adam({ lr, ...more });
const gradNorm = (found: readonly Value[]) =>
  F.stack(found.map((g) => g.square().sum()))
    .sum()
    .sqrt();
const smoothL1 = losses.smoothL1();

/** One step on the gradients of a module's parameters, clipped to a norm of 1; gives their norm before that. */
function clipped(
  ctx: Parameters<Parameters<typeof program>[1][string]["run"]>[0],
  loss: Value,
  net: nn.Module<never, unknown>,
  optimizer: optim.Optimizer,
  options: object = {},
): { loss: Value; gradNorm: Value } {
  const found = gradients(
    loss,
    ctx.parameters(net).map((p) => p.value),
  );
  ctx.applyGradients(found, net, optimizer, { clip: optim.clipNorm(1), ...options });
  return { loss, gradNorm: gradNorm(found) };
}

export const systems: Readonly<Record<string, () => Program>> = {
  actor_critic_fixed_rollouts() {
    const net = new ActorCritic();
    return program(net, {
      step: {
        inputs: { state: ["steps", 4], action: ids("steps"), ret: ["steps"] },
        run(ctx, { state, action, ret }) {
          const { pi, v } = net(ctx, state);
          const policy = logProb(pi, action).mul(ret.sub(v).detach()).sum().neg();
          const value = losses.smoothL1({ reduction: "sum" })(v, ret);
          const entropy = pi.softmax(-1).mul(pi.logSoftmax(-1)).sum().neg();
          const loss = policy.add(value).sub(entropy.mul(0.01));
          return { loss: ctx.minimize(loss, net, adam(0.01)), policy, value, entropy };
        },
      },
    });
  },
  capsnet_margin() {
    const net = new Capsules();
    return program(net, {
      step: {
        inputs: { x: [4, 1, 12, 12], y: ids(4) },
        run(ctx, { x, y }) {
          const { capsules, image } = net(ctx, x, y);
          const length = capsules.norm(2, -1);
          const t = F.oneHot(y, 4);
          const present = t.mul(length.rsub(0.9).relu().square());
          const absent = t.rsub(1).mul(length.sub(0.1).relu().square());
          const margin = present.add(absent.mul(0.5)).sum(1).mean();
          const recon = losses.mse()(image, x.flatten(1));
          return { loss: ctx.minimize(margin.add(recon.mul(0.05)), net, adam(0.002)), margin, recon };
        },
      },
    });
  },
  convnet_sgd() {
    const net = nn.sequential({
      conv1: nn.Conv2d(1, 6, 5),
      relu1: nn.ReLU(),
      pool1: nn.MaxPool2d(2),
      conv2: nn.Conv2d(6, 16, 5),
      relu2: nn.ReLU(),
      pool2: nn.MaxPool2d(2),
      flat: nn.Flatten(),
      fc1: nn.Linear(400, 120),
      relu3: nn.ReLU(),
      fc2: nn.Linear(120, 84),
      relu4: nn.ReLU(),
      fc3: nn.Linear(84, 10),
    });
    return classifier(net, ["n", 1, 32, 32], optim.SGD({ lr: 0.001, momentum: 0.9 }));
  },
  ctc_crnn() {
    const net = new Reader();
    return program(net, {
      step: {
        inputs: { x: [4, 1, 6, 14], targets: ids(4, 4), inputLengths: ids(4), targetLengths: ids(4) },
        run(ctx, { x, targets, inputLengths, targetLengths }) {
          const loss = losses.ctc()(net(ctx, x), targets, inputLengths, targetLengths);
          return { loss: ctx.minimize(loss, net, adam(0.01)) };
        },
      },
    });
  },
  dann_gradient_reversal() {
    const features = nn.sequential(nn.Linear(10, 24), nn.ReLU());
    const classifier = nn.Linear(24, 3);
    const domain = mlp(24, 16, 1)(nn.ReLU);
    const steps = nn.buffer([], nn.init.zeros);
    // The gradient is reversed with a factor that grows from step to step.
    const reverse = F.customVjp(
      (x: Value, _factor: Value) => x,
      ({ inputs: [, factor] }, d) => [d!.mul(factor).neg(), undefined],
    );
    return program(
      { features, classifier, domain, steps },
      {
        step: {
          inputs: { xs: ["n", 10], y: ids("n"), xt: ["n", 10] },
          run(ctx, { xs, y, xt }) {
            const s = ctx.value(steps);
            ctx.update(steps, s.add(1));
            const factor = F.div(
              2,
              s
                .mul(-10 / 60)
                .exp()
                .add(1),
            ).sub(1);
            const [fs, ft] = [features(ctx, xs), features(ctx, xt)];
            const classLoss = losses.crossEntropy()(classifier(ctx, fs), y);
            const d = domain(ctx, reverse(F.cat([fs, ft]), factor)).squeeze(1);
            const which = F.cat([F.zeros([size(xs)]), F.ones([size(xt)])]);
            const domainLoss = losses.bceWithLogits()(d, which);
            const optimizer = optim.SGD({ lr: 0.05, momentum: 0.9 });
            const loss = ctx.minimize(classLoss.add(domainLoss), [features, classifier, domain], optimizer);
            return { loss, classLoss, domainLoss };
          },
        },
      },
    );
  },
  distillation() {
    const [teacher, student] = [mlp(10, 48, 5)(nn.ReLU), mlp(10, 8, 5)(nn.ReLU)];
    return program(
      { teacher, student },
      {
        step: {
          inputs: { x: ["n", 10], y: ids("n") },
          run(ctx, { x, y }) {
            const known = ctx.eval(() => teacher(ctx, x)).detach();
            const logits = student(ctx, x);
            const soft = losses.klDiv({ reduction: "batchmean" })(logits.div(4).logSoftmax(1), known.div(4).softmax(1));
            const loss = soft.mul(0.7 * 16).add(losses.crossEntropy()(logits, y).mul(0.3));
            return { loss: ctx.minimize(loss, student, adam(0.01)) };
          },
        },
      },
    );
  },
  double_dqn_soft_update() {
    const [online, target] = [mlp(4, 24, 2)(nn.Tanh), mlp(4, 24, 2)(nn.Tanh)];
    return program(
      { online, target },
      {
        step: {
          inputs: { s: ["n", 4], a: ids("n"), r: ["n"], s2: ["n", 4] },
          run(ctx, { s, a, r, s2 }) {
            const best = online(ctx, s2).argMax(1, true);
            const y = target(ctx, s2).gather(1, best).squeeze(1).mul(0.95).add(r).detach();
            const q = online(ctx, s).gather(1, a.unsqueeze(1)).squeeze(1);
            const loss = ctx.minimize(losses.mse()(q, y), online, adam(0.002));
            ctx.blend(online, target, 0.05);
            return { loss };
          },
        },
      },
    );
  },
  dp_sgd() {
    const net = mlp(6, 16, 3)(nn.Tanh);
    const noises = ["0.weight", "0.bias", "2.weight", "2.bias"].map((n) => `noise.${n}`);
    return program(net, {
      step: {
        inputs: {
          x: [8, 6],
          y: ids(8),
          "noise.0.weight": [16, 6],
          "noise.0.bias": [16],
          "noise.2.weight": [3, 16],
          "noise.2.bias": [3],
        },
        run(ctx, { x, y, ...noise }) {
          const weights = ctx.parameters(net).map((p) => p.value);
          const lossOf = (xs: Value, ys: Value) => losses.crossEntropy()(net(ctx, xs), ys);
          const each = perSample(lossOf, [x, y], weights);
          const norms = F.norm(F.stack(each.map((g) => F.norm(g.flatten(1), 2, 1))), 2, 0);
          const scale = F.clamp(F.div(1, norms.add(1e-6)), undefined, 1);
          const private_ = each.map((g, i) => {
            const noisy = F.einsum("n,n...->...", scale, g).add((noise as Record<string, Value>)[noises[i]!]!.mul(0.8));
            return noisy.div(8);
          });
          const loss = lossOf(x, y);
          ctx.applyGradients(private_, net, optim.SGD({ lr: 0.2 }));
          return { loss, clippedFraction: F.gt(norms, 1).cast("f32").mean() };
        },
      },
    });
  },
  dqn_target_network() {
    const [online, target] = [mlp(4, 32, 32, 3)(nn.ReLU), mlp(4, 32, 32, 3)(nn.ReLU)];
    return program(
      { online, target },
      {
        step: {
          inputs: { s: ["n", 4], a: ids("n"), r: ["n"], s2: ["n", 4], done: ["n"] },
          run(ctx, { s, a, r, s2, done }) {
            const y = target(ctx, s2).amax(1).mul(0.99).mul(done.rsub(1)).add(r).detach();
            const q = online(ctx, s).gather(1, a.unsqueeze(1)).squeeze(1);
            const optimizer = optim.RMSprop({ lr: 0.001 });
            return { loss: ctx.minimize(smoothL1(q, y), online, optimizer, { clip: optim.clipValue(0.05) }) };
          },
        },
        sync: { inputs: {}, run: (ctx) => ctx.copy(online, target) },
      },
    );
  },
  gan_ttur() {
    const G = nn.sequential(
      nn.Linear(8, 144),
      nn.BatchNorm1d(144),
      nn.ReLU(),
      nn.Unflatten(1, [16, 3, 3]),
      nn.ConvTranspose2d(16, 8, 4, { stride: 2, padding: 1, bias: false }),
      nn.BatchNorm2d(8),
      nn.ReLU(),
      nn.ConvTranspose2d(8, 1, 4, { stride: 2, padding: 1 }),
      nn.Tanh(),
    );
    const D = nn.sequential(
      nn.Conv2d(1, 8, 4, { stride: 2, padding: 1 }),
      nn.LeakyReLU(0.2),
      nn.Conv2d(8, 16, 4, { stride: 2, padding: 1 }),
      nn.LeakyReLU(0.2),
      nn.Flatten(),
      nn.Linear(144, 1),
    );
    const bce = (x: Value, y: number) => losses.bceWithLogits()(x, F.fullLike(x, y));
    return program(
      { G, D },
      {
        step: {
          inputs: { real: ["n", 1, 12, 12], z: ["n", 8] },
          run(ctx, { real, z }) {
            const fake = G(ctx, z);
            const lossD = bce(D(ctx, real), 1).add(bce(D(ctx, fake.detach()), 0));
            ctx.minimize(lossD, D, adam(4e-4, { betas: [0.5, 0.999] }));
            const lossG = bce(D(ctx, fake), 1);
            ctx.minimize(lossG, G, adam(1e-4, { betas: [0.5, 0.999] }));
            return { lossD, lossG };
          },
        },
      },
    );
  },
  lstm_stack_adam() {
    const net = new Stack();
    return program(net, {
      step: {
        inputs: { x: ["n", 30, 1], y: ["n", 1] },
        run: (ctx, { x, y }) => ({
          loss: ctx.minimize(
            losses.mse()(
              ctx.eval(() => net(ctx, x)),
              y,
            ),
            net,
            adam(0.001),
          ),
        }),
      },
    });
  },
  mixup() {
    const net = nn.sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 4));
    return program(net, {
      step: {
        inputs: { x: ["n", 1, 8, 8], y: ids("n"), lam: [], perm: ids("n") },
        run(ctx, { x, y, lam, perm }) {
          const logits = net(ctx, F.lerp(x.indexSelect(0, perm), x, lam));
          const ce = losses.crossEntropy();
          const loss = F.lerp(ce(logits, y.indexSelect(0, perm)), ce(logits, y), lam);
          return { loss: ctx.minimize(loss, net, optim.SGD({ lr: 0.05, momentum: 0.9 })) };
        },
      },
    });
  },
  mlp_dropout_masks() {
    const net = new Dropped();
    return program(net, {
      step: {
        inputs: { x: ["n", 10], y: ["n", 1], mask1: ["n", 24], mask2: ["n", 24] },
        run: (ctx, { x, y, mask1, mask2 }) => ({
          loss: ctx.minimize(losses.mse()(net(ctx, x, mask1, mask2), y), net, adam(0.01)),
        }),
      },
    });
  },
  mlp_sgd: () =>
    classifier(
      nn.sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4)),
      ["n", 12],
      optim.SGD({ lr: 0.1, momentum: 0.9, weightDecay: 1e-4 }),
    ),
  ppo_clip() {
    const net = new ActorCritic();
    return program(net, {
      step: {
        inputs: { state: ["n", 4], action: ids("n"), advantage: ["n"], ret: ["n"], oldLogProb: ["n"] },
        run(ctx, { state, action, advantage, ret, oldLogProb }) {
          const { pi, v } = net(ctx, state);
          const ratio = logProb(pi, action).sub(oldLogProb).exp();
          const gain = F.minimum(ratio.mul(advantage), ratio.clamp(0.8, 1.2).mul(advantage)).mean();
          return { loss: ctx.minimize(losses.mse()(v, ret).mul(0.5).sub(gain), net, adam(0.003)) };
        },
      },
    });
  },
  reinforce_fixed_rollouts() {
    const net = mlp(4, 32, 2)(nn.ReLU);
    return program(net, {
      step: {
        inputs: { state: [12, 4], action: ids(12), reward: [12] },
        run(ctx, { state, action, reward }) {
          const later = F.arange(12).unsqueeze(0).sub(F.arange(12).unsqueeze(1));
          const discounts = F.pow(0.98, later.cast("f32")).triu();
          const returns = discounts.matmul(reward);
          const standard = returns.sub(returns.mean()).div(returns.std().add(1e-7));
          const loss = logProb(net(ctx, state), action).mul(standard).sum().neg();
          return { loss: ctx.minimize(loss, net, adam(0.01)) };
        },
      },
    });
  },
  resnet_bn_sgd: () =>
    classifier(new ResNet(), ["n", 3, 12, 12], optim.SGD({ lr: 0.05, momentum: 0.9, weightDecay: 5e-4 })),
  retinanet_focal() {
    const net = new Retina();
    return program(net, {
      step: {
        inputs: { x: [2, 3, 16, 16], target: [2, 32, 3], fg: [2, 32], boxes: [2, 32, 4] },
        run(ctx, { x, target, fg, boxes }) {
          const { cls, box } = net(ctx, x);
          const count = fg.sum();
          const focal = losses.focal({ alpha: 0.25, gamma: 2, reduction: "sum" })(cls, target).div(count);
          const each = losses.smoothL1({ beta: 1 / 9, reduction: "none" })(box, boxes);
          const boxLoss = each.mul(fg.unsqueeze(2)).sum().div(count);
          return { loss: ctx.minimize(focal.add(boxLoss), net, adam(0.003)), focal, boxLoss };
        },
      },
    });
  },
  rnn_sentiment_adam() {
    const net = new Sentiment();
    return program(net, {
      step: {
        inputs: { text: ids(12, "n"), label: ["n"] },
        run: (ctx, { text, label }) => ({
          loss: ctx.minimize(losses.bceWithLogits()(net(ctx, text), label), net, adam(0.001)),
        }),
      },
    });
  },
  segmentation_unet() {
    const net = new UNet();
    return program(net, {
      step: {
        inputs: { x: [2, 1, 12, 12], y: ids(2, 12, 12) },
        run(ctx, { x, y }) {
          const logits = net(ctx, x);
          const dice = losses.dice()(logits, y);
          const optimizer = optim.AdamW({ lr: 0.01, weightDecay: 0.01 });
          return { loss: ctx.minimize(losses.crossEntropy()(logits, y).add(dice), net, optimizer), dice };
        },
      },
    });
  },
  seq2seq_attention_teacher_forcing() {
    const net = new Translator();
    const words = ids("n", "steps");
    return program(net, {
      step: {
        inputs: { src: words, tgtIn: words, tgtOut: words },
        run: (ctx, { src, tgtIn, tgtOut }) =>
          clipped(ctx, losses.crossEntropy({ ignoreIndex: 0 })(net(ctx, src, tgtIn), tgtOut), net, adam(0.01)),
      },
    });
  },
  transformer_lm_adamw() {
    const net = new Gpt();
    return program(net, {
      step: {
        inputs: { tokens: ids("n", 17) },
        run(ctx, { tokens }) {
          const logits = net(ctx, tokens.narrow(1, 0, 16));
          const loss = losses.crossEntropy()(logits.flatten(0, 1), tokens.narrow(1, 1, 16).flatten());
          return clipped(ctx, loss, net, optim.AdamW({ lr: 0.003, weightDecay: 0.1 }), {
            schedule: schedules.warmup(0.003, 10),
          });
        },
      },
    });
  },
  vae_adam() {
    const net = new Vae();
    return program(net, {
      step: {
        inputs: { x: ["n", 64], eps: ["n", 4] },
        run(ctx, { x, eps }) {
          const { y, mu, logvar } = net(ctx, x, eps);
          const kl = logvar.add(1).sub(mu.square()).sub(logvar.exp()).sum().mul(-0.5);
          const loss = losses.bceWithLogits({ reduction: "sum" })(y, x).add(kl);
          return { loss: ctx.minimize(loss, net, adam(0.001)), kl };
        },
      },
    });
  },
  word2vec_negative_sampling() {
    const [center, context] = [nn.Embedding(60, 12), nn.Embedding(60, 12)];
    return program(
      { center, context },
      {
        step: {
          inputs: { c: ids("n"), o: ids("n"), neg: ids("n", 5) },
          run(ctx, { c, o, neg }) {
            const u = center(ctx, c);
            const near = u.mul(context(ctx, o)).sum(1).logSigmoid();
            const far = F.einsum("nkd,nd->nk", context(ctx, neg), u).neg().logSigmoid().sum(1);
            return { loss: ctx.minimize(near.add(far).mean().neg(), [center, context], optim.SGD({ lr: 0.5 })) };
          },
        },
      },
    );
  },
};

function classifier(net: nn.Layer, shape: (string | number)[], optimizer: optim.Optimizer): Program {
  return program(net, {
    step: {
      inputs: { x: shape, y: ids("n") },
      run: (ctx, { x, y }) => ({ loss: ctx.minimize(losses.crossEntropy()(net(ctx, x), y), net, optimizer) }),
    },
  });
}
