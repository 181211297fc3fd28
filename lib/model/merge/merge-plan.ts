import { TraitscopeError } from '../../errors.js'
import type { GgufContents, GgufTensor } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'
import type { LoraModule, ReplacedRows, ReplacedTensor } from '../../formats/peft/peft-tensors.js'
import {
  canUntie,
  cutsVocabulary,
  loadsBias,
  type MappedModule,
  mapModule,
  shiftsNorms,
} from '../base/architectures.js'
import { attentionRows } from '../base/attention-rows.js'
import { resizedVocabulary } from '../base/resized-vocabulary.js'
import { readyPair } from '../lora/lora.js'
import { permuteRows, rowOrder } from '../lora/lora-permute.js'
import { type Placement, placeModules } from '../lora/lora-place.js'
import { type RowBlock, type RowEdit, replaceAll, replaceTokens } from './merge-edits.js'

/** A tensor of the merged model. */
export interface MergedTensor {
  name: string
  /** ggml's ne. */
  shape: readonly number[]
  /** The tensor of the base that it starts from; a bias that the base lacks starts from zeros. */
  source?: GgufTensor
  /** From the first row on; absent for a tensor that is copied. */
  blocks?: readonly RowBlock[]
}

export interface MergePlan {
  /** In the order of the base; new ones last. */
  tensors: readonly MergedTensor[]
  placements: readonly Placement[]
  /** Tensors that the base does not have. */
  added: readonly string[]
}

/**
 * Decides what merging an adapter does to every tensor of a base.
 *
 * @throws ADAPTER_MISMATCH, ADAPTER_NO_EFFECT, ADAPTER_INVALID, and UNSUPPORTED for tensors that the architecture
 * cannot hold, by name.
 */
export function planMerge(adapter: PeftAdapter, base: GgufContents, architecture: string): MergePlan {
  const plan = new Planner(adapter, base, architecture)
  const placements = placeModules(adapter, base, architecture, true)
  for (const placement of placements) plan.addModule(placement)
  for (const replaced of adapter.replaced) plan.addReplaced(replaced)
  for (const rows of adapter.replacedRows) plan.addRows(rows)
  plan.settleTied()
  return { ...plan.tensors(), placements }
}

interface Edit {
  mapped: MappedModule
  edit: RowEdit
}

class Planner {
  /** Per tensor the parts of it: `q`, `k` and `v` of a fused one, else one. */
  readonly #edits = new Map<string, Edit[]>()

  constructor(
    private readonly adapter: PeftAdapter,
    private readonly base: GgufContents,
    private readonly architecture: string,
  ) {}

  addModule({ module, mapped, target }: Placement): void {
    const { magnitude, embedding, outFeatures } = module
    const edit: RowEdit = { pair: () => readyPair({ module, mapped }, this.base, this.architecture) }
    if (magnitude && embedding) {
      if (outFeatures > target.shape[1]!) throw this.#cutNorms(module.path)
      edit.columnNorms = magnitude
    }
    if (magnitude && !embedding) edit.rowNorms = this.#ordered(magnitude, 1, mapped, outFeatures)
    this.#add(target.name, mapped, edit, module.path)
    this.#addBias(module, mapped)
  }

  #addBias({ path, biasB, scale, outFeatures }: LoraModule, mapped: MappedModule): void {
    if (!biasB) return
    const name = this.#biasOf(mapped)
    if (!this.base.tensors.has(name) && (scale === 0 || biasB.every((value) => value === 0))) return
    this.#checkVector(path, name, mapped, outFeatures)
    const b = this.#ordered(biasB, 1, mapped, outFeatures).map((value) => value * scale)
    this.#add(name, mapped, { pair: () => ({ a: Float32Array.of(1), b, r: 1 }) }, path)
  }

  addReplaced(replaced: ReplacedTensor): void {
    const { path, part, shape } = replaced
    const mapped = this.#map(path)
    const [rows, columns] = shape
    const name = part === 'bias' ? this.#biasOf(mapped) : this.#weightOf(mapped)
    if (part === 'bias' || mapped.kind === 'norm') this.#checkVector(path, name, mapped, rows!)
    else this.#checkMatrix(path, name, mapped, rows!, columns)
    const order = rowOrder(mapped, rows!, this.base, this.architecture)
    const shift = mapped.kind === 'norm' && shiftsNorms(this.architecture) ? 1 : 0
    this.#add(name, mapped, { replacement: replaceAll(replaced, order, shift) }, path)
  }

  addRows(rows: ReplacedRows): void {
    const { path, tokens, width } = rows
    const mapped = this.#map(path)
    const name = this.#weightOf(mapped)
    const [columns, available = 0] = this.#sourceOf(name)?.shape ?? []
    const highest = Math.max(...tokens)
    if (
      (mapped.kind !== 'embedding' && mapped.kind !== 'head') ||
      columns !== width ||
      highest >= available
    ) {
      if (columns === width && (mapped.kind === 'embedding' || mapped.kind === 'head')) {
        throw this.#resized(`rows of ${quoted(path)} up to ${highest}`, name, highest + 1, available)
      }
      throw this.#mismatch(
        `rows of ${quoted(path)} up to ${highest} and ${width} wide to be in ${name}`,
        `shape [${available}, ${columns}]`,
      )
    }
    this.#add(name, mapped, { replacement: replaceTokens(rows) }, path)
  }

  /** Where the base has one matrix for embedding and output, a change of one of them parts the two. */
  settleTied(): void {
    const embedding = this.#edits.get(EMBEDDING)?.[0]
    const head = this.#edits.get(OUTPUT)?.[0]
    if (this.base.tensors.has(OUTPUT)) return
    if (embedding && this.adapter.config.ensureWeightTying) {
      this.#edits.delete(OUTPUT)
      return
    }
    // PEFT keeps a tied head in step with trained tokens of its embedding.
    const tokensOnly = embedding?.edit.replacement?.among !== undefined
    if (!head && (!embedding || tokensOnly)) return
    if (!canUntie(this.architecture)) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${this.adapter.path} changes ${head ? 'the head' : 'the embedding'} alone, but ${this.architecture} has one matrix for both; leave it out of target_modules and modules_to_save`,
      )
    }
    if (!head) this.#edits.set(OUTPUT, [])
  }

  tensors(): Pick<MergePlan, 'tensors' | 'added'> {
    const { tensors } = this.base
    const added = [...this.#edits.keys()].filter((name) => !tensors.has(name))
    const merged = [...tensors.values()].map((source): MergedTensor => {
      const { name, shape } = source
      const edits = this.#edits.get(name)
      return edits
        ? { name, shape, source, blocks: this.#blocks(name, shape, edits) }
        : { name, shape, source }
    })
    for (const name of added) merged.push(this.#addedTensor(name, this.#edits.get(name)!))
    return { tensors: merged, added }
  }

  #addedTensor(name: string, edits: readonly Edit[]): MergedTensor {
    const source = this.#sourceOf(name)
    if (source) {
      const { shape } = source
      return {
        name,
        shape,
        source,
        ...(edits.length > 0 ? { blocks: this.#blocks(name, shape, edits) } : {}),
      }
    }
    const weight = this.base.tensors.get(name.replace(/bias$/, 'weight'))!
    const shape = [weight.shape[1]!]
    return { name, shape, blocks: this.#blocks(name, shape, edits) }
  }

  #blocks(name: string, shape: readonly number[], edits: readonly Edit[]): RowBlock[] {
    if (!/\.attn_qkv\./.test(name) || edits[0]?.mapped.projection === undefined) {
      return [{ rows: shape.at(-1)!, edit: edits[0]!.edit }]
    }
    const rows = attentionRows(this.base, this.architecture, edits[0].mapped.layer!)
    return (['q', 'k', 'v'] as const).map((projection) => {
      const part = edits.find(({ mapped }) => mapped.projection === projection)
      return { rows: rows[projection], ...(part ? { edit: part.edit } : {}) }
    })
  }

  #map(path: string): MappedModule {
    const mapped = mapModule(this.architecture, path)
    if (mapped) return mapped
    throw this.#mismatch(`module ${quoted(path)} to exist in ${this.architecture}`, 'none')
  }

  #weightOf({ tensor, projection, layer }: MappedModule): string {
    const fused = `blk.${layer}.attn_qkv.weight`
    return projection && this.base.tensors.has(fused) ? fused : tensor
  }

  /** A fused matrix may have separate biases. */
  #biasOf(mapped: MappedModule): string {
    const own = mapped.tensor.replace(/weight$/, 'bias')
    return this.base.tensors.has(own) ? own : this.#weightOf(mapped).replace(/weight$/, 'bias')
  }

  #sourceOf(name: string): GgufTensor | undefined {
    return this.base.tensors.get(name) ?? (name === OUTPUT ? this.base.tensors.get(EMBEDDING) : undefined)
  }

  #checkMatrix(
    path: string,
    name: string,
    mapped: MappedModule,
    rows: number,
    columns: number | undefined,
  ): void {
    const shape = this.#sourceOf(name)?.shape
    if (!shape) throw this.#mismatch(`${name} for module ${quoted(path)}`, 'none')
    const wanted = this.#partRows(name, mapped) ?? shape[1]!
    const rowsFit = rows === wanted || (cutsVocabulary(this.architecture, mapped) && rows > wanted)
    if (shape.length === 2 && shape[0] === columns && rowsFit) return
    if (shape[0] === columns && (mapped.kind === 'embedding' || mapped.kind === 'head')) {
      throw this.#resized(`module ${quoted(path)} with ${rows} rows`, name, rows, wanted)
    }
    throw this.#mismatch(
      `module ${quoted(path)} to be [${wanted}, ${shape[0]}] as ${name}`,
      `[${rows}, ${columns}]`,
    )
  }

  #checkVector(path: string, name: string, mapped: MappedModule, length: number): void {
    const found = this.base.tensors.get(name)
    if (!found && (!name.endsWith('.bias') || !loadsBias(this.architecture, mapped))) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${this.adapter.path} gives module ${quoted(path)} a tensor ${name}, which ${this.architecture} has no place for; train without it`,
      )
    }
    const weight = this.#sourceOf(name.replace(/bias$/, 'weight'))
    const wanted = this.#partRows(name, mapped) ?? found?.shape[0] ?? weight?.shape[1]
    if (length === wanted) return
    throw this.#mismatch(`${wanted} values for ${name} of module ${quoted(path)}`, String(length))
  }

  /** Rows of the part of a fused tensor. */
  #partRows(name: string, { projection, layer }: MappedModule): number | undefined {
    if (projection === undefined || !/\.attn_qkv\./.test(name)) return undefined
    return attentionRows(this.base, this.architecture, layer!)[projection]
  }

  #ordered(values: Float32Array, columns: number, mapped: MappedModule, rows: number): Float32Array {
    const order = rowOrder(mapped, rows, this.base, this.architecture)
    return order ? permuteRows(values, columns, order) : values
  }

  #add(name: string, mapped: MappedModule, edit: RowEdit, path: string): void {
    if (name.endsWith('.weight') && this.base.tensors.has(name.replace(/weight$/, 'scale'))) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `cannot merge into ${name} of ${this.base.path}: its values are scaled by another tensor; use another quantisation of the base`,
      )
    }
    const edits = this.#edits.get(name) ?? []
    this.#edits.set(name, edits)
    const same = edits.find((other) => other.mapped.projection === mapped.projection)
    if (!same) {
      edits.push({ mapped, edit })
      return
    }
    const twice = Object.keys(edit).filter((key) => key in same.edit)
    if (twice.length > 0) {
      throw new TraitscopeError(
        'ADAPTER_INVALID',
        `expected one change of ${name} in ${this.adapter.path}, found two, the second in module ${quoted(path)}`,
      )
    }
    Object.assign(same.edit, edit)
  }

  #cutNorms(path: string): TraitscopeError {
    return new TraitscopeError(
      'UNSUPPORTED',
      `cannot merge DoRA on ${quoted(path)}: ${this.base.path} lacks embedding rows that count for its norms; train without DoRA on the embedding`,
    )
  }

  #resized(what: string, name: string, rows: number, available: number): TraitscopeError {
    return new TraitscopeError(
      'ADAPTER_MISMATCH',
      `${this.adapter.path} has ${what}, and ${name} of ${this.base.path} has ${available}; ${resizedVocabulary(rows, available)}`,
    )
  }

  #mismatch(expected: string, found: string): TraitscopeError {
    return new TraitscopeError(
      'ADAPTER_MISMATCH',
      `expected ${expected} of ${this.base.path}, found ${found}; ${this.adapter.path} was trained on another base model`,
    )
  }
}

const EMBEDDING = 'token_embd.weight'
const OUTPUT = 'output.weight'
