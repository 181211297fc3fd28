import { describe, expect, it } from 'vitest'
import { runNode } from '../helpers/child.js'

describe('a watch that is killed again and again', () => {
  it('should record every checkpoint that it could see exactly once, or tell that it is lost', async () => {
    const args = ['--checkpoints', '24', '--kills', '5', '--pace', '0.6', '--seed', '3', '--margin', '2']
    const { code, stdout, stderr } = await runNode('scripts/chaos-watch.mjs', { args })
    expect(stderr).toMatch(/^(not started as root: no disk is filled\n)?$/)
    const found = JSON.parse(stdout)
    expect(found.problems).toEqual([])
    expect(found.trainer.versions).toBeGreaterThanOrEqual(24)
    // Enough to say something: most were there long enough, and what was recorded was compared with an offline measurement.
    expect(found.seen).toBeGreaterThan(4)
    expect(found.compared).toBe(found.recorded)
    expect(found.kills).toBeGreaterThanOrEqual(5)
    expect(code).toBe(0)
  }, 180_000)
})
