const EXTREMES = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]

/** Damages bytes as discs, networks and editors do, and as an attacker would: in place or in length. */
const MUTATIONS = {
  'flip bits': (random, bytes) => {
    const copy = Buffer.from(bytes)
    for (let i = 1 + random.below(8); i > 0; i--) copy[position(random, copy)] ^= 1 << random.below(8)
    return copy
  },
  truncate: (random, bytes) => bytes.subarray(0, position(random, bytes)),
  'extreme integer': (random, bytes) => {
    const copy = Buffer.from(bytes)
    const width = random.pick([1, 2, 4, 8])
    const at = Math.max(0, Math.min(position(random, copy), copy.length - width))
    const value = BigInt(random.pick(EXTREMES)) * (random.chance(0.2) ? 0x100000001n : 1n)
    for (let i = 0; i < width && at + i < copy.length; i++)
      copy[at + i] = Number((value >> BigInt(8 * i)) & 0xffn)
    return copy
  },
  'duplicate a chunk': (random, bytes) => {
    const [from, to] = chunk(random, bytes)
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)])
  },
  'remove a chunk': (random, bytes) => {
    const [from, to] = chunk(random, bytes)
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
  },
  splice: (random, bytes, other) => {
    const [from, to] = chunk(random, other)
    const at = position(random, bytes)
    return Buffer.concat([bytes.subarray(0, at), other.subarray(from, to), bytes.subarray(at + to - from)])
  },
  'zero a chunk': (random, bytes) => {
    const [from, to] = chunk(random, bytes)
    return Buffer.from(bytes).fill(random.pick([0, 0xff]), from, to)
  },
}

/** Headers stand at the start, so half of all positions are there. */
function position(random, bytes) {
  return random.below(random.chance(0.5) ? Math.min(512, bytes.length) : bytes.length)
}

function chunk(random, bytes) {
  const from = position(random, bytes)
  return [from, Math.min(bytes.length, from + 1 + random.below(random.pick([4, 64, 4096])))]
}

/**
 * @param {import('./random.mjs').Random} random
 * @param {Buffer} bytes
 * @param {Buffer} other a second file of the kind, which splices take from
 */
export function mutateBytes(random, bytes, other, notes) {
  let result = bytes
  for (let i = random.pick([1, 1, 1, 2, 4]); i > 0 && result.length > 0; i--) {
    const name = random.pick(Object.keys(MUTATIONS))
    notes.push(name)
    result = MUTATIONS[name](random, result, other)
  }
  return result
}
