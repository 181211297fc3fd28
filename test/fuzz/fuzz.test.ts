import { describe, expect, it } from 'vitest'
import { runNode } from '../helpers/child.js'

interface Result {
  /** Reader to outcome to number of cases. */
  table: Record<string, Record<string, number>>
  findings: string[]
}

async function fuzz(...args: string[]): Promise<Result> {
  const { stdout, stderr } = await runNode('scripts/fuzz/run.mjs', {
    args: ['--json', '--seed', '1', ...args],
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout) as Result
}

function total({ table }: Result): number {
  return Object.values(table).reduce((sum, row) => sum + Object.values(row).reduce((a, b) => a + b, 0), 0)
}

describe('hostile input', () => {
  it('should get a result or an error with a code from every reader, 2,000 cases', async () => {
    const result = await fuzz('--cases', '2000')
    expect(result.findings).toEqual([])
    expect(total(result)).toBe(2000)
    // Cases that are all refused, or all accepted, would test little.
    const readers = [
      'gguf',
      'adapter',
      'safetensors',
      'trait-pack',
      'directions',
      'trajectory',
      'labels',
      'model-folder',
      'chat-template',
    ]
    for (const reader of readers) {
      expect(result.table[reader]?.ok, reader).toBeGreaterThan(10)
      expect(result.table[reader]?.error, reader).toBeGreaterThan(10)
    }
  })

  it('should get a result or a message and nothing half-written from the command line, 60 cases', async () => {
    const result = await fuzz('--cli', '--cases', '60')
    expect(result.findings).toEqual([])
    expect(total(result)).toBe(60)
  })
})
