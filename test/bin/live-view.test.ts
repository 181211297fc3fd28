import { EventEmitter } from 'node:events'
import { describe, expect, it } from 'vitest'
import { LiveView, type Terminal } from '../../bin/live-view.js'

class FakeTerminal extends EventEmitter {
  text = ''
  rows = 10
  columns = 80
  write(chunk: string): boolean {
    this.text += chunk
    return true
  }
  take(): string {
    const { text } = this
    this.text = ''
    return text
  }
}

function open() {
  const terminal = new FakeTerminal()
  return { terminal, view: new LiveView(terminal as unknown as Terminal) }
}

describe('LiveView', () => {
  it('should draw a frame over the last one in one write', () => {
    const { terminal, view } = open()
    view.draw(['one', 'two'])
    terminal.take()
    view.draw(['eins'])
    expect(terminal.take()).toBe('\u001b[?2026h\u001b[2A\reins\u001b[K\n\u001b[J\u001b[?2026l')
    view[Symbol.dispose]()
  })

  it('should hide the cursor and bring it back, and leave no listener', () => {
    const before = process.listenerCount('exit')
    const { terminal, view } = open()
    expect(terminal.take()).toBe('\u001b[?25l')
    expect(process.listenerCount('exit')).toBe(before + 1)
    view[Symbol.dispose]()
    expect(terminal.take()).toBe('\u001b[?25h')
    expect(process.listenerCount('exit')).toBe(before)
    expect(terminal.listenerCount('resize')).toBe(0)
  })

  it('should start over after a resize and never be taller than the screen', () => {
    const { terminal, view } = open()
    view.draw(['one'])
    terminal.rows = 3
    terminal.emit('resize')
    terminal.take()
    view.draw(['a', 'b', 'c', 'd'])
    expect(terminal.take()).toBe('\u001b[?2026h\u001b[2J\u001b[Ha\u001b[K\nb\u001b[K\n\u001b[J\u001b[?2026l')
    view[Symbol.dispose]()
  })
})
