import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageRoot } from '../../lib/package.js'

export const CONVERT_FIXTURES = join(packageRoot, 'test/fixtures/convert')

type Change = Record<string, unknown>

export interface FolderChanges {
  config?: Change
  tokenizer?: Change
  tokenizerConfig?: Change
  /** Files to take away. */
  remove?: readonly string[]
}

/** A copy of a fixture's Hugging Face folder, its JSON files changed; a key that is undefined is taken away. */
export async function changedFolder(parent: string, name: string, changes: FolderChanges): Promise<string> {
  const copy = await mkdtemp(join(parent, 'copy-'))
  await cp(join(CONVERT_FIXTURES, name, 'hf'), copy, { recursive: true })
  for (const file of changes.remove ?? []) await rm(join(copy, file))
  for (const [file, values] of [
    ['config.json', changes.config],
    ['tokenizer.json', changes.tokenizer],
    ['tokenizer_config.json', changes.tokenizerConfig],
  ] as const) {
    if (!values) continue
    const path = join(copy, file)
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...values }))
  }
  return copy
}
