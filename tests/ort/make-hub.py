"""
Writes tests/fixtures/ort: small models of random weights in the files and names of transformers.js, exported from PyTorch as its users export
theirs. Run with PyTorch 1.13 and onnx: python3 tests/ort/make-hub.py
"""
import io
import json
import math
import os

import onnx
import torch
from onnx import helper
from torch import nn

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "ort")
D, HEADS, LAYERS = 32, 4, 2
OPSET = 14

# ---------------------------------------------------------------------------------------------- layers


class Attention(nn.Module):
    """Keys and values of earlier tokens come before those of now; both are given back."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(D, D) for _ in range(4))

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], HEADS, D // HEADS).transpose(1, 2)

    def forward(self, x, mask=None, source=None, past=None, keys=None):
        if keys is None:
            source = x if source is None else source
            keys = self.split(self.k(source)), self.split(self.v(source))
        if past is not None:
            keys = tuple(torch.cat([p, k], dim=2) for p, k in zip(past, keys))
        scores = self.split(self.q(x)) @ keys[0].transpose(2, 3) / math.sqrt(D // HEADS)
        if mask is not None:
            scores = scores + mask
        y = (torch.softmax(scores, -1) @ keys[1]).transpose(1, 2).reshape(x.shape)
        return self.out(y), keys


class Layer(nn.Module):
    def __init__(self, crosses=False):
        super().__init__()
        self.attention, self.norm1 = Attention(), nn.LayerNorm(D)
        if crosses:
            self.cross, self.norm3 = Attention(), nn.LayerNorm(D)
        self.fc1, self.fc2, self.norm2 = nn.Linear(D, 2 * D), nn.Linear(2 * D, D), nn.LayerNorm(D)

    def forward(self, x, mask=None, past=None, encoded=None, encoded_keys=None):
        y, keys = self.attention(self.norm1(x), mask, past=past)
        x = x + y
        crossed = None
        if hasattr(self, "cross"):
            y, crossed = self.cross(self.norm3(x), source=encoded, keys=encoded_keys)
            x = x + y
        x = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return x, keys, crossed


def mask_of(attention_mask):
    return (1.0 - attention_mask[:, None, None, :].float()) * -1e9


class Encoder(nn.Module):
    def __init__(self, positions=64):
        super().__init__()
        self.position = nn.Embedding(positions, D)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D)

    def forward(self, x, mask=None):
        x = x + self.position(torch.arange(x.shape[1]))[None]
        for layer in self.layers:
            x = layer(x, mask)[0]
        return self.norm(x)


# ---------------------------------------------------------------------------------------------- models


class Bert(nn.Module):
    def __init__(self, vocab, head):
        super().__init__()
        self.word, self.segment, self.encoder = nn.Embedding(vocab, D), nn.Embedding(2, D), Encoder()
        self.head, self.labels = head, nn.Linear(D, 3)

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.encoder(self.word(input_ids) + self.segment(token_type_ids), mask_of(attention_mask))
        if self.head == "states":
            return x
        return self.labels(torch.tanh(x[:, 0]) if self.head == "text" else x)


class Vision(nn.Module):
    def __init__(self, detects):
        super().__init__()
        self.patches = nn.Conv2d(3, D, 8, 8)
        self.encoder, self.detects = Encoder(128), detects
        self.queries = nn.Parameter(torch.randn(6 if detects else 1, D))
        self.labels, self.boxes = nn.Linear(D, 5), nn.Linear(D, 4)

    def forward(self, pixel_values):
        x = self.patches(pixel_values).flatten(2).transpose(1, 2)
        queries = self.queries[None].expand(x.shape[0], -1, -1)
        y = self.encoder(torch.cat([queries, x], 1))[:, : self.queries.shape[0]]
        if not self.detects:
            return self.labels(y[:, 0])
        return self.labels(y) * 3, torch.sigmoid(self.boxes(y))


class Speech(nn.Module):
    """As wav2vec2: convolutions over samples, and a letter for each frame."""

    def __init__(self, letters):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(1, D, 10, 40), nn.Conv1d(D, D, 3, 4)
        self.norm, self.encoder, self.letters = nn.GroupNorm(4, D), Encoder(256), nn.Linear(D, letters)

    def forward(self, input_values):
        x = nn.functional.gelu(self.norm(self.conv1(input_values[:, None])))
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        return self.letters(self.encoder(x)) * 4


class Decoder(nn.Module):
    """A decoder alone, or of an encoder's states."""

    def __init__(self, vocab, crosses=False):
        super().__init__()
        self.word, self.position = nn.Embedding(vocab, D), nn.Embedding(64, D)
        self.layers = nn.ModuleList(Layer(crosses) for _ in range(LAYERS))
        self.norm, self.logits = nn.LayerNorm(D), nn.Linear(D, vocab)

    def forward(self, input_ids, past, attention_mask=None, position_ids=None, encoded=None, encoded_keys=None):
        before = 0 if past is None else past[0][0].shape[2]
        length = input_ids.shape[1]
        positions = torch.arange(before, before + length)[None] if position_ids is None else position_ids
        later = torch.arange(before, before + length)[:, None] < torch.arange(before + length)[None]
        mask = later[None, None].float() * -1e9
        if attention_mask is not None:
            mask = mask + mask_of(attention_mask)
        x = self.word(input_ids) + self.position(positions)
        keys, crossed = [], []
        for i, layer in enumerate(self.layers):
            known = None if encoded_keys is None else encoded_keys[i]
            x, own, other = layer(x, mask, None if past is None else past[i], encoded, known)
            keys.append(own)
            crossed.append(other)
        return self.logits(self.norm(x)) * 4, keys, crossed


class CausalModel(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.decoder = Decoder(vocab)

    def forward(self, input_ids, attention_mask, position_ids, *past):
        pairs = [past[2 * i : 2 * i + 2] for i in range(LAYERS)]
        logits, keys, _ = self.decoder(input_ids, pairs, attention_mask, position_ids)
        return (logits, *[t for pair in keys for t in pair])


class TextEncoder(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.word, self.encoder = nn.Embedding(vocab, D), Encoder()

    def forward(self, input_ids, attention_mask):
        return self.encoder(self.word(input_ids), mask_of(attention_mask))


class SpectrogramEncoder(nn.Module):
    """As whisper's."""

    def __init__(self, mels):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(mels, D, 3, 5, 1), nn.Conv1d(D, D, 3, 10, 1)
        self.encoder = Encoder(64)

    def forward(self, input_features):
        x = nn.functional.gelu(self.conv2(nn.functional.gelu(self.conv1(input_features))))
        return self.encoder(x.transpose(1, 2))


class FirstStep(nn.Module):
    """A decoder without a past: computes the keys of what is encoded, too."""

    def __init__(self, decoder, masked):
        super().__init__()
        self.decoder, self.masked = decoder, masked

    def forward(self, input_ids, encoder_hidden_states, *mask):
        logits, keys, crossed = self.decoder(input_ids, None, encoded=encoder_hidden_states)
        return (logits, *[t for own, other in zip(keys, crossed) for t in (*own, *other)])


class NextStep(nn.Module):
    """A decoder with a past."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, input_ids, *past):
        own = [past[4 * i : 4 * i + 2] for i in range(LAYERS)]
        other = [past[4 * i + 2 : 4 * i + 4] for i in range(LAYERS)]
        logits, keys, _ = self.decoder(input_ids, own, encoded_keys=other)
        return (logits, *[t for pair in keys for t in pair])


# ---------------------------------------------------------------------------------------------- export


def export(module, inputs, names, outputs, axes):
    file = io.BytesIO()
    torch.onnx.export(
        module.eval(), inputs, file, input_names=names, output_names=outputs, dynamic_axes=axes, opset_version=OPSET
    )
    return onnx.load_from_string(file.getvalue())


def folder_of(name):
    path = os.path.join(HERE, name)
    os.makedirs(os.path.join(path, "onnx"), exist_ok=True)
    return path


def write(name, files, **models):
    path = folder_of(name)
    for file, content in files.items():
        with open(os.path.join(path, file), "w") as out:
            json.dump(content, out, indent=1, ensure_ascii=False)
            out.write("\n")
    for file, model in models.items():
        onnx.checker.check_model(model)
        onnx.save(model, os.path.join(path, "onnx", f"{file}.onnx"))


def merged(first, following, past):
    """Optimum's merged decoder: one file that takes a branch by whether there is a past."""

    def renamed(graph, prefix, keep):
        of = {}
        for node in graph.node:
            for out in node.output:
                if out not in keep:
                    of[out] = prefix + out
        for node in graph.node:
            node.name = prefix + node.name
            node.input[:] = [of.get(n, n) for n in node.input]
            node.output[:] = [of.get(n, n) for n in node.output]

    outputs = [o.name for o in first.graph.output]
    weights = {}

    def lift(graph):
        of = {}
        for w in graph.initializer:
            key = (tuple(w.dims), w.data_type, w.raw_data)
            if key not in weights:
                weights[key] = f"weight.{len(weights)}"
            of[w.name] = weights[key]
        for node in graph.node:
            node.input[:] = [of.get(n, n) for n in node.input]
        del graph.initializer[:]

    for graph, prefix in ((first.graph, "first."), (following.graph, "next.")):
        lift(graph)
        renamed(graph, prefix, set(outputs))
    # What is encoded has the keys of the first step; these stand for them.
    missing = [o for o in outputs if o not in {x.name for x in following.graph.output}]
    for name in missing:
        empty = helper.make_tensor(name, 1, [0, HEADS, 1, D // HEADS], [])
        following.graph.node.append(helper.make_node("Constant", [], [name], value=empty, name=f"next.empty.{name}"))
        following.graph.output.append(helper.make_tensor_value_info(name, 1, [0, HEADS, 1, D // HEADS]))
    order = {o.name: o for o in following.graph.output}
    branch = lambda graph, outs: helper.make_graph(list(graph.node), graph.name, [], outs)
    then = branch(following.graph, [order[n] for n in outputs])
    other = branch(first.graph, list(first.graph.output))
    flag = helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    node = helper.make_node("If", ["use_cache_branch"], outputs, name="optimum::if", then_branch=then, else_branch=other)
    inputs = list(first.graph.input) + [i for i in following.graph.input if i.name in past] + [flag]
    initializers = [
        helper.make_tensor(name, dtype, dims, raw, raw=True) for (dims, dtype, raw), name in weights.items()
    ]
    graph = helper.make_graph([node], "merged", inputs, list(first.graph.output), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=7)


def export_merged(decoder, masked):
    states, ids = torch.randn(2, 5, D), torch.ones(2, 3, dtype=torch.int64)
    cache = lambda n: torch.randn(2, HEADS, n, D // HEADS)
    kinds = [(who, what) for who in ("decoder", "encoder") for what in ("key", "value")]
    present = [f"present.{i}.{who}.{what}" for i in range(LAYERS) for who, what in kinds]
    past = [n.replace("present", "past_key_values") for n in present]
    length = lambda n, prefix: f"{prefix}decoder_sequence_length" if ".decoder." in n else "encoder_sequence_length"
    names = ["input_ids", "encoder_hidden_states"] + (["encoder_attention_mask"] if masked else [])
    axes = {
        "input_ids": {0: "batch_size", 1: "decoder_sequence_length"},
        "encoder_hidden_states": {0: "batch_size", 1: "encoder_sequence_length"},
        "encoder_attention_mask": {0: "batch_size", 1: "encoder_sequence_length"},
        "logits": {0: "batch_size", 1: "decoder_sequence_length"},
        **{n: {0: "batch_size", 2: length(n, "past_")} for n in past},
        **{n: {0: "batch_size", 2: length(n, "total_")} for n in present},
    }
    pick = lambda keys: {k: v for k, v in axes.items() if k in keys}
    mask = [torch.ones(2, 5, dtype=torch.int64)] if masked else []
    first_names = names[:2]
    first = export(FirstStep(decoder, masked), (ids, states), first_names, ["logits", *present], pick([*first_names, "logits", *present]))
    caches = [cache(4 if ".decoder." in n else 5) for n in past]
    own = [n for n in present if ".decoder." in n]
    following = export(NextStep(decoder), (ids, *caches), ["input_ids", *past], ["logits", *own], pick(["input_ids", "logits", *past, *own]))
    model = merged(first, following, past)
    if masked:
        model.graph.input.insert(1, helper.make_tensor_value_info("encoder_attention_mask", 7, ["batch_size", "encoder_sequence_length"]))
    return model


# ---------------------------------------------------------------------------------------------- tokenizers

WORDS = (
    "the a of and to in is was it for on with he she they be at by this that from or had not are but what all were when we there can an your "
    "which their said if do will each about how up out them then many some so these would other into has more her two like him see time could no "
    "make than first been its who now people my made over did down only way find use may water long little very after words called just where most "
    "know get through back much before go good new write our used me man too any day same right look think also around another came come work "
    "three word must because does part even place well such here take why things help put years different away again off went old number great "
    "tell men say small every found still between name should home big give air line set own under read last never us left end along while might "
    "next sound below saw something thought both few those always looked show large often together asked house world going want school important"
).split()


def word_pieces():
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?'", *letters, *[f"##{c}" for c in letters], *WORDS]
    return list(dict.fromkeys(pieces))


def bert_tokenizer():
    pieces = word_pieces()
    special = [
        {"id": i, "content": pieces[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i in range(5)
    ]
    token = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    second = lambda t: {"SpecialToken": {"id": t, "type_id": 1}}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}, second("[SEP]")],
            "special_tokens": {t: {"id": t, "ids": [pieces.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {p: i for i, p in enumerate(pieces)},
        },
    }
    config = {
        "tokenizer_class": "BertTokenizer",
        "model_max_length": 64,
        "do_lower_case": True,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": config}, len(pieces)


def words_tokenizer(tokenizer_class, special, ends):
    """One token a word, as causal and translating models have them here; `ends`: the token that is put behind a text."""
    vocab = list(dict.fromkeys([*special, *".,!?'", *WORDS]))
    end = special[1]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, t in enumerate(special)
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {end: {"id": end, "ids": [1], "tokens": [end]}},
        }
        if ends
        else None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "unk_token": special[2], "vocab": {w: i for i, w in enumerate(vocab)}},
    }
    config = {
        "tokenizer_class": tokenizer_class,
        "model_max_length": 64,
        "pad_token": special[0],
        "eos_token": end,
        "unk_token": special[2],
    }
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": config}, len(vocab)


# ---------------------------------------------------------------------------------------------- the folders


def bert(name, head, labels, architecture):
    files, vocab = bert_tokenizer()
    torch.manual_seed(len(name))
    ids = torch.ones(2, 7, dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    out = "last_hidden_state" if head == "states" else "logits"
    axes = {n: {0: "batch_size", 1: "sequence_length"} for n in names}
    axes[out] = {0: "batch_size"} if head == "text" else {0: "batch_size", 1: "sequence_length"}
    model = export(Bert(vocab, head), (ids, ids, ids * 0), names, [out], axes)
    config = {
        "model_type": "bert",
        "architectures": [architecture],
        "hidden_size": D,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "vocab_size": vocab,
        "pad_token_id": 0,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    write(name, {"config.json": config, **files}, model=model)


def vision(name, detects, model_type, architecture, labels, preprocessor):
    torch.manual_seed(len(name))
    pixels = torch.randn(2, 3, 32, 48)
    axes = {"pixel_values": {0: "batch_size", 2: "height", 3: "width"}}
    outputs = ["logits", "pred_boxes"] if detects else ["logits"]
    axes.update({o: {0: "batch_size"} for o in outputs})
    model = export(Vision(detects), (pixels,), ["pixel_values"], outputs, axes)
    config = {
        "model_type": model_type,
        "architectures": [architecture],
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    write(name, {"config.json": config, "preprocessor_config.json": preprocessor}, model=model)


def speech():
    torch.manual_seed(5)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHRDLU"]
    special = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, t in enumerate(letters[:4])
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "|"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(letters)}},
    }
    axes = {"input_values": {0: "batch_size", 1: "sequence_length"}, "logits": {0: "batch_size", 1: "frames"}}
    model = export(Speech(len(letters)), (torch.randn(2, 4000),), ["input_values"], ["logits"], axes)
    files = {
        "config.json": {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"], "vocab_size": len(letters)},
        "preprocessor_config.json": {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "processor_class": "Wav2Vec2Processor",
            "do_normalize": True,
            "feature_size": 1,
            "padding_value": 0.0,
            "sampling_rate": 16000,
            "return_attention_mask": False,
        },
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "processor_class": "Wav2Vec2Processor",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "model_max_length": 1000,
        },
    }
    write("wav2vec2", files, model=model)


def causal():
    torch.manual_seed(6)
    files, vocab = words_tokenizer("PreTrainedTokenizer", ["<pad>", "</s>", "<unk>"], ends=False)
    ids = torch.ones(2, 3, dtype=torch.int64)
    past = [f"past_key_values.{i}.{what}" for i in range(LAYERS) for what in ("key", "value")]
    present = [n.replace("past_key_values", "present") for n in past]
    caches = [torch.randn(2, HEADS, 4, D // HEADS) for _ in past]
    axes = {
        "input_ids": {0: "batch_size", 1: "sequence_length"},
        "attention_mask": {0: "batch_size", 1: "past_sequence_length + sequence_length"},
        "position_ids": {0: "batch_size", 1: "sequence_length"},
        "logits": {0: "batch_size", 1: "sequence_length"},
        **{n: {0: "batch_size", 2: "past_sequence_length"} for n in past},
        **{n: {0: "batch_size", 2: "past_sequence_length + sequence_length"} for n in present},
    }
    inputs = (ids, torch.ones(2, 7, dtype=torch.int64), ids * 0 + torch.arange(4, 7), *caches)
    model = export(CausalModel(vocab), inputs, ["input_ids", "attention_mask", "position_ids", *past], ["logits", *present], axes)
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": D,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "vocab_size": vocab,
        "eos_token_id": 1,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    generation = {"eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 12}
    write("gpt2", {"config.json": config, "generation_config.json": generation, **files}, model=model)


def translation():
    torch.manual_seed(8)
    files, vocab = words_tokenizer("T5Tokenizer", ["<pad>", "</s>", "<unk>"], ends=True)
    ids = torch.ones(2, 7, dtype=torch.int64)
    axes = {n: {0: "batch_size", 1: "encoder_sequence_length"} for n in ("input_ids", "attention_mask", "last_hidden_state")}
    encoder = export(TextEncoder(vocab), (ids, ids), ["input_ids", "attention_mask"], ["last_hidden_state"], axes)
    config = {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "d_model": D,
        "d_kv": D // HEADS,
        "num_heads": HEADS,
        "num_layers": LAYERS,
        "num_decoder_layers": LAYERS,
        "vocab_size": vocab,
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    generation = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 12}
    decoder = export_merged(Decoder(vocab, crosses=True), masked=True)
    write(
        "t5",
        {"config.json": config, "generation_config.json": generation, **files},
        encoder_model=encoder,
        decoder_model_merged=decoder,
    )


def transcription():
    """As whisper, of English alone: five seconds of sound, 16 bands."""
    torch.manual_seed(9)
    files, vocab = words_tokenizer("WhisperTokenizer", ["<|endoftext|>", "<|startoftranscript|>", "<unk>"], ends=False)
    silent = "<|notimestamps|>"  # tokens behind it are times
    special = {"id": vocab, "content": silent, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    files["tokenizer.json"]["added_tokens"].append(special)
    files["tokenizer.json"]["model"]["vocab"][silent] = vocab
    files["tokenizer_config.json"]["eos_token"] = "<|endoftext|>"
    axes = {"input_features": {0: "batch_size"}, "last_hidden_state": {0: "batch_size"}}
    encoder = export(SpectrogramEncoder(16), (torch.randn(2, 16, 500),), ["input_features"], ["last_hidden_state"], axes)
    decoder = export_merged(Decoder(vocab + 1, crosses=True), masked=False)
    config = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "is_encoder_decoder": True,
        "d_model": D,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_layers": LAYERS,
        "decoder_layers": LAYERS,
        "num_mel_bins": 16,
        "max_source_positions": 10,
        "vocab_size": vocab + 1,
        "decoder_start_token_id": 1,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    generation = {
        "decoder_start_token_id": 1,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "is_multilingual": False,
        "no_timestamps_token_id": vocab,
        "begin_suppress_tokens": [0, vocab],
        "max_new_tokens": 12,
    }
    preprocessor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": 16,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 80000,
        "nb_max_frames": 500,
        "chunk_length": 5,
        "sampling_rate": 16000,
        "padding_value": 0.0,
    }
    write(
        "whisper",
        {"config.json": config, "generation_config.json": generation, "preprocessor_config.json": preprocessor, **files},
        encoder_model=encoder,
        decoder_model_merged=decoder,
    )


if __name__ == "__main__":
    bert("bert-nli", "text", ["contradiction", "neutral", "entailment"], "BertForSequenceClassification")
    bert("bert-states", "states", [], "BertModel")
    bert("bert-entities", "tokens", ["O", "B-PER", "B-LOC"], "BertForTokenClassification")
    half = [0.5, 0.5, 0.5]
    pixels = {"do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True, "image_mean": half, "image_std": half, "resample": 2}
    vision("vit", False, "vit", "ViTForImageClassification", ["cat", "dog", "bird", "fish", "tree"], {
        "image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, **pixels})
    vision("yolos", True, "yolos", "YolosForObjectDetection", ["cat", "dog", "bird", "fish", "none"], {
        "image_processor_type": "YolosImageProcessor", "size": {"shortest_edge": 32, "longest_edge": 64}, "do_pad": False, **pixels})
    speech()
    causal()
    translation()
    transcription()
