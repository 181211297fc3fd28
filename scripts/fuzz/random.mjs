import { createHash } from 'node:crypto'

/** Random choices that depend on nothing but the key: equal keys, equal cases on every machine. */
export class Random {
  #state

  /** @param {string} key */
  constructor(key) {
    this.#state = createHash('sha256').update(key).digest().readUInt32LE(0)
  }

  /** 0 <= x < 1 (mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** 0 <= n < limit. */
  below(limit) {
    return Math.floor(this.next() * limit)
  }

  chance(probability) {
    return this.next() < probability
  }

  pick(list) {
    return list[this.below(list.length)]
  }
}
