"""Runs artefacts of wasmith in Python, by wasmtime.

This one file and the package ``wasmtime`` are all that is needed: copy it beside your code. Where numpy is installed, results are numpy
arrays, else `Tensor`s. ::

    import wasmith

    session = wasmith.load("model.wasm")
    print(session.inputs)                    # [TensorType(name='x', dtype='f32', shape=('n', 3))]
    y = session.run({"x": x})["y"]

It is what `wasmith/runtime` is in JavaScript, with the same errors and, in a variant without relaxed SIMD, the same bits. What it has not:
threads, encrypted artefacts, `fit` (`step` trains on a batch) and export to ONNX. `runtime/format.ts` defines what it reads.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import mmap
import os
import struct
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union
from collections.abc import Iterable, Mapping, Sequence

import wasmtime

try:
    import numpy
except ImportError:  # Results are `Tensor`s then.
    numpy = None  # type: ignore[assignment]

__all__ = [
    "EntrySignature",
    "InternalError",
    "ModelError",
    "Problem",
    "Report",
    "Session",
    "StateType",
    "Tensor",
    "TensorType",
    "load",
    "read_safetensors",
    "write_safetensors",
]

if sys.byteorder != "little":
    raise ImportError("wasmith: WebAssembly's memory is little-endian, and this machine is not")

# ---------------------------------------------------------------------------------------------------------------- errors


class Problem(NamedTuple):
    """One thing that is wrong: the place, what is so, and what to do about it."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f"\n  → {self.hint}" if self.hint else "")


class ModelError(Exception):
    """The artefact, the feeds or the options are wrong. `problems` lists all that were found, at least one."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        listed = "\n".join(f"- {p}" for p in problems)
        super().__init__(f"{len(problems)} problems:\n{listed}" if len(problems) > 1 else str(problems[0]))


class InternalError(Exception):
    """A trap, or what can't happen. Always a bug in wasmith."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} (this is a bug in wasmith)")


def _error(where: str, message: str, hint: str = "") -> ModelError:
    return ModelError(Problem(where, message, hint))


def _corrupted(message: str) -> ModelError:
    return _error("artefact", message, "the file is damaged or incomplete: compile it again or copy it anew")


def _instead(name: str, names: Sequence[str], whose: str) -> str:
    meant = difflib.get_close_matches(name, names, 1) if len(names) > 1 else []
    return f"{whose}: {', '.join(names) or 'none'}" + (f'; did you mean "{meant[0]}"?' if meant else "")


# --------------------------------------------------------------------------------------------------------------- tensors


class _Kind(NamedTuple):
    """How elements of a dtype are stored: format of `struct`, bytes, numpy's name, name in safetensors files."""

    code: str
    size: int
    array: str
    file: str


_kinds: Dict[str, _Kind] = {
    "f32": _Kind("f", 4, "float32", "F32"),
    "f64": _Kind("d", 8, "float64", "F64"),
    "f16": _Kind("e", 2, "float16", "F16"),
    "i8": _Kind("b", 1, "int8", "I8"),
    "u8": _Kind("B", 1, "uint8", "U8"),
    "i16": _Kind("h", 2, "int16", "I16"),
    "u16": _Kind("H", 2, "uint16", "U16"),
    "i32": _Kind("i", 4, "int32", "I32"),
    "u32": _Kind("I", 4, "uint32", "U32"),
    "i64": _Kind("q", 8, "int64", "I64"),
    "u64": _Kind("Q", 8, "uint64", "U64"),
    "bool": _Kind("?", 1, "bool", "BOOL"),
    "bf16": _Kind("H", 2, "uint16", "BF16"),
    # One element a byte.
    "i4": _Kind("b", 1, "int8", "I8"),
    "u4": _Kind("B", 1, "uint8", "U8"),
    "i2": _Kind("b", 1, "int8", "I8"),
    "u2": _Kind("B", 1, "uint8", "U8"),
    "f8e4m3fn": _Kind("B", 1, "uint8", "F8_E4M3"),
    "f8e4m3fnuz": _Kind("B", 1, "uint8", "F8_E4M3FNUZ"),
    "f8e5m2": _Kind("B", 1, "uint8", "F8_E5M2"),
    "f8e5m2fnuz": _Kind("B", 1, "uint8", "F8_E5M2FNUZ"),
    "f8e8m0": _Kind("B", 1, "uint8", "F8_E8M0"),
    "f4e2m1": _Kind("B", 1, "uint8", "F4_E2M1"),
}


@dataclass(frozen=True)
class Tensor:
    """A dense, row-major tensor. `data` holds its elements as they lie in memory; bf16 and float8 are bit patterns, bool is 0 or 1."""

    dtype: str
    shape: Tuple[int, ...]
    data: bytes

    def tolist(self) -> Any:
        """Nested lists of Python numbers; of a tensor without axes, the number. bf16 as floats, float8 as bit patterns."""
        count = math.prod(self.shape)
        flat: List[Any] = list(struct.unpack(f"<{count}{_kinds[self.dtype].code}", self.data))
        if self.dtype == "bf16":
            flat = list(struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(bits << 16 for bits in flat))))
        for size in reversed(self.shape[1:]):
            rows = len(flat) // size if size else math.prod(self.shape[:-1])
            flat = [flat[i * size : (i + 1) * size] for i in range(rows)]
        return flat if self.shape else flat[0]

    def numpy(self) -> Any:
        """A read-only array over the same memory; bf16 as uint16."""
        return numpy.frombuffer(self.data, _kinds[self.dtype].array).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Any:
        array = self.numpy()
        return array.copy() if copy and dtype is None else array.astype(dtype or array.dtype, copy=bool(copy))


Feed = Any
"""A numpy array, a `Tensor`, nested lists of numbers, or any flat buffer (`array.array`), whose shape follows from its length."""


class TensorType(NamedTuple):
    """An input or output. Sizes that a run decides stand by name: ``('batch', 3, 'n*2')``."""

    name: str
    dtype: str
    shape: Tuple[Union[int, str], ...]


class StateType(NamedTuple):
    """A tensor that outlives runs. `role` is param, buffer, optimizer, rng, counter, hyper, metric or cache."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    role: str


class EntrySignature(NamedTuple):
    """What an entry takes and gives; `dims` are (name, least, most or None)."""

    inputs: List[TensorType]
    outputs: List[TensorType]
    dims: List[Tuple[str, int, Optional[int]]]


class Report(NamedTuple):
    """What was chosen at load, and why not a faster variant. `hash` is the artefact's identity."""

    variant: str
    notes: List[str]
    hash: str
    producer: str


def _bytes_of(dtype: str, shape: Iterable[int]) -> int:
    return math.prod(shape) * _kinds[dtype].size


def _text(dtype: str, shape: Iterable[Any]) -> str:
    return f"{dtype}[{', '.join(str(d['dim'] if isinstance(d, dict) else d) for d in shape)}]"


def _result(dtype: str, shape: Sequence[int], data: memoryview) -> Any:
    """A copy of what lies in memory."""
    if numpy is None:
        return Tensor(dtype, tuple(shape), bytes(data))
    return numpy.frombuffer(data, _kinds[dtype].array).reshape(shape).copy()


class _Wrong(Exception):
    """A feed that does not fit: what came, and a hint."""

    def __init__(self, got: str, hint: str = "") -> None:
        self.got, self.hint = got, hint


class _Given(NamedTuple):
    data: memoryview
    shape: Optional[Tuple[int, ...]]  # None: it follows from the length


def _flat(value: Any) -> Tuple[List[Any], Tuple[int, ...]]:
    """The numbers of nested lists, and their shape."""
    if not isinstance(value, (list, tuple)):
        return [value], ()
    parts = [_flat(v) for v in value]
    inner = parts[0][1] if parts else ()
    if any(shape != inner for _, shape in parts):
        raise _Wrong("lists of different lengths")
    return [v for flat, _ in parts for v in flat], (len(value), *inner)


def _pack(dtype: str, numbers: Sequence[Any]) -> bytes:
    kind = _kinds[dtype]
    try:
        if dtype != "bf16":
            return struct.pack(f"<{len(numbers)}{kind.code}", *numbers)
        bits = struct.unpack(f"<{len(numbers)}I", struct.pack(f"<{len(numbers)}f", *numbers))
        # To nearest, ties to even; NaN stays NaN.
        rounded = (0x7FC0 if b & 0x7FFFFFFF > 0x7F800000 else (b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits)
        return struct.pack(f"<{len(numbers)}H", *rounded)
    except (struct.error, OverflowError) as error:
        raise _Wrong(f"numbers that {dtype} does not hold ({error})") from None


def _read_feed(dtype: str, feed: Feed) -> _Given:
    kind = _kinds[dtype]
    if isinstance(feed, Tensor):
        if feed.dtype != dtype:
            raise _Wrong(f"dtype {feed.dtype}", "convert the data to the model's dtype")
        if len(feed.data) != _bytes_of(dtype, feed.shape):
            raise _Wrong(f"shape {list(feed.shape)} with {len(feed.data)} bytes of data")
        given = _Given(memoryview(feed.data), feed.shape)
    elif numpy is not None and isinstance(feed, (numpy.ndarray, numpy.generic)):
        array = numpy.asarray(feed)
        halves = dtype == "f16" and array.dtype == "uint16"
        if array.dtype != kind.array and not halves:
            raise _Wrong(f"dtype {array.dtype}", f"pass x.astype(numpy.{kind.array})")
        given = _Given(numpy.ascontiguousarray(array).reshape(-1).view("uint8").data, array.shape)
    elif isinstance(feed, (list, tuple, int, float)):
        numbers, shape = _flat(feed)
        given = _Given(memoryview(_pack(dtype, numbers)), shape)
    else:
        try:
            view = memoryview(feed)
        except TypeError:
            hint = "pass a numpy array, a Tensor, lists of numbers or an array.array"
            raise _Wrong(f"a {type(feed).__name__}", hint) from None
        formats = {kind.code, {"f16": "H", "bool": "B"}.get(dtype, kind.code)} | ({"l"} if kind.code in "iq" else set())
        if view.format not in formats or view.itemsize != kind.size or not view.c_contiguous:
            raise _Wrong(f"a {type(feed).__name__} of format {view.format}", f"{dtype} elements have the format {kind.code}")
        given = _Given(view.cast("B") if view.nbytes else memoryview(b""), None if view.ndim == 1 else view.shape)
    if dtype == "bool" and max(given.data, default=0) > 1:
        raise _Wrong(f"the value {max(given.data)}", "bool elements are 0 or 1")
    return given


# ------------------------------------------------------------------------------------------------------------- artefacts

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]
"""A path, or the bytes of a file."""

_format_version = 7
_page = 65536
_part = 2**19
_magic = b"\0asm\1\0\0\0"
# Words of the control block, as in format.ts.
_word_poll, _word_resume, _word_stop, _word_limit, _word_needed = 57, 58, 60, 61, 62
# In falling order of speed. The wide ones have 64-bit addresses.
_variants = ("relaxed", "simd128", "relaxed-64", "simd128-64")


def _open(source: Source) -> memoryview:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return memoryview(source).cast("B")
    try:
        with open(source, "rb") as file:
            empty = not os.fstat(file.fileno()).st_size
            return memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise _error(os.fspath(source), f"can't be read: {error.strerror}") from error


@dataclass(frozen=True)
class _File:
    """A module, split into what engines see and wasmith's custom sections."""

    wasm: bytes
    sections: Mapping[str, memoryview]
    manifest: Dict[str, Any]
    hash: str
    variant: str


def _read_module(data: memoryview) -> _File:
    if bytes(data[:8]) != _magic:
        known = {b"wasmith": "an encrypted artefact, which this loader does not read", b"\x80": "a Python pickle"}
        what = next((w for start, w in known.items() if bytes(data[:8]).startswith(start)), None)
        raise _corrupted("not a WebAssembly module" + (f", but {what}" if what else ""))
    kept: list[bytes | memoryview] = [_magic]
    sections, at = {}, 8

    def leb(at: int) -> Tuple[int, int]:
        value = shift = 0
        while at < len(data) and shift < 35:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 0x80:
                return value, at
        raise _corrupted("the module is cut short or damaged")

    while at < len(data):
        begin, kind = at, data[at]
        size, body = leb(at + 1)
        at = body + size
        if at > len(data):
            raise _corrupted(f"cut short: {at - len(data)} bytes of a section are missing")
        if kind == 0:
            length, start = leb(body)
            name = bytes(data[start : start + length]).decode("utf8", "replace")
            if name == "wasmith" or name.startswith("wasmith."):
                sections[name] = data[start + length : at]
                continue
        kept.append(data[begin:at])
    manifest = sections.get("wasmith")
    if manifest is None:
        raise _corrupted('no section "wasmith": not compiled by wasmith, or incomplete')
    _check_hash("the manifest", manifest[32:], bytes(manifest[:32]).hex())
    parsed = json.loads(bytes(manifest[32:]))
    if parsed.get("format") != _format_version:
        hint = "use a newer wasmith.py" if parsed.get("format", 0) > _format_version else "compile the model again"
        raise _error("artefact", f"format version {parsed.get('format')}, this loader reads version {_format_version}", hint)
    variant = bytes(sections.get("wasmith.variant", b"")).decode()
    return _File(b"".join(kept), sections, parsed, bytes(manifest[:32]).hex(), variant)


def _check_hash(what: str, data: Union[bytes, memoryview], expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise _corrupted(f"{what} does not match its hash")


def _wasm_of(file: _File, variant: str, folder: Optional[str]) -> Optional[bytes]:
    """The module of a variant, or None where it can't be had."""
    info = next((v for v in file.manifest["variants"] if v["id"] == variant), None)
    if info is None:
        return None
    if variant == file.variant:
        wasm = file.wasm
    elif f"wasmith.module.{variant}" in file.sections:
        wasm = bytes(file.sections[f"wasmith.module.{variant}"])
    elif folder is None or "wasmith.whole" in file.sections:
        return None
    else:
        path = os.path.join(folder, os.path.basename(info["file"]))
        if not os.path.exists(path):
            return None
        other = _read_module(_open(path))
        if other.hash != file.hash:
            raise _corrupted(f'"{info["file"]}" belongs to another artefact')
        wasm = other.wasm
    _check_hash(f'module "{info["file"]}"', wasm, info["hash"])
    return wasm


def load(
    source: Source,
    *,
    weights: Optional[Source] = None,
    variant: Optional[str] = None,
    deterministic: bool = False,
    max_memory_bytes: Optional[int] = None,
    engine: Optional[wasmtime.Engine] = None,
) -> Session:
    """Loads an artefact: the path of ``NAME.wasm``, beside which its other files lie, or the bytes of a single file.

    weights: where the weights are, if not beside or inside the module.
    variant: exactly this one; by default the fastest that the engine runs on one thread.
    deterministic: never relaxed SIMD, whose last bits may differ between machines.
    max_memory_bytes: limit of the session's memory. Default 4 GiB, or what the model was compiled for where it needs more.
    engine: one of yours, for settings like wasmtime's cache of compiled code: ``config.cache = True``.

    Raises ModelError when it can't be read, is damaged or newer, or wasmtime can't run it.
    """
    file = _read_module(_open(source))
    folder = None if isinstance(source, (bytes, bytearray, memoryview)) else os.path.dirname(os.fspath(source)) or "."
    listed = [v["id"] for v in file.manifest["variants"]]
    if variant is not None and variant not in listed:
        raise _error("option variant", f'"{variant}" is not in the artefact', f"it has: {', '.join(listed)}")
    if variant is not None and variant.endswith("threads"):
        raise _error("option variant", f'"{variant}" can\'t run: this loader has no threads')
    wide_first = (max_memory_bytes or 0) > 2**32
    order = [variant] if variant else sorted(_variants, key=lambda v: v.endswith("-64") != wide_first)
    engine = engine or wasmtime.Engine()
    notes: List[str] = []
    for name in order:
        if deterministic and name.startswith("relaxed"):
            notes += [f'variant "{name}" is not used: deterministic=True'] if name in listed else []
            continue
        wasm = _wasm_of(file, name, folder)
        if wasm is None:
            notes += [f'variant "{name}" is not used: its file is not part of what was loaded'] if name in listed else []
            continue
        try:
            module = wasmtime.Module(engine, wasm)
        except wasmtime.WasmtimeError as error:
            notes.append(f'variant "{name}" is not used: wasmtime rejects it: {error}')
            continue
        report = Report(name, notes, file.hash, file.manifest["producer"])
        session = Session(engine, module, file.manifest, report, max_memory_bytes)
        session._fill(_weights_of(file, weights, folder))
        return session
    raise _error("artefact", "no variant can run here", "; ".join(notes) or f"it has: {', '.join(listed)}")


def _weights_of(file: _File, weights: Optional[Source], folder: Optional[str]) -> memoryview:
    name = file.manifest["weights"]["file"]
    if weights is not None:
        return _open(weights)
    if "wasmith.whole" in file.sections:
        if "wasmith.weights" not in file.sections:
            raise _corrupted(f'"{name}" is missing')
        return file.sections["wasmith.weights"]
    if folder is None:
        hint = "compile with --single-file, pass the option weights, or load from a path"
        raise _error("artefact", f'"{name}" is not part of it', hint)
    return _open(os.path.join(folder, os.path.basename(name)))


# ----------------------------------------------------------------------------------------------------------- safetensors


class _Stored(NamedTuple):
    """A tensor of a file. Kinds that the format has no name for are stored as bytes, and come back as i8 or u8."""

    dtype: str
    shape: Tuple[int, ...]
    data: memoryview

    def __str__(self) -> str:
        return _text(_stored_dtype(self.dtype), self.shape)


def _stored_dtype(dtype: str) -> str:
    """As which a dtype comes back from a file."""
    return next(d for d, kind in _kinds.items() if kind.file == _kinds[dtype].file)


def _read_safetensors(data: memoryview, what: str) -> Tuple[Dict[str, _Stored], Dict[str, str]]:
    """The tensors of a file, as views of it, and its metadata."""

    def bad(message: str) -> ModelError:
        return _error(what, message, "the file is damaged, incomplete, or not in the safetensors format")

    if len(data) < 8:
        raise bad(f"only {len(data)} bytes long")
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise bad(f"the header's length is {length}, the file's {len(data)}")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        metadata = {k: str(v) for k, v in header.pop("__metadata__", {}).items()}
        body, tensors = data[8 + length :], {}
        for name, entry in header.items():
            kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            dtype = next((d for d, k in _kinds.items() if k.file == kind or d.upper() == kind), None)
            if dtype is None:
                raise bad(f'tensor "{name}" has the unknown dtype {kind}')
            if not 0 <= begin <= end <= len(body) or end - begin != _bytes_of(dtype, shape):
                raise bad(f'tensor "{name}" {_text(dtype, shape)} can\'t lie at bytes {begin} to {end} of {len(body)}')
            if not name.startswith("__pad__."):
                tensors[name] = _Stored(dtype, shape, body[begin:end])
        return tensors, metadata
    except (ValueError, AttributeError, KeyError, TypeError):
        raise bad("the header is not one") from None


def read_safetensors(source: Source) -> Dict[str, Any]:
    """The tensors of a safetensors file, as `Session.run` takes them."""
    tensors, _ = _read_safetensors(_open(source), "safetensors file")
    return {name: _result(t.dtype, t.shape, t.data) for name, t in tensors.items()}


def write_safetensors(tensors: Mapping[str, Any], path: Union[str, os.PathLike[str], None] = None) -> bytes:
    """A safetensors file of what `Session.run` gives: numpy arrays or `Tensor`s."""
    stored = {}
    for name, value in tensors.items():
        found = next((d for d, k in _kinds.items() if k.array == str(value.dtype)), None)
        dtype = value.dtype if isinstance(value, Tensor) else found
        if dtype is None:
            raise _error(f'tensor "{name}"', f"the dtype {value.dtype} has no place in a safetensors file")
        stored[name] = _Stored(dtype, tuple(value.shape), _read_feed(dtype, value).data)
    # Widest dtype first, so that each lies aligned in the file.
    data = _write_safetensors(dict(sorted(stored.items(), key=lambda t: -_kinds[t[1].dtype].size)), {})
    if path is not None:
        _write_file(path, data)
    return data


def _write_safetensors(tensors: Mapping[str, _Stored], metadata: Mapping[str, str]) -> bytes:
    header: Dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, t in tensors.items():
        header[name] = {"dtype": _kinds[t.dtype].file, "shape": list(t.shape), "data_offsets": [at, at + len(t.data)]}
        at += len(t.data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(t.data for t in tensors.values())])


def _checksum(tensors: Mapping[str, _Stored], metadata: Mapping[str, str]) -> str:
    """Of a checkpoint: SHA-256 in hex over position, names, types and bytes."""
    # JavaScript compares UTF-16.
    names = sorted(tensors, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    head = [metadata.get("position"), [[name, str(tensors[name])] for name in names]]
    digest = hashlib.sha256(json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode())
    for name in names:
        digest.update(tensors[name].data)
    return digest.hexdigest()


def _write_file(path: Union[str, os.PathLike[str]], data: bytes) -> None:
    """After a crash there is the old file or the new one."""
    path = os.path.abspath(path)
    handle, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


# --------------------------------------------------------------------------------------------------------------- session


class _Clock:
    """Ends a run that takes too long: the module asks it while the word `poll` is not 0."""

    def start(self, seconds: float) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds

    def poll(self) -> int:
        if time.monotonic() >= self._deadline:
            raise _error("option max_seconds", f"the run took longer than {self._seconds:g} s")
        return 0


class Session:
    """A loaded artefact. Its methods may be called from several threads, one after the other; sessions are independent of one another.

    inputs, outputs: those of the entry that `run` runs by default.
    entries: the signature of each entry by name.
    state: what outlives runs.
    report: what was chosen at load.
    """

    def __init__(
        self,
        engine: wasmtime.Engine,
        module: wasmtime.Module,
        manifest: Dict[str, Any],
        report: Report,
        max_memory_bytes: Optional[int],
    ) -> None:
        self.report = report
        self._manifest = manifest
        self._place = manifest["memory"]
        self._lock = threading.RLock()
        self._position: Optional[str] = None
        fit = (manifest["training"] or {}).get("fit")
        self._fit: Optional[Dict[str, Any]] = fit
        self._main: Optional[str] = fit["predict"] if fit else next(iter(manifest["entries"]))
        self.entries = {name: _signature(entry) for name, entry in manifest["entries"].items()}
        shown = self.entries[self._main] if self._main else EntrySignature([], [], [])
        self.inputs, self.outputs, self.dims = shown
        self.state = [StateType(s["name"], s["dtype"], tuple(s["shape"]), s["role"]) for s in manifest["state"]]
        wide = report.variant.endswith("-64")
        most = (self._place["maxPages"] if wide else min(self._place["maxPages"], 2**16)) * _page
        self._most = min(most, max_memory_bytes or most)
        least = self._place["minPages"]
        if self._most < least * _page:
            raise _error(
                "option max_memory_bytes", f"the model alone takes {_mebibytes(least * _page)}, {_mebibytes(self._most)} are allowed"
            )
        self._store = wasmtime.Store(engine)
        self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(wasmtime.Limits(least, self._most // _page), is_64=wide))
        # wasmtime keeps functions of Python for as long as the store lives: one of the session's own would keep the session.
        self._clock = _Clock()
        poll = wasmtime.Func(self._store, wasmtime.FuncType([], [wasmtime.ValType.i32()]), self._clock.poll)
        given: dict[str | None, Any] = {"memory": self._memory, "poll": poll}
        self._exports = wasmtime.Instance(self._store, module, [given[i.name] for i in module.imports]).exports(self._store)
        self._planned: Optional[Tuple[str, Tuple[int, ...]]] = None
        self._look()

    # Memory

    def _look(self) -> None:
        """Takes views of memory, which may lie elsewhere after it has grown."""
        # ctypes gives the format "<B", which memoryview does not index.
        self._bytes = memoryview(self._memory.get_buffer_ptr(self._store)).cast("B")
        table, slots = self._place["tableOffset"], self._place["tableSlots"]
        self._table = self._bytes[table : table + 4 * slots].cast("i")
        self._words = self._bytes[:256].cast("I")

    def _fill(self, file: memoryview) -> None:
        """Writes the weights where they stay, and checks their hashes."""
        info = self._manifest["weights"]
        name = f'"{info["file"]}"'
        if len(file) != info["bytes"]:
            raise _corrupted(f"{name} has {len(file)} bytes, {info['bytes']} were written")
        start = 8 + struct.unpack("<Q", file[:8])[0] if len(file) >= 8 else len(file)
        data = file[start:]
        parts = [file[:start], *(data[at : at + _part] for at in range(0, len(data), _part))]
        if len(parts) != len(info["hashes"]):
            raise _corrupted(f"{name} is too short")
        for part, expected in zip(parts, info["hashes"]):
            _check_hash(name, part, expected)
        at, size = self._place["weightsOffset"], self._place["weightsBytes"]
        self._bytes[at : at + size] = data[:size]
        for s in self._manifest["state"]:
            if s["init"] is not None:
                size = _bytes_of(s["dtype"], s["shape"])
                self._bytes[s["offset"] : s["offset"] + size] = data[s["init"] : s["init"] + size]

    def _at(self, tensor: Mapping[str, Any]) -> int:
        offset = tensor["offset"]
        if isinstance(offset, int):
            return offset
        high = self._table[offset["high"]] & 0xFFFFFFFF if "high" in offset else 0
        return int(self._table[offset["slot"]] & 0xFFFFFFFF) + (high << 32)

    def _shape(self, tensor: Mapping[str, Any]) -> Tuple[int, ...]:
        return tuple(d if isinstance(d, int) else self._table[d["slot"]] for d in tensor["shape"])

    # Runs

    def run(
        self,
        feeds: Mapping[str, Feed],
        *,
        entry: Optional[str] = None,
        outputs: Optional[Sequence[str]] = None,
        dims: Optional[Mapping[str, int]] = None,
        max_seconds: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Runs the model, or another entry, once. Feeds and results are by name; results are copies.

        dims: sizes that no feed shows.
        max_seconds: ends the run with a ModelError when it takes longer; state is as it was.

        Raises ModelError naming each feed that does not fit.
        """
        with self._lock:
            name = entry if entry is not None else self._main
            if name is None:
                raise _error("predict", "the artefact has no entry for it", "compile the training step with prediction")
            info = self._manifest["entries"].get(name)
            if info is None:
                raise _error("option entry", f'no entry "{name}"', _instead(name, list(self.entries), "there are"))
            names = [o["name"] for o in info["outputs"]]
            wanted = names if outputs is None else list(outputs)
            for output in wanted:
                if output not in names:
                    raise _error("option outputs", f'no output "{output}"', _instead(output, names, "the outputs are"))
            self._begin(name, info, feeds, dims or {})
            self._broken(info)
            self._execute(name, info, max_seconds)
            found = {o["name"]: o for o in info["outputs"]}
            return {output: self._read(found[output]) for output in wanted}

    def _begin(self, name: str, entry: Mapping[str, Any], feeds: Mapping[str, Feed], dims: Mapping[str, int]) -> None:
        given = _check_feeds(entry, feeds)
        sizes = _bind(entry, given, dims)
        self._plan(name, entry, sizes)
        for tensor in entry["inputs"]:
            data, shape = given[tensor["name"]]
            planned, size = self._shape(tensor), _kinds[tensor["dtype"]].size
            if math.prod(planned) * size != len(data) or (shape is not None and tensor["shape"] and shape != planned):
                got = f"{len(data) // size} elements" if shape is None else f"{list(shape)}"
                expected = f"expected {_text(tensor['dtype'], tensor['shape'])}, here {list(planned)}"
                raise _error(f'input "{tensor["name"]}"', f"{expected}, got {got}")
            at = self._at(tensor)
            self._bytes[at : at + len(data)] = data

    def _call(self, name: str, *arguments: int) -> int:
        function: Any = self._exports[name]
        result: int = function(self._store, *arguments)
        return result

    def _plan(self, name: str, entry: Mapping[str, Any], sizes: Tuple[int, ...]) -> None:
        if self._planned == (name, sizes) and not entry.get("counts"):
            return
        self._planned = None
        for dim, size in zip(entry["dims"], sizes):
            self._table[dim["slot"]] = size
        needed = self._call(f"plan_{name}")
        self._sizes = ", ".join(f"{d['name']}={size}" for d, size in zip(entry["dims"], sizes))
        if needed == -2:
            self._broken(entry, strict=True)
        if needed == -1:
            raise self._too_large(math.inf)
        needed += 2**32 if needed < 0 else 0
        if needed > self._most:
            raise self._too_large(needed)
        missing = needed - len(self._bytes)
        if missing > 0:
            try:
                self._memory.grow(self._store, -(-missing // _page))
            except wasmtime.WasmtimeError as error:
                raise self._too_large(needed) from error
            self._look()
        self._planned = (name, sizes)

    def _execute(self, name: str, entry: Mapping[str, Any], max_seconds: Optional[float]) -> None:
        steps, mutates = len(entry["steps"]), entry["mutatesFrom"]
        # State is changed as a whole or not at all, so the second part is not cut short.
        for begin, end, limit in ((0, mutates, max_seconds), (mutates, steps, None)):
            if begin == end:
                continue
            self._words[_word_poll] = int(limit is not None)
            self._words[_word_resume] = self._words[_word_stop] = 0
            self._words[_word_limit] = self._most // _page
            self._clock.start(limit or 0.0)
            try:
                while begin < end:
                    begin = self._call(f"run_{name}", 0, 1, begin, end)
            except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
                step = entry["steps"][begin]
                raise InternalError(f'"{name}" trapped at {step["name"] or step["kernel"]} or after it: {error}') from error
            finally:
                self._look()
            self._broken(entry, strict=True)
            if self._words[_word_stop]:
                raise self._too_large(self._words[_word_needed] * _page)

    def _broken(self, entry: Mapping[str, Any], strict: bool = False) -> None:
        """Sets the slots of the entry's limits to 0; where strict, raises for those that were not."""
        problems = []
        for limit in entry["limits"]:
            # Above its lowest bit, a slot tells the value that breaks the limit.
            value, self._table[limit["slot"]] = self._table[limit["slot"]], 0
            if value:
                problems.append(Problem(limit["where"], limit["message"].replace("{}", str(value >> 1), 1), limit["hint"]))
        if strict and problems:
            raise ModelError(*problems)

    def _too_large(self, needed: float) -> ModelError:
        most = max(2**32, self._most)
        if needed > most:
            why = f"more than the {_mebibytes(most)} of WebAssembly, or a tensor of 2^31 elements or more"
        elif needed > self._most:
            why = f"{_mebibytes(needed)}, max_memory_bytes allows {_mebibytes(self._most)}"
        else:
            why = f"{_mebibytes(needed)}, which the platform does not give"
        sizes = f" with {self._sizes}" if self._sizes else ""
        return _error("memory", f"a run{sizes} needs {why}", "use smaller sizes, or raise max_memory_bytes")

    def _read(self, tensor: Mapping[str, Any]) -> Any:
        shape, at = self._shape(tensor), self._at(tensor)
        size = _bytes_of(tensor["dtype"], shape)
        if min(shape, default=0) < 0 or at + size > len(self._bytes):
            raise _corrupted(f'"{tensor["name"]}" can\'t lie at {at}')
        return _result(tensor["dtype"], shape, self._bytes[at : at + size])

    # Training

    def step(self, batch: Mapping[str, Feed]) -> Dict[str, Any]:
        """Trains on one batch. Gives the means over it, computed before the update: ``loss``, ``metrics`` by name, and further outputs."""
        if self._fit is None:
            raise _error("artefact", "it was not compiled from a training step")
        results = self.run(batch, entry=self._fit["step"])
        metrics = {name: _number(results.pop(name)) for name in self._fit["metrics"]}
        return {**results, "loss": _number(results[self._fit["loss"]]), "metrics": metrics}

    @property
    def learning_rate(self) -> float:
        """Of the entry that trains; may be set at any time. Raises ModelError where a schedule in the graph sets it."""
        return _number(self.get_state(self._rate()))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.set_state(self._rate(), Tensor("f32", (), struct.pack("<f", value)))

    def _rate(self) -> str:
        objectives = (self._manifest["training"] or {}).get("objectives", [])
        step = self._fit["step"] if self._fit else None
        name = next((o["learningRate"] for o in objectives if o["entry"] == step), None)
        if name is None:
            raise _error("learning_rate", "the graph's own schedule sets it" if objectives else "the artefact does not train")
        return str(name)

    # State

    def get_state(self, name: str) -> Any:
        """A copy of one tensor of state."""
        with self._lock:
            s = self._state_of(name)
            return _result(s["dtype"], s["shape"], self._of(s))

    def set_state(self, name: str, value: Feed) -> None:
        """Overwrites one tensor of state; the next run sees it."""
        with self._lock:
            s = self._state_of(name)
            expected = f"expected {_text(s['dtype'], s['shape'])}"
            try:
                data, shape = _read_feed(s["dtype"], value)
            except _Wrong as wrong:
                raise _error(f'state "{name}"', f"{expected}, got {wrong.got}", wrong.hint) from None
            if len(data) != _bytes_of(s["dtype"], s["shape"]) or (shape is not None and list(shape) != s["shape"]):
                got = f"{len(data) // _kinds[s['dtype']].size} elements" if shape is None else f"{list(shape)}"
                raise _error(f'state "{name}"', f"{expected}, got {got}")
            self._of(s)[:] = data
            self._changed()

    def clear_state(self, prefix: str) -> None:
        """Sets state to zeros: what has this name, or a name that begins so (``"cache."``)."""
        with self._lock:
            for _, s in self._part(prefix):
                self._of(s)[:] = bytes(_bytes_of(s["dtype"], s["shape"]))
            self._changed()

    def save(self, path: Union[str, os.PathLike[str], None] = None) -> bytes:
        """All state as a safetensors file with a checksum, from which all goes on bit for bit, here or in JavaScript."""
        with self._lock:
            tensors = self._stored(self._part(""))
            metadata = {"wasmith_checkpoint": "2", **({} if self._position is None else {"position": self._position})}
            data = _write_safetensors(tensors, {**metadata, "checksum": _checksum(tensors, metadata)})
        if path is not None:
            _write_file(path, data)
        return data

    def restore(self, source: Source) -> None:
        """Goes on from what `save` wrote. Raises ModelError listing all that does not fit; then nothing was changed."""
        tensors, metadata = _read_safetensors(_open(source), "checkpoint")
        version = metadata.get("wasmith_checkpoint")
        if version is None:
            raise _error("checkpoint", "not a checkpoint (a file of weights alone?)", "use load_safetensors")
        if version != "2":
            raise _error("checkpoint", f'of format "{version}", this loader reads 2', "use the runtime that wrote it")
        if metadata.get("checksum") not in (None, _checksum(tensors, metadata)):
            raise _error("checkpoint", "its contents do not have its checksum: the file is damaged", "use another copy")
        # What callbacks of `fit` have seen, which goes on in JavaScript alone.
        state = {name: t for name, t in tensors.items() if not name.startswith("position/")}
        self._take(self._part(""), state, "checkpoint", allow_more=False)
        self._position = metadata.get("position") if len(state) == len(tensors) else None

    def export_safetensors(self, path: Union[str, os.PathLike[str], None] = None, *, prefix: str = "") -> bytes:
        """The parameters and buffers by their names, as PyTorch's ``state_dict`` has them; of a part, by the rest of their names."""
        with self._lock:
            data = _write_safetensors(self._stored(self._part(prefix, weights=True)), {"format": "pt"})
        if path is not None:
            _write_file(path, data)
        return data

    def load_safetensors(self, source: Source, *, prefix: str = "", partial: bool = False) -> None:
        """Takes parameters and buffers from a safetensors file. All must be in it, unless `partial`."""
        tensors, _ = _read_safetensors(_open(source), "safetensors file")
        part = [(name, s) for name, s in self._part(prefix, weights=True) if not partial or name in tensors]
        if not part:
            hint = "weights are state in what program(net, { … }) makes, not in toGraph(net, …)"
            raise _error("load_safetensors", "no state here takes any of it", hint)
        self._take(part, tensors, "safetensors file", allow_more=True)

    def _stored(self, part: Sequence[Tuple[str, Mapping[str, Any]]]) -> Dict[str, _Stored]:
        # Widest dtype first, so that each lies aligned in the file.
        ordered = sorted(part, key=lambda p: -_kinds[p[1]["dtype"]].size)
        return {name: _Stored(s["dtype"], tuple(s["shape"]), self._of(s)) for name, s in ordered}

    def _take(self, part: Sequence[Tuple[str, Mapping[str, Any]]], file: Mapping[str, _Stored], what: str, allow_more: bool) -> None:
        problems = []
        for name, s in part:
            expected = _Stored(s["dtype"], tuple(s["shape"]), memoryview(b""))
            if name not in file:
                problems.append(Problem(what, f'"{name}" ({expected}) is missing'))
            elif str(file[name]) != str(expected):
                problems.append(Problem(what, f'"{name}" is {file[name]}, the model has {expected}'))
        known = {name for name, _ in part}
        problems += [] if allow_more else [Problem(what, f'the model has no "{name}"') for name in file if name not in known]
        if problems:
            raise ModelError(*problems)
        with self._lock:
            for name, s in part:
                self._of(s)[:] = file[name].data
            self._changed()

    def _state_of(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = next((s for s in self._manifest["state"] if s["name"] == name), None)
        if found is None:
            names = ", ".join(s.name for s in self.state) or "none"
            raise _error(f'state "{name}"', "the model has no such state", f"there are: {names}")
        return found

    def _part(self, prefix: str, weights: bool = False) -> List[Tuple[str, Mapping[str, Any]]]:
        """State whose name begins so, by the rest of the name."""
        roles = ("param", "buffer")
        found = [s for s in self._manifest["state"] if s["name"].startswith(prefix) and (not weights or s["role"] in roles)]
        if prefix and not found:
            names = ", ".join(s.name for s in self.state) or "none"
            raise _error("option prefix", f'no state begins with "{prefix}"', f"there are: {names}")
        return [(s["name"][len(prefix) :], s) for s in found]

    def _of(self, s: Mapping[str, Any]) -> memoryview:
        return self._bytes[s["offset"] : s["offset"] + _bytes_of(s["dtype"], s["shape"])]

    def _changed(self) -> None:
        """State is another than it was: what runs have made of it is to be made again."""
        at, flags = self._place["preparedOffset"], self._place["preparedFlags"]
        self._bytes[at : at + flags] = bytes(flags)


def _number(scalar: Any) -> float:
    return float(scalar.tolist())


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:.1f} MiB"


def _signature(entry: Mapping[str, Any]) -> EntrySignature:
    inputs, outputs = (
        [TensorType(t["name"], t["dtype"], tuple(d if isinstance(d, int) else d["dim"] for d in t["shape"])) for t in entry[side]]
        for side in ("inputs", "outputs")
    )
    return EntrySignature(inputs, outputs, [(d["name"], d["min"], d["max"]) for d in entry["dims"]])


def _check_feeds(entry: Mapping[str, Any], feeds: Mapping[str, Feed]) -> Dict[str, _Given]:
    """The feeds by name, each checked by itself: name, dtype, rank and constant sizes."""
    names = [t["name"] for t in entry["inputs"]]
    if not isinstance(feeds, Mapping):
        raise _error("feeds", f"expected a dict of inputs by name, got a {type(feeds).__name__}", f"pass {{{', '.join(names)}}}")
    problems, given = [], {}
    for name in feeds:
        if name in entry.get("fixedInputs", []):
            hint = f'to feed it, import with the option overrides: ["{name}"]'
            problems.append(
                Problem(f'input "{name}"', "this input is a constant of the compiled program, since the ONNX file gives it a value", hint)
            )
        elif name not in names:
            problems.append(Problem(f'input "{name}"', "the model has no such input", _instead(str(name), names, "its inputs are")))
    for t in entry["inputs"]:
        want, where = _text(t["dtype"], t["shape"]), f'input "{t["name"]}"'
        if t["name"] not in feeds:
            problems.append(Problem(where, f"missing; expected {want}"))
            continue
        try:
            data, shape = _read_feed(t["dtype"], feeds[t["name"]])
            # A scalar also takes a tensor of one element.
            single = not t["shape"] and len(data) == _kinds[t["dtype"]].size
            fits = (
                shape is None
                or single
                or (len(shape) == len(t["shape"]) and all(not isinstance(d, int) or d == s for d, s in zip(t["shape"], shape)))
            )
            if not fits:
                raise _Wrong(_text(t["dtype"], shape or ()))
            given[t["name"]] = _Given(data, None if single else shape)
        except _Wrong as wrong:
            problems.append(Problem(where, f"expected {want}, got {wrong.got}", wrong.hint))
    if problems:
        raise ModelError(*problems)
    return given


def _bind(entry: Mapping[str, Any], given: Mapping[str, _Given], dims: Mapping[str, int]) -> Tuple[int, ...]:
    """The sizes that feeds and caller give, in the order of the entry's dims."""
    known = {d["name"] for d in entry["dims"]}
    values: Dict[str, Tuple[int, str]] = {}
    problems: List[Problem] = []

    def bind(name: str, value: int, by: str) -> None:
        before, who = values.setdefault(name, (value, by))
        if before != value:
            message = f'dim "{name}" is {value} here, but {before} in {who}'
            problems.append(Problem(by, message, "give all inputs the same size there"))

    for name, value in dims.items():
        if name not in known:
            problems.append(Problem("option dims", f'the model has no dim "{name}"'))
        bind(name, value, "option dims")
    for t in entry["inputs"]:
        for d, size in zip(t["shape"], given[t["name"]].shape or ()):
            if not isinstance(d, int) and d["dim"] in known:
                bind(d["dim"], size, f'input "{t["name"]}"')
    # Flat data: each may bind one dim, which may make another's unambiguous.
    later = [t for t in entry["inputs"] if given[t["name"]].shape is None]
    while True:
        waiting = []
        for t in later:
            where, count = f'input "{t["name"]}"', len(given[t["name"]].data) // _kinds[t["dtype"]].size
            sizes = [d if isinstance(d, int) else values.get(d["dim"], (None,))[0] for d in t["shape"]]
            names = [d["dim"] for d, size in zip(t["shape"], sizes) if size is None]
            rest = math.prod(size for size in sizes if size is not None)
            # A derived size (`n*2`) is compared after plan has computed it.
            if len(names) > 1 or any(name not in known for name in names) or (names and not rest):
                waiting.append(t)
            elif count % rest if names else count != rest:
                many = f"a multiple of {rest} elements" if names else f"{rest} elements"
                problems.append(Problem(where, f"expected {_text(t['dtype'], t['shape'])}, that is {many}, got {count}"))
            elif names:
                bind(names[0], count // rest, where)
        if len(waiting) == len(later):
            break
        later = waiting
    for d in entry["dims"]:
        name, least, most = d["name"], d["min"], d["max"]
        bound = values.get(name)
        span = f"[{least}, {'∞' if most is None else most}]"
        if bound is None:
            inputs = [f'"{t["name"]}"' for t in later if any(not isinstance(s, int) and s["dim"] == name for s in t["shape"])]
            where = f"input {', '.join(inputs)}" if inputs else "option dims"
            hint = "pass an array with its shape" if inputs else f"pass dims={{{name!r}: …}} in {span}"
            problems.append(Problem(where, f'the size of dim "{name}" is not known', hint))
        elif not isinstance(bound[0], int) or not least <= bound[0] <= (2**31 - 1 if most is None else most):
            hint = "compile the model with a wider range"
            problems.append(Problem(bound[1], f'dim "{name}" is {bound[0]}, outside its range {span}', hint))
    if problems:
        raise ModelError(*problems)
    return tuple(values[d["name"]][0] for d in entry["dims"])
