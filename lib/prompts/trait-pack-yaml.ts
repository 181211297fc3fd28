import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml'
import { Made } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { DEFAULT_ACKNOWLEDGEMENT } from './messages.js'
import { cutOff } from './trait-yaml.js'

type PackContent = Pick<TraitPack, 'acknowledgement' | 'traits' | 'questions' | 'evalPrompts'> & {
  name?: string
  version?: string
}

const PACK_KEYS = ['name', 'version', 'acknowledgement', 'traits', 'questions', 'eval_prompts'] as const
const TRAIT_KEYS = [
  'description',
  'paired',
  'positive_label',
  'negative_label',
  'positive_system_prompts',
  'negative_system_prompts',
] as const

/** Trait names become tensor names, JSON keys and CSV columns. */
const TRAIT_NAME = /^[\p{L}\p{N}][\p{L}\p{N} _.-]{0,63}$/u

/**
 * Reads the YAML of a trait pack. Works on the syntax tree, not on plain values, so that every refusal names its line
 * and nothing is expanded before it is checked.
 *
 * @throws TraitscopeError FILE_INVALID naming `where` and the line.
 */
export function parseTraitPack(text: string, where: string): PackContent {
  return new PackReader(text, where).read()
}

class PackReader {
  readonly #lines = new LineCounter()
  readonly #where: string
  readonly #document: Document.Parsed

  constructor(text: string, where: string) {
    this.#where = where
    try {
      this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    } catch (error) {
      // The parser recurses, so absurd nesting ends in a RangeError.
      throw new TraitscopeError('FILE_INVALID', `${where} is not readable as YAML: it nests too deeply`, {
        cause: error,
      })
    }
    const problem = this.#document.errors[0] ?? this.#document.warnings[0]
    if (problem?.code === 'DUPLICATE_KEY') this.#fail(problem.pos[0], 'this key is given twice; keep one')
    if (problem?.code === 'MULTIPLE_DOCS')
      this.#fail(problem.pos[0], 'a second document begins (---); give each pack a file of its own')
    if (problem !== undefined) this.#fail(problem.pos[0], `not valid YAML: ${problem.message}`)
  }

  read(): PackContent {
    const root = this.#document.contents
    if (!isMap(root)) this.#fail(root, 'expected the keys traits, questions and eval_prompts')
    const keys = this.#keys(root as YAMLMap, PACK_KEYS, 'the pack')
    const name = keys.get('name')
    const version = keys.get('version')
    const acknowledgement = keys.get('acknowledgement')
    return {
      ...(name && { name: this.#text(name.node, 'name') }),
      ...(version && { version: this.#version(version.node) }),
      acknowledgement: acknowledgement
        ? this.#text(acknowledgement.node, 'acknowledgement')
        : DEFAULT_ACKNOWLEDGEMENT,
      traits: this.#traits(this.#required(keys, 'traits', root, 'the pack')),
      questions: this.#prompts(this.#required(keys, 'questions', root, 'the pack'), 'questions'),
      evalPrompts: this.#evalPrompts(this.#required(keys, 'eval_prompts', root, 'the pack')),
    }
  }

  #traits(node: Node | null): Trait[] {
    return this.#entries(node, 'traits').map(({ key, keyNode, node: body }) => {
      if (!TRAIT_NAME.test(key)) {
        this.#fail(
          keyNode,
          `the trait name ${JSON.stringify(key)} must be at most 64 letters, digits, spaces, dots, dashes or ` +
            'underscores and start with a letter or digit',
        )
      }
      if (/^length(_at_.*)?$/.test(key)) {
        this.#fail(
          keyNode,
          `the trait name ${key} is taken: figures of drift are called drift_<trait>, and drift_${key} is another one`,
        )
      }
      const title = `trait ${key}`
      if (!isMap(body)) this.#fail(body ?? keyNode, `expected keys under ${title}`)
      const keys = this.#keys(body as YAMLMap, TRAIT_KEYS, title)
      const field = (name: (typeof TRAIT_KEYS)[number]) => this.#required(keys, name, keyNode, title)
      const trait = {
        name: key,
        description: this.#text(field('description'), `description of ${title}`),
        positiveLabel: this.#text(field('positive_label'), `positive_label of ${title}`),
        negativeLabel: this.#text(field('negative_label'), `negative_label of ${title}`),
        positiveSystemPrompts: this.#prompts(
          field('positive_system_prompts'),
          `positive_system_prompts of ${title}`,
        ),
        negativeSystemPrompts: this.#prompts(
          field('negative_system_prompts'),
          `negative_system_prompts of ${title}`,
        ),
      }
      const paired = keys.get('paired')
      return paired && this.#paired(paired.node, trait) ? { ...trait, paired: true } : trait
    })
  }

  #paired(node: Node | null, trait: Trait): boolean {
    const title = `paired of trait ${trait.name}`
    const value = this.#scalar(node, title)
    if (typeof value !== 'boolean')
      this.#fail(node, `expected true or false for ${title}, found ${describe(value)}`)
    const [above, below] = [trait.positiveSystemPrompts.length, trait.negativeSystemPrompts.length]
    if (value && above !== below) {
      this.#fail(
        node,
        `${title} is true, but it has ${above} positive and ${below} negative system prompts; write one of each to a pair`,
      )
    }
    return value
  }

  #evalPrompts(node: Node | null): EvalCategory[] {
    return this.#entries(node, 'eval_prompts').map(({ key, node: list }) => ({
      category: key,
      prompts: this.#prompts(list, `eval_prompts category ${key}`),
    }))
  }

  #prompts(node: Node | null, title: string): string[] {
    if (!isSeq(node)) this.#fail(node, `expected a list of prompts for ${title}`)
    if (node.items.length === 0) this.#fail(node, `${title} is empty; it needs at least one prompt`)
    const firstLine = new Map<string, number>()
    return node.items.map((item) => {
      const text = this.#text(item as Node | null, `a prompt of ${title}`)
      const earlier = firstLine.get(text.trim())
      if (earlier !== undefined) {
        this.#fail(item as Node, `this prompt of ${title} repeats the one on line ${earlier}`)
      }
      firstLine.set(text.trim(), this.#line(item as Node))
      return text
    })
  }

  #text(node: Node | null, title: string): string {
    const value = this.#scalar(node, title)
    if (typeof value !== 'string') {
      this.#fail(node, `expected text for ${title}, found ${describe(value)}; put text in quotes`)
    }
    if (value.trim() === '') this.#fail(node, `${title} is empty`)
    const cut = isScalar(node) ? cutOff(node) : undefined
    if (cut !== undefined) this.#fail(node, cut)
    return value
  }

  #version(node: Node | null): string {
    const value = this.#scalar(node, 'version')
    return typeof value === 'number' ? String(value) : this.#text(node, 'version')
  }

  #scalar(node: Node | null, title: string): unknown {
    // Aliases are how a small file becomes a huge one, and prompts that repeat each other are a mistake anyway.
    if (isAlias(node)) this.#fail(node, `${title} is a YAML alias (*${node.source}); write the text out`)
    if (node !== null && !isScalar(node)) {
      this.#fail(node, `expected text for ${title}, found a list or keys`)
    }
    return node?.value
  }

  /** Non-empty map whose keys the user chooses. */
  #entries(node: Node | null, title: string): { key: string; keyNode: Node; node: Node | null }[] {
    if (isAlias(node)) this.#fail(node, `${title} is a YAML alias (*${node.source}); write it out`)
    if (!isMap(node)) this.#fail(node, `expected keys under ${title}`)
    if (node.items.length === 0) this.#fail(node, `${title} is empty; it needs at least one key`)
    return (node.items as Pair<Node, Node | null>[]).map((pair) => ({
      key: this.#text(pair.key, `a key of ${title}`),
      keyNode: pair.key,
      node: pair.value,
    }))
  }

  /** Map whose keys the schema fixes. */
  #keys(node: YAMLMap, allowed: readonly string[], title: string): Map<string, { node: Node | null }> {
    const found = new Map<string, { node: Node | null }>()
    for (const { key, keyNode, node: value } of this.#entries(node, title)) {
      if (!allowed.includes(key)) {
        this.#fail(keyNode, `unknown key ${JSON.stringify(key)} in ${title}; it knows ${allowed.join(', ')}`)
      }
      found.set(key, { node: value })
    }
    return found
  }

  #required(
    keys: ReadonlyMap<string, { node: Node | null }>,
    name: string,
    owner: Node | null,
    title: string,
  ): Node | null {
    const entry = keys.get(name)
    if (entry === undefined) this.#fail(owner, `${title} lacks the key ${name}`)
    return entry.node
  }

  #line(at: Node | number | null): number {
    const offset = typeof at === 'number' ? at : (at?.range?.[0] ?? 0)
    return this.#lines.linePos(offset).line || 1
  }

  #fail(at: Node | number | null, problem: string): never {
    throw new TraitscopeError('FILE_INVALID', `${this.#where}, line ${this.#line(at)}: ${problem}`)
  }
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  return `the ${typeof value} ${String(value)}`
}

/** One behavioural axis. "Positive" is a label of the axis, not praise: positive `power_seeking` is the bad end. */
export interface Trait {
  name: string
  description: string
  positiveLabel: string
  negativeLabel: string
  /** System prompts that elicit the positive pole; the two pools may differ in size. */
  positiveSystemPrompts: string[]
  negativeSystemPrompts: string[]
  /**
   * Whether the k-th system prompts of both poles are one wording that differs by the pole alone. What a direction is worth is then
   * told with both pairs left out.
   */
  paired?: boolean
}

/** Evaluation prompts of one kind. */
export interface EvalCategory {
  category: string
  prompts: string[]
}

/** All words that measurement uses, in file order. */
export interface TraitPack {
  name: string
  version?: string
  /** `core`, or the path as given. */
  source: string
  /** SHA-256 of the file's bytes. */
  sha256: string
  /** SHA-256 of what reaches a model: see {@link traitPackContentHash}. */
  contentHash: string
  /** The assistant's answer to a system prompt that had to be sent as a user turn. */
  acknowledgement: string
  traits: Trait[]
  questions: string[]
  evalPrompts: EvalCategory[]
}

export const TRAIT_PACK = new Made<TraitPack>('a trait pack as loadTraitPack reads it', 'evalPrompts', true)
