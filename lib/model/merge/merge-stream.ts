import { binding, cancellable, type NativeRowMerge } from '../../binding.js'
import { ggmlType } from '../../formats/gguf/ggml-types.js'
import type { GgmlTypeName } from '../../formats/gguf/gguf.js'
import type { GgufParts } from '../../formats/gguf/gguf-split.js'
import { tensorBytes } from '../../formats/gguf/gguf-stream.js'
import type { RowBlock, RowEdit } from './merge-edits.js'
import type { MergedTensor } from './merge-plan.js'

export interface MergeContext {
  base: GgufParts
  /** Factor on every change. */
  strength: number
  threads: number
  signal?: AbortSignal | undefined
  /** Called with the name of a tensor when a byte of it is known to differ from the base's. */
  onChange(tensor: string): void
}

type LoraRows = ReturnType<NonNullable<RowEdit['pair']>>

/** Elements that are changed at a time: 16 MB as float32, and less in every other type. */
const CHUNK_ELEMENTS = 2 ** 22

/** The bytes of a tensor of the merged model, in order. */
export async function* mergedBytes(
  context: MergeContext,
  tensor: MergedTensor,
  type: GgmlTypeName,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { source, blocks } = tensor
  if (!blocks) {
    if (source) yield* tensorBytes(context.base.fileOf(source), source, 0, source.byteLength)
    return
  }
  let first = 0
  for (const block of blocks) {
    const stream = new BlockStream(context, tensor, block, first, type)
    if (!block.edit && source?.type === type) yield* stream.base()
    else yield* stream.merged()
    first += block.rows
  }
}

/** One block of a tensor, a chunk of rows at a time. */
class BlockStream {
  readonly #columns: number
  readonly #step: number
  #madePair: LoraRows | undefined

  constructor(
    private readonly context: MergeContext,
    private readonly tensor: MergedTensor,
    private readonly block: RowBlock,
    /** Row of the tensor that the block starts at. */
    private readonly first: number,
    private readonly type: GgmlTypeName,
  ) {
    this.#columns = tensor.shape.length === 1 ? 1 : tensor.shape[0]!
    this.#step = Math.max(1, Math.floor(CHUNK_ELEMENTS / this.#columns))
  }

  get #pair(): LoraRows | undefined {
    this.#madePair ??= this.block.edit?.pair?.()
    return this.#madePair
  }

  /** The base's bytes, one piece per chunk. */
  base(): AsyncIterable<Uint8Array> {
    const source = this.tensor.source!
    const { blockElements, blockBytes } = ggmlType(source.type)
    const rowBytes = (this.#columns / blockElements) * blockBytes
    const begin = this.first * rowBytes
    const end = begin + this.block.rows * rowBytes
    return tensorBytes(this.context.base.fileOf(source), source, begin, end, this.#step * rowBytes)
  }

  async *merged(): AsyncGenerator<Uint8Array, void, undefined> {
    const { context, tensor } = this
    const { source } = tensor
    const columnFactors = await this.#columnFactors()
    for await (const { merge, base } of this.#chunks()) {
      const rows = await cancellable(context, (token) =>
        binding().mergeRows({ ...merge, columnFactors }, token),
      )
      this.#keepRows(rows, merge)
      const differs = source?.type !== this.type || base === undefined || Buffer.compare(rows, base) !== 0
      if (differs) context.onChange(tensor.name)
      yield rows
    }
  }

  /** A column's norm counts all rows, so they are read once more. */
  async #columnFactors(): Promise<Float32Array | undefined> {
    const norms = this.block.edit?.columnNorms
    if (!norms) return undefined
    const squares = new Float64Array(this.#columns)
    for await (const { merge } of this.#chunks()) {
      const part = await cancellable(this.context, (token) => binding().columnSquares(merge, token))
      for (const [i, value] of part.entries()) squares[i]! += value
    }
    return norms.map((norm, i) => norm / Math.sqrt(squares[i]!))
  }

  async *#chunks(): AsyncGenerator<{ merge: NativeRowMerge; base: Uint8Array | undefined }> {
    const { block, tensor, context } = this
    const { replacement } = block.edit ?? {}
    const unread = !tensor.source || (replacement && !replacement.among && context.strength === 1)
    const pieces = unread ? undefined : this.base()[Symbol.asyncIterator]()
    try {
      for (let begin = 0; begin < block.rows; begin += this.#step) {
        const end = Math.min(block.rows, begin + this.#step)
        const base: Uint8Array | undefined = (await pieces?.next())?.value
        yield { merge: this.#request(begin, end, base), base }
      }
    } finally {
      await pieces?.return?.()
    }
  }

  #request(begin: number, end: number, base: Uint8Array | undefined): NativeRowMerge {
    const { rowNorms, replacement } = this.block.edit ?? {}
    const pair = this.#pair
    const all = () => Int32Array.from({ length: end - begin }, (_, i) => i)
    return {
      name: this.tensor.name,
      sourceType: ggmlType(this.tensor.source?.type ?? 'F32').id,
      targetType: ggmlType(this.type).id,
      rows: end - begin,
      columns: this.#columns,
      base,
      rank: pair?.r ?? 0,
      a: pair?.a,
      b: pair?.b.subarray(begin * pair.r, end * pair.r),
      replaced: replacement && (replacement.among?.(begin, end) ?? all()),
      replacement: replacement?.values(begin, end),
      rowNorms: rowNorms?.subarray(begin, end),
      strength: this.context.strength,
      threads: this.context.threads,
    }
  }

  /** Rows that nothing changes keep the base's bytes: quantised once more, some types would round them again. */
  #keepRows(rows: Uint8Array, { base, replaced, rank, rowNorms, rows: n }: NativeRowMerge): void {
    const untouched = replaced !== undefined && rank === 0 && !rowNorms && !this.block.edit?.columnNorms
    if (!untouched || base === undefined || this.tensor.source?.type !== this.type) return
    const size = base.length / n
    for (let i = 0; i < n; i++) {
      if (replaced[i]! < 0) rows.set(base.subarray(i * size, (i + 1) * size), i * size)
    }
  }
}
