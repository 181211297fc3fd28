import { describe, expect, it } from 'vitest'
import type { PeftAdapter } from '../../lib/formats/peft/peft.js'
import type { AttachReport } from '../../lib/model/lora/lora.js'
import { summarize } from '../../lib/trajectory/summarize-adapter.js'

const module = (path: string, r: number, scale: number, bIsZero = false) => ({
  path,
  tensor: path,
  r,
  scale,
  bIsZero,
})

describe('summarize', () => {
  it('should name what was matched, each once and in order, and count what does nothing', () => {
    const modules = [
      module('layers.0.v_proj', 16, 2),
      module('layers.0.q_proj', 8, 4),
      module('layers.1.v_proj', 8, 4, true),
      module('layers.1.q_proj', 16, 0),
      module('lm_head', 128, 0, true),
    ]
    const found = summarize(
      { config: { r: 16, loraAlpha: 32 } } as PeftAdapter,
      { modules } as unknown as AttachReport,
    )
    expect(found).toEqual({
      rank: 16,
      alpha: 32,
      modules: 5,
      targets: ['lm_head', 'q_proj', 'v_proj'],
      ranks: [8, 16, 128],
      scales: [0, 2, 4],
      zeroModules: 3,
    })
  })
})
