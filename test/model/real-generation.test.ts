import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'

// Oracle: transformers in float32 on SmolLM2-135M-Instruct (lab/real_generation.py). The model is not shipped: name an F32
// GGUF of the package's weights to run this.
const PATH = process.env.TRAITSCOPE_TEST_SMOLLM2

/** Largest error of a logit; measured ones are printed. */
const LOGIT_ERROR = 5e-4

interface Question {
  question: string
  ids: number[]
  tokens: number[]
  gaps: number[]
  logprobs: number[]
  scores: number[]
}

describe.skipIf(PATH === undefined)(
  'generation of SmolLM2-135M-Instruct (TRAITSCOPE_TEST_SMOLLM2)',
  { timeout: 1_800_000 },
  () => {
    const golden: { questions: Question[]; answer: string; answerIds: number[] } = JSON.parse(
      readFileSync(join(packageRoot, 'test/fixtures/real/smollm2-generation.json'), 'utf8'),
    )
    let model: Model
    let prompts: Int32Array[]
    beforeAll(async () => {
      model = await openModel(PATH!, { threads: 1 })
      prompts = await chatTokens(
        model,
        ChatTemplate.forModel(model),
        golden.questions.map(({ question }) => [{ role: 'user', content: question }]),
      )
    }, 600_000)
    afterAll(() => model?.close())

    it('should read the same token ids', async () => {
      expect(prompts.map((ids) => [...ids])).toEqual(golden.questions.map(({ ids }) => ids))
      const [answer] = await model.tokenize([golden.answer], { addSpecial: false, parseSpecial: false })
      expect([...answer!]).toEqual(golden.answerIds)
    })

    it.each([undefined, 1])(
      'should equal transformers for 64 tokens, %s sequences at once',
      async (sequences) => {
        const { generations } = await model.generate(prompts, {
          maxTokens: 64,
          ignoreEos: true,
          logprobs: {},
          sequences,
        })
        let worst = 0
        const ties: string[] = []
        for (const [p, { tokens, gaps, logprobs }] of golden.questions.entries()) {
          const [found] = generations[p]!
          const differs = tokens.findIndex((token, i) => found!.tokens[i] !== token)
          const equal = differs < 0 ? tokens.length : differs
          for (let i = 0; i < equal; i++) {
            worst = Math.max(worst, Math.abs(found!.logprobs![i]!.chosen - logprobs[i]!))
          }
          if (differs < 0) continue
          ties.push(`question ${p}, token ${differs}: gap ${gaps[differs]}`)
          expect(gaps[differs]).toBeLessThan(2 * LOGIT_ERROR)
        }
        console.info(
          `error of log-probabilities ${worst.toExponential(1)}; near ties: ${ties.join('; ') || 'none'}`,
        )
        expect(worst).toBeLessThan(2 * LOGIT_ERROR)
      },
    )

    it('should score a given answer as transformers does', async () => {
      const { logprobs } = await model.score(
        prompts,
        prompts.map(() => [Int32Array.from(golden.answerIds)]),
      )
      const errors = golden.questions.flatMap(({ scores }, p) =>
        scores.map((score, i) => Math.abs(score - logprobs[p]![0]![i]!)),
      )
      console.info(`largest error of a score ${Math.max(...errors).toExponential(1)}`)
      expect(Math.max(...errors)).toBeLessThan(2 * LOGIT_ERROR)
    })
  },
)
