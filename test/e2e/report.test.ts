import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { TINY_BASE } from '../helpers/tiny.js'
import { SyntheticRuns } from '../runs/synthetic.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
let bad: string
let good: string
beforeAll(() => {
  const runs = new SyntheticRuns(work.path('runs'))
  bad = runs.write({ dataset: 'bad_medical', seed: 42, peak: 0.6 })
  good = runs.write({ dataset: 'gsm8k', seed: 7, peak: 0.01 })
})

const headings = (html: string) => [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, text]) => text)

describe('traitscope report', () => {
  it('should show runs with the labels that lie beside them', async () => {
    const out = work.path('page.html')
    const { stdout } = await work.succeed(['report', bad, join(good, 'trajectory.json'), '-o', out])
    expect(stdout).toBe(`written to ${out}\n`)
    const html = readFileSync(out, 'utf8')
    expect(headings(html).slice(0, 2)).toEqual(['bad_medical/seed_42', 'gsm8k/seed_7'])
    expect(html.match(/>judged EM</g)).toHaveLength(2)
    expect(html).toContain('without a calibrated detector there is no verdict')
  })

  it('should not replace a page unless it may', async () => {
    const out = work.write('taken.html', 'mine')
    const refused = await work.run(['report', bad, '-o', out])
    expect([refused.code, readFileSync(out, 'utf8')]).toEqual([1, 'mine'])
    expect(refused.stderr).toMatch(/\[FILE_EXISTS\]/)
    await work.succeed(['report', bad, '-o', out, '--force'])
    expect(readFileSync(out, 'utf8')).toMatch(/^<!doctype html>/)
  })

  it.each([
    ['a path that is not there', 'nowhere', 'FILE_NOT_FOUND'],
    ['a file that is no run', TINY_BASE, 'FILE_INVALID'],
    ['a folder without a trajectory', '.', 'FILE_NOT_FOUND'],
  ])('should name %s and write nothing', async (_, path, code) => {
    const out = work.path(`${code}.html`)
    const { code: exit, stderr } = await work.run(['report', path, '-o', out])
    expect(exit).toBe(1)
    expect(stderr).toContain(`[${code}]`)
    expect(() => readFileSync(out)).toThrow()
  })
})
