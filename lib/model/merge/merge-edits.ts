import type { ReplacedRows, ReplacedTensor } from '../../formats/peft/peft-tensors.js'
import type { LoraPair } from '../lora/lora-fuse.js'

/** Rows that take the place of the base's. */
export interface Replacement {
  /** Of rows `begin` up to `end` those that are replaced; undefined for all of them. */
  among?(begin: number, end: number): Int32Array
  /** The replacing rows among them, in order, row-major. */
  values(begin: number, end: number): Float32Array
}

/** What happens to consecutive rows of a tensor; see NativeRowMerge for the order. */
export interface RowEdit {
  replacement?: Replacement
  /** Added: B·A, with the scale in B and rows in the order of the base. Made when the rows are written. */
  pair?: () => Pick<LoraPair, 'a' | 'b' | 'r'>
  /** What rows, or columns, are scaled to have as their norms (DoRA). */
  rowNorms?: Float32Array
  columnNorms?: Float32Array
}

/** Consecutive rows of a tensor. Vectors are matrices of one column. */
export interface RowBlock {
  rows: number
  /** Absent for rows that stay as they are. */
  edit?: RowEdit
}

/**
 * Every row of a tensor from the adapter.
 *
 * @param order for each row of the base its row in the adapter; undefined when they are the same
 * @param shift added to every value
 */
export function replaceAll(
  replaced: ReplacedTensor,
  order: Uint32Array | undefined,
  shift: number,
): Replacement {
  return {
    values(begin, end) {
      const rows =
        order?.subarray(begin, end) ?? Uint32Array.from({ length: end - begin }, (_, i) => begin + i)
      const values = replaced.rows(rows)
      return shift === 0 ? values : values.map((value) => value + shift)
    },
  }
}

/** The rows of trained tokens. */
export function replaceTokens({ tokens, values, width }: ReplacedRows): Replacement {
  const within = (begin: number, end: number) =>
    [...tokens.entries()].filter(([, token]) => token >= begin && token < end)
  return {
    among(begin, end) {
      const rows = new Int32Array(end - begin).fill(-1)
      for (const [i, [, token]] of within(begin, end).entries()) rows[token - begin] = i
      return rows
    },
    values(begin, end) {
      const picked = within(begin, end)
      const result = new Float32Array(picked.length * width)
      for (const [i, [row]] of picked.entries()) {
        result.set(values.subarray(row * width, (row + 1) * width), i * width)
      }
      return result
    },
  }
}
