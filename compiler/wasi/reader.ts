/**
 * The part of a WASI command that is the same for all models, in Loop IR's text form: input and output, and JSON as far as headers of
 * safetensors files need it. Positions are indices into the header at `%h`, which has `%n` bytes and more memory behind it; −1 says that
 * there is no JSON.
 */
import { beginsWith, bufferBytes, isText, mostAxes, mostEchoed, place, setWord, word } from "./scratch.js";

const byte = (at: string): string => `load i32.u8 %h[${at}]`;
const code = (char: string): number => char.charCodeAt(0);
/** There is no JSON where another character is. */
const expect = (char: string): string => `if ne(${byte("%at")}, ${code(char)}) { return -1 }`;
/** The name of an object's member, whose value begins at `%at` then. */
const member = `let %key = %h + ptr.from_i32S(%at) + 1:ptr
    let %end = call i32 @wasi_string(%h, %at, %n)
    if ltS(%end, 0) { return -1 }
    let %length = %end - %at - 2
    %at = call i32 @wasi_space(%h, %end, %n)
    ${expect(":")}
    %at = call i32 @wasi_space(%h, %at + 1, %n)`;

/** @param textAt where texts begin in scratch memory @param inputs how many inputs there are */
export const readerText = (textAt: number, inputs: number): string => `
// So many bytes of standard input; how many came.
func @wasi_read(%scratch: i32, %to: i32, %bytes: i32) -> i32 {
  let %s = ptr.from_i32U(%scratch)
  mut %done = 0
  mut %going = 1
  while and(ne(%going, 0), ltU(%done, %bytes)) {
    store i32 %s[0] = %to + %done
    ${setWord(place.vector + 4, "minU(%bytes - %done, 1073741824)")}
    ${setWord(place.done, "0")}
    let %error = host.read(0, %s, 1, %s + ${place.done}:ptr)
    %going = select(eq(%error, 0), ${word(place.done)}, 0)
    %done = %done + %going
  }
  return %done
}

func @wasi_write(%scratch: i32, %file: i32, %from: i32, %bytes: i32) {
  let %s = ptr.from_i32U(%scratch)
  mut %done = 0
  while ltU(%done, %bytes) {
    store i32 %s[0] = %from + %done
    ${setWord(place.vector + 4, "minU(%bytes - %done, 1073741824)")}
    ${setWord(place.done, "0")}
    let %error = host.write(%file, %s, 1, %s + ${place.done}:ptr)
    // Nobody reads on.
    if or(ne(%error, 0), eq(${word(place.done)}, 0)) { let %code = host.exit(2) }
    %done = %done + ${word(place.done)}
  }
}

// Says what is wrong, and ends.
func @wasi_fail(%scratch: i32) {
  let %s = ptr.from_i32U(%scratch)
  store i32.u8 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = 10
  call @wasi_write(%scratch, 2, %scratch + ${textAt}, ${word(place.cursor)} + 1)
  let %code = host.exit(1)
}

func @wasi_say_number(%scratch: i32, %value: i64) {
  let %s = ptr.from_i32U(%scratch)
  mut %rest = %value
  if ltS(%rest, 0:i64) {
    store i32.u8 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = 45
    ${setWord(place.cursor, `${word(place.cursor)} + 1`)}
    %rest = 0:i64 - %rest
  }
  mut %unit = 1:i64
  while geU(divU(%rest, %unit), 10:i64) { %unit = %unit * 10:i64 }
  while gtU(%unit, 0:i64) {
    store i32.u8 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = i32.from_i64(divU(%rest, %unit)) + 48
    ${setWord(place.cursor, `${word(place.cursor)} + 1`)}
    %rest = remU(%rest, %unit)
    %unit = divU(%unit, 10:i64)
  }
}

// A part of the header.
func @wasi_say_bytes(%scratch: i32, %from: ptr, %length: i32) {
  let %s = ptr.from_i32U(%scratch)
  let %bytes = minU(%length, ${mostEchoed})
  copy %s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr, %from, ptr.from_i32S(%bytes)
  ${setWord(place.cursor, `${word(place.cursor)} + %bytes`)}
}

// The shape that was read last.
func @wasi_say_shape(%scratch: i32) {
  let %s = ptr.from_i32U(%scratch)
  store i32.u8 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = ${code("[")}
  ${setWord(place.cursor, `${word(place.cursor)} + 1`)}
  for %i = 0 to ${word(place.shape)} {
    if gtS(%i, 0) {
      store i32.u16 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = ${code(",") + 256 * code(" ")}
      ${setWord(place.cursor, `${word(place.cursor)} + 2`)}
    }
    call @wasi_say_number(%scratch, i64.from_i32S(load i32 %s[%i, +${place.shape / 4 + 1}]))
  }
  store i32.u8 (%s + ptr.from_i32S(${word(place.cursor)}) + ${textAt}:ptr)[0] = ${code("]")}
  ${setWord(place.cursor, `${word(place.cursor)} + 1`)}
}

func @wasi_space(%h: ptr, %i: i32, %n: i32) -> i32 {
  mut %at = %i
  mut %going = 1
  while ne(%going, 0) {
    let %c = ${byte("%at")}
    let %space = or(or(eq(%c, 32), eq(%c, 10)), or(eq(%c, 13), eq(%c, 9)))
    %going = i32.from_mask(and(%space, ltS(%at, %n)))
    %at = %at + %going
  }
  return %at
}

func @wasi_string(%h: ptr, %i: i32, %n: i32) -> i32 {
  mut %at = %i
  ${expect('"')}
  %at = %at + 1
  while ltS(%at, %n) {
    let %c = ${byte("%at")}
    if eq(%c, 34) { return %at + 1 }
    %at = %at + select(eq(%c, 92), 2, 1)
  }
  return -1
}

// Behind any value.
func @wasi_value(%h: ptr, %i: i32, %n: i32) -> i32 {
  mut %at = %i
  mut %depth = 0
  mut %going = 1
  while and(ne(%going, 0), ltS(%at, %n)) {
    let %c = ${byte("%at")}
    if eq(%c, 34) {
      let %next = call i32 @wasi_string(%h, %at, %n)
      if ltS(%next, 0) { return -1 }
      %at = %next
      %going = %depth
    } else {
      let %opens = or(eq(%c, ${code("{")}), eq(%c, ${code("[")}))
      let %closes = or(eq(%c, ${code("}")}), eq(%c, ${code("]")}))
      // A number or a word ends before this.
      if and(eq(%depth, 0), or(%closes, eq(%c, ${code(",")}))) { return %at }
      %depth = %depth + i32.from_mask(%opens) - i32.from_mask(%closes)
      %at = %at + 1
      if and(%closes, eq(%depth, 0)) { %going = 0 }
    }
  }
  return select(eq(%depth, 0), %at, -1)
}

// A whole number below 2^32, which is kept.
func @wasi_number(%scratch: i32, %h: ptr, %i: i32, %n: i32) -> i32 {
  let %s = ptr.from_i32U(%scratch)
  mut %at = %i
  mut %value = 0:i64
  while and(ltS(%at, %n), ltU(${byte("%at")} - 48, 10)) {
    %value = %value * 10:i64 + i64.from_i32U(${byte("%at")} - 48)
    if gtU(%value, 4294967295:i64) { return -1 }
    %at = %at + 1
  }
  store i64 %s[${place.number / 8}] = %value
  return select(eq(%at, %i), -1, %at)
}

// A list of numbers: how many, then they.
func @wasi_list(%scratch: i32, %h: ptr, %i: i32, %n: i32, %to: ptr, %most: i32) -> i32 {
  let %s = ptr.from_i32U(%scratch)
  mut %at = %i
  ${expect("[")}
  %at = call i32 @wasi_space(%h, %at + 1, %n)
  mut %count = 0
  store i32 %to[0] = 0
  if eq(${byte("%at")}, ${code("]")}) { return %at + 1 }
  while ltS(%at, %n) {
    %at = call i32 @wasi_number(%scratch, %h, %at, %n)
    if or(ltS(%at, 0), geS(%count, %most)) { return -1 }
    %count = %count + 1
    store i32 %to[%count] = i32.from_i64(load i64 %s[${place.number / 8}])
    store i32 %to[0] = %count
    %at = call i32 @wasi_space(%h, %at, %n)
    if eq(${byte("%at")}, ${code("]")}) { return %at + 1 }
    ${expect(",")}
    %at = call i32 @wasi_space(%h, %at + 1, %n)
  }
  return -1
}

// What the header says of one tensor.
func @wasi_tensor(%scratch: i32, %h: ptr, %i: i32, %n: i32) -> i32 {
  let %s = ptr.from_i32U(%scratch)
  mut %at = %i
  ${expect("{")}
  mut %fields = 0
  %at = call i32 @wasi_space(%h, %at + 1, %n)
  while ltS(%at, %n) {
    ${member}
    mut %next = 0
    if ${isText("dtype", "%key", "%length")} {
      %next = call i32 @wasi_string(%h, %at, %n)
      ${setWord(place.dtype, "%at + 1")}
      ${setWord(place.dtype + 4, "%next - %at - 2")}
      %fields = or(%fields, 1)
    } else {
      if ${isText("shape", "%key", "%length")} {
        %next = call i32 @wasi_list(%scratch, %h, %at, %n, %s + ${place.shape}:ptr, ${mostAxes})
        %fields = or(%fields, 2)
      } else {
        if ${isText("data_offsets", "%key", "%length")} {
          %next = call i32 @wasi_list(%scratch, %h, %at, %n, %s + ${place.offsets}:ptr, 2)
          if eq(${word(place.offsets)}, 2) { %fields = or(%fields, 4) }
        } else {
          %next = call i32 @wasi_value(%h, %at, %n)
        }
      }
    }
    if ltS(%next, 0) { return -1 }
    %at = call i32 @wasi_space(%h, %next, %n)
    if eq(${byte("%at")}, ${code("}")}) { return select(eq(%fields, 7), %at + 1, -1) }
    ${expect(",")}
    %at = call i32 @wasi_space(%h, %at + 1, %n)
  }
  return -1
}

// All of the header: what is not −1 is its end.
func @wasi_header(%scratch: i32, %h: ptr, %n: i32) -> i32 {
  let %s = ptr.from_i32U(%scratch)
  mut %at = call i32 @wasi_space(%h, 0, %n)
  ${expect("{")}
  %at = call i32 @wasi_space(%h, %at + 1, %n)
  if eq(${byte("%at")}, ${code("}")}) { return %at + 1 }
  while ltS(%at, %n) {
    ${member}
    if or(${isText("__metadata__", "%key", "%length")}, ${beginsWith("__pad__.", "%key", "%length")}) {
      %at = call i32 @wasi_value(%h, %at, %n)
      if ltS(%at, 0) { return -1 }
    } else {
      let %input = call i32 @wasi_input(%key, %length)
      if ltS(%input, 0) { call @wasi_unknown(%scratch, %key, %length) }
      %at = call i32 @wasi_tensor(%scratch, %h, %at, %n)
      if ltS(%at, 0) { return -1 }
      call @wasi_take(%scratch, %h, %input)
    }
    %at = call i32 @wasi_space(%h, %at, %n)
    if eq(${byte("%at")}, ${code("}")}) { return %at + 1 }
    ${expect(",")}
    %at = call i32 @wasi_space(%h, %at + 1, %n)
  }
  return -1
}

// The data of all inputs to where they stay, in the order in which they come: addresses at %to, what lies between them to %buffer.
func @wasi_data(%scratch: i32, %to: ptr, %buffer: i32) {
  let %s = ptr.from_i32U(%scratch)
  mut %at = 0
  for %round = 0 to ${inputs} {
    mut %first = 0
    mut %begin = -1
    for %k = 0 to ${inputs} {
      let %from = load i32 %s[%k * 2, +${place.inputs / 4}]
      if ltU(%from, %begin) {
        %begin = %from
        %first = %k
      }
    }
    let %end = load i32 %s[%first * 2, +${place.inputs / 4 + 1}]
    if ltU(%begin, %at) { call @wasi_damaged(%scratch) }
    while ltU(%at, %begin) {
      let %skipped = minU(%begin - %at, ${bufferBytes})
      if ne(call i32 @wasi_read(%scratch, %buffer, %skipped), %skipped) { call @wasi_damaged(%scratch) }
      %at = %at + %skipped
    }
    let %address = load i32 %to[%first]
    if ne(call i32 @wasi_read(%scratch, %address, %end - %begin), %end - %begin) { call @wasi_damaged(%scratch) }
    %at = %end
    store i32 %s[%first * 2, +${place.inputs / 4}] = -1
  }
}
`;
