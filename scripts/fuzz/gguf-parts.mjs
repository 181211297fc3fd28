/** Takes valid GGUF files apart and puts them together again, with anything in them. It checks nothing. */

export const TYPE = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 }
export const WIDTH = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const STRING = 8
const ARRAY = 9
const ALIGNMENT = 32

/** Block elements and bytes of the tensor types that cases use, by number. */
export const BLOCKS = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  8: [32, 34],
  12: [256, 144],
  24: [1, 1],
  26: [1, 4],
  28: [1, 8],
  30: [1, 2],
}

/** `{ pairs: [{ key, type, value: Buffer }], tensors: [{ name, shape, type, data }] }`; an array is its items' buffers. */
export function takeApart(bytes) {
  let at = 24
  const take = (length) => {
    at += length
    return bytes.subarray(at - length, at)
  }
  const u32 = () => take(4).readUInt32LE()
  const u64 = () => Number(take(8).readBigUInt64LE())
  const item = (type) => (type === STRING ? take(u64()) : take(WIDTH[type]))
  const tensorCount = Number(bytes.readBigUInt64LE(8))
  const pairs = Array.from({ length: Number(bytes.readBigUInt64LE(16)) }, () => {
    const key = take(u64()).toString()
    const type = u32()
    if (type !== ARRAY) return { key, type, value: item(type) }
    const items = u32()
    return { key, type, items, value: Array.from({ length: u64() }, () => item(items)) }
  })
  const tensors = Array.from({ length: tensorCount }, () => {
    const name = take(u64()).toString()
    const shape = Array.from({ length: u32() }, u64)
    return { name, shape, type: u32(), offset: u64() }
  })
  const start = pad(at)
  for (const tensor of tensors)
    tensor.data = bytes.subarray(start + tensor.offset, start + tensor.offset + byteLength(tensor))
  return { pairs, tensors }
}

export function byteLength({ shape, type }) {
  const [elements, width] = BLOCKS[type]
  return Math.max(0, Math.floor((shape.reduce((product, n) => product * n, 1) / elements) * width))
}

/** A file whose tensors lie as ggml wants them, so that what is inside decides. */
export function putTogether({ pairs, tensors }) {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(pairs.length)]
  const item = (type, value) => (type === STRING ? [u64(value.length), value] : [value])
  for (const { key, type, items, value } of pairs) {
    const name = Buffer.from(key)
    parts.push(u64(name.length), name, u32(type))
    if (type === ARRAY)
      parts.push(u32(items), u64(value.length), ...value.flatMap((each) => item(items, each)))
    else parts.push(...item(type, value))
  }
  let offset = 0
  for (const { name, shape, type, data } of tensors) {
    const bytes = Buffer.from(name)
    parts.push(u64(bytes.length), bytes, u32(shape.length), ...shape.map(u64), u32(type), u64(offset))
    offset += pad(data.length)
  }
  const head = Buffer.concat(parts)
  const data = tensors.flatMap(({ data }) => [data, Buffer.alloc(pad(data.length) - data.length)])
  return Buffer.concat([head, Buffer.alloc(pad(head.length) - head.length), ...data])
}

function pad(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT
}

export function u32(value) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

export function u64(value) {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return bytes
}
