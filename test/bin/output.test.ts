import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { createOutput } from '../../bin/output.js'

const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 })

describe('createOutput', () => {
  it('should offer a terminal where a person looks at one', () => {
    expect(createOutput({ stdout, env: { TERM: 'xterm' } }).terminal).toBe(stdout)
    expect(createOutput({ stdout, env: { TERM: 'xterm', NO_COLOR: '1' } }).terminal).toBe(stdout)
  })

  it.each([
    ['a dumb terminal', { stdout, env: { TERM: 'dumb' } }],
    ['CI', { stdout, env: { CI: '1' } }],
    ['a pipe', { stdout: new PassThrough(), env: {} }],
    ['--quiet', { stdout, env: {}, quiet: true }],
  ])('should offer none with %s', (_, options) => {
    expect(createOutput(options).terminal).toBeUndefined()
  })

  it.each([
    [{}, '\u001b[31mtext\u001b[0m'],
    [{ NO_COLOR: '' }, 'text'],
    [{ CI: '1' }, 'text'],
    [{ TERM: 'dumb' }, 'text'],
  ])('should colour with %o as %j', (env, shown) => {
    expect(createOutput({ stdout, env }).color('red', 'text')).toBe(shown)
  })
})
