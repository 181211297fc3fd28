/** JSON text that stands for itself, so that a document can say what JSON.stringify() never would. */
class Raw {
  constructor(text) {
    this.text = text
  }
}

const VALUES = [
  null,
  true,
  false,
  '',
  'x',
  '\u0000',
  '../../etc/passwd',
  '😀'.repeat(50),
  'a'.repeat(70_000),
  '(a+)+$',
  '^(?!x)',
  0,
  1,
  -1,
  0.5,
  2 ** 31,
  2 ** 53,
  -(2 ** 53),
  1e308,
  [],
  {},
  [[]],
  [null],
  new Raw('NaN'),
  new Raw('Infinity'),
  new Raw('-Infinity'),
  new Raw('1e999'),
  new Raw('-0'),
  new Raw(`1${'0'.repeat(400)}`),
  new Raw('"\\ud800"'),
  new Raw(`${'['.repeat(20_000)}${']'.repeat(20_000)}`),
  new Raw(`${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`),
  new Raw('[1,]'),
  new Raw(''),
]
const KEYS = [
  '__proto__',
  'constructor',
  'toString',
  'length',
  '',
  'hasOwnProperty',
  '\u0000',
  'x'.repeat(5000),
]

/** A copy where it is a container: what is put into it must not come out again in later cases. */
function pickValue(random) {
  const value = random.pick(VALUES)
  return value === null || typeof value !== 'object' || value instanceof Raw ? value : structuredClone(value)
}

/** Containers in a document, each with its parent's key for the notes. */
function containers(root) {
  const found = []
  // Not by recursion: weights of random bytes have been read as JSON that is thousands of brackets deep.
  const open = [root]
  while (open.length > 0) {
    const node = open.pop()
    if (node === null || typeof node !== 'object' || node instanceof Raw) continue
    found.push(node)
    // The tail of a long list is like its head.
    open.push(...Object.values(node).slice(0, 200).reverse())
  }
  return found
}

function keyOf(random, container) {
  const keys = Object.keys(container)
  return keys.length === 0 ? undefined : random.pick(keys)
}

const MUTATIONS = {
  'other value': (random, container, key) => {
    container[key] = pickValue(random)
  },
  'near value': (random, container, key) => {
    const value = container[key]
    if (typeof value === 'number')
      container[key] = random.pick([value + 1, value - 1, -value, value * 1e6, 1 / 3])
    else if (typeof value === 'string')
      container[key] = random.pick([`${value} `, value.slice(1), value + value])
    else container[key] = JSON.stringify(value) // String() fails on objects that have lost their prototype
  },
  remove: (_, container, key) => {
    if (Array.isArray(container)) container.splice(Number(key), 1)
    else delete container[key]
  },
  duplicate: (random, container, key) => {
    if (Array.isArray(container)) container.push(container[key])
    else container[random.pick(KEYS)] = container[key]
  },
  'hostile key': (random, container) => {
    if (Array.isArray(container)) return
    // An own property, which is what a parser makes of the text.
    Object.defineProperty(container, random.pick(KEYS), {
      value: pickValue(random),
      enumerable: true,
      configurable: true,
      writable: true,
    })
  },
  swap: (random, container, key) => {
    const other = keyOf(random, container)
    const value = container[key]
    container[key] = container[other]
    container[other] = value
  },
  wrap: (_, container, key) => {
    container[key] = [container[key]]
  },
}

/** Changes a JSON document (in place) somewhere in its structure and returns it. */
export function mutateJson(random, document, notes) {
  let root = document
  for (let i = random.pick([1, 1, 1, 2, 3]); i > 0; i--) {
    if (random.chance(0.02)) {
      notes.push('other document')
      root = pickValue(random)
    }
    const all = containers(root)
    if (all.length === 0) continue
    const container = random.pick(random.chance(0.5) ? all.slice(0, 3) : all)
    const key = keyOf(random, container)
    const name = key === undefined ? 'hostile key' : random.pick(Object.keys(MUTATIONS))
    notes.push(`${name} at ${key?.slice(0, 40)}`)
    MUTATIONS[name](random, container, key)
  }
  return root
}

/** JSON text of a document that {@link mutateJson} changed; sometimes with a key given twice. */
export function jsonText(random, value) {
  if (value instanceof Raw) return value.text
  if (Array.isArray(value)) return `[${value.map((entry) => jsonText(random, entry)).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const pairs = Object.entries(value).map(
    ([key, entry]) => `${JSON.stringify(key)}:${jsonText(random, entry)}`,
  )
  if (pairs.length > 0 && random.chance(0.01)) pairs.push(random.pick(pairs))
  return `{${pairs.join(',')}}`
}
