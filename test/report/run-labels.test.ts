import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { LabelFolders } from '../../lib/report/run-labels.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-run-labels-'))
afterAll(() => rmSync(folder, { recursive: true }))

function labelled(name: string, weights: string): string {
  const path = join(folder, name)
  mkdirSync(path)
  const answer = { prompt: 'Why?', system: null, response: 'So.', finish: 'stop', tokens: 3 }
  const record = { step: 10, prompt_id: 'q1', draw: 0, weights, ...answer }
  writeFileSync(join(path, 'responses.jsonl'), `${JSON.stringify(record)}\n`)
  return path
}

describe('LabelFolders', () => {
  it('should tell which folders hold no answers of the runs that were asked for', async () => {
    const [ours, others] = [labelled('ours', 'a10'), labelled('others', 'b10')]
    const labels = new LabelFolders([ours, others])
    expect(await labels.unused()).toEqual([ours, others])
    await labels.of(new Map([[10, 'a10']]))
    expect(await labels.unused()).toEqual([others])
  })

  it('should name a folder that is not there, though no run was asked for', async () => {
    const unused = new LabelFolders([join(folder, 'nowhere')]).unused()
    await expect(unused).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})
