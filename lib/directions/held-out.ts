import { setImmediate } from 'node:timers/promises'
import type { Matrix64 } from '../estimators/matrix.js'
import { variance } from '../estimators/mean.js'
import { Mt19937 } from '../estimators/mt19937.js'

/** How the prompts of one trait are laid out: every question under every system prompt of each pole. */
export interface PromptGrid {
  questions: number
  /** System prompts of the positive pole, and of the negative one. */
  positive: number
  negative: number
  /**
   * Whether the k-th system prompts of both poles are one wording that differs by the pole alone. A direction without the i-th of one pole and
   * the j-th of the other would then hold wording j less wording i, and be the worse for it: both pairs are left out.
   */
  paired?: boolean | undefined
}

/** An AUROC on prompts that a direction was not made of. */
export interface HeldOutAuroc {
  /**
   * Share, in [0, 1], of pairs of one positive and one negative state of the same question that the direction orders
   * rightly; ties count half. Within a question, because a drift compares a prompt with itself too.
   */
  auroc: number
  /**
   * The estimate and 1.96 bootstrap standard errors to each side, clipped to [0, 1]. What is left out is drawn again,
   * and the directions are made again of what was drawn: five system prompts say little, and the interval shows it.
   */
  interval: [low: number, high: number]
}

/**
 * What one direction is worth beyond its own prompts; null where there are fewer than four units to leave out: with three
 * system prompts a pole, too many intervals miss their value.
 */
export interface HeldOut {
  /** Made without the question that is tested. */
  question: HeldOutAuroc | null
  /** Made without the two system prompts, one of each pole, that are tested. */
  systemPrompt: HeldOutAuroc | null
  /** Made without that question under any system prompt, and without those system prompts under any question. */
  both: HeldOutAuroc | null
}

/** A standard error needs no more. */
const DRAWS = 200
const FEWEST = 4
const SEED = 42

/** How often each question and each system prompt counts: 1 each, or as often as it was drawn. */
interface Weights {
  questions: Float64Array
  positive: Float64Array
  negative: Float64Array
}

interface LeftOut {
  question: boolean
  systemPrompt: boolean
}

/**
 * Makes the mean-difference direction again without a question, without a pair of system prompts, and without both, for
 * every choice of them, and tests it on what was left out. Everything comes from inner products of the states, so no
 * direction is ever formed: `h · mean(rows)` is a mean over entries of the Gram matrix. Method section 4.3.
 *
 * The event loop is free between draws, since all of them may take half a second.
 *
 * @param inner Gram matrix of the states, positive pole first, each pole question-major
 */
export async function heldOut(inner: Matrix64, grid: PromptGrid): Promise<HeldOut> {
  const questions = grid.questions >= FEWEST
  const prompts = Math.min(grid.positive, grid.negative) >= FEWEST
  const without = (out: LeftOut) => estimate(inner, grid, out)
  return {
    question: questions ? await without({ question: true, systemPrompt: false }) : null,
    systemPrompt: prompts ? await without({ question: false, systemPrompt: true }) : null,
    both: questions && prompts ? await without({ question: true, systemPrompt: true }) : null,
  }
}

async function estimate(inner: Matrix64, grid: PromptGrid, out: LeftOut): Promise<HeldOutAuroc> {
  const random = new Mt19937(SEED)
  const once = (n: number) => new Float64Array(n).fill(1)
  // A draw of one and the same again and again leaves nothing to make a direction of, nor does one of two pairs.
  const drawn = (n: number, fewest = 2): Float64Array => {
    for (;;) {
      const counts = new Float64Array(n)
      for (let k = 0; k < n; k++) counts[random.randint(n)]!++
      if (counts.filter((count) => count > 0).length >= fewest) return counts
    }
  }
  const weights = (again: LeftOut): Weights => {
    const questions = (again.question ? drawn : once)(grid.questions)
    const positive = again.systemPrompt ? drawn(grid.positive, grid.paired ? 3 : 2) : once(grid.positive)
    if (grid.paired) return { questions, positive, negative: positive }
    return { questions, positive, negative: (again.systemPrompt ? drawn : once)(grid.negative) }
  }
  const auroc = weightedAuroc(inner, grid, weights({ question: false, systemPrompt: false }), out)
  const draws: number[] = []
  while (draws.length < DRAWS) {
    await setImmediate()
    draws.push(weightedAuroc(inner, grid, weights(out), out))
  }
  const reach = 1.96 * Math.sqrt(variance(draws, 1))
  return { auroc, interval: [Math.max(0, auroc - reach), Math.min(1, auroc + reach)] }
}

/** Mean over all pairs of one question, each counted as often as the weights say. */
function weightedAuroc(inner: Matrix64, grid: PromptGrid, weights: Weights, out: LeftOut): number {
  const { questions, positive, negative, paired } = grid
  const below = questions * positive
  const counted = Float64Array.from({ length: inner.rows }, (_, row) => {
    const [at, pole] = row < below ? [row, weights.positive] : [row - below, weights.negative]
    return weights.questions[Math.floor(at / pole.length)]! * pole[at % pole.length]!
  })
  const towards = poleMeans(inner, 0, weights.questions, weights.positive, counted, out)
  const away = poleMeans(inner, below, weights.questions, weights.negative, counted, out)
  let won = 0
  let pairs = 0
  for (let q = 0; q < questions; q++) {
    for (let i = 0; i < positive; i++) {
      const a = q * positive + i
      if (counted[a] === 0) continue
      for (let j = 0; j < negative; j++) {
        const b = below + q * negative + j
        if (counted[b] === 0) continue
        const score = (row: number) => towards(row, q, i, paired ? j : i) - away(row, q, j, paired ? i : j)
        const difference = score(a) - score(b)
        const weight = counted[a]! * weights.negative[j]!
        won += weight * (difference > 0 ? 1 : difference === 0 ? 0.5 : 0)
        pairs += weight
      }
    }
  }
  return won / pairs
}

/**
 * The product of a state with the weighted mean of a pole's other states: those not of question `q`, not of the pole's
 * system prompts `i` and `k` (which may be one), or neither, as `out` says.
 *
 * @param first row of the pole's first state
 * @param counted rows of weight 0 are asked for nothing, and are skipped
 */
function poleMeans(
  { data, rows }: Matrix64,
  first: number,
  questions: Float64Array,
  prompts: Float64Array,
  counted: Float64Array,
  out: LeftOut,
): (row: number, q: number, i: number, k: number) => number {
  const width = prompts.length
  const byQuestion = new Float64Array(rows * questions.length)
  const byPrompt = new Float64Array(rows * width)
  const all = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    if (counted[row] === 0) continue
    for (let q = 0; q < questions.length; q++) {
      if (questions[q] === 0) continue
      const at = row * rows + first + q * width
      let sum = 0
      for (let i = 0; i < width; i++) {
        const value = counted[first + q * width + i]! * data[at + i]!
        byPrompt[row * width + i]! += value
        sum += value
      }
      byQuestion[row * questions.length + q] = sum
      all[row]! += sum
    }
  }
  const total = (weights: Float64Array) => weights.reduce((sum, weight) => sum + weight, 0)
  const [nQuestions, nPrompts] = [total(questions), total(prompts)]
  return (row, q, i, k) => {
    let sum = all[row]!
    if (out.question) sum -= byQuestion[row * questions.length + q]!
    const nQ = out.question ? nQuestions - questions[q]! : nQuestions
    let nP = nPrompts
    const without = (prompt: number) => {
      sum -= byPrompt[row * width + prompt]!
      const own = first + q * width + prompt
      if (out.question) sum += counted[own]! * data[row * rows + own]!
      nP -= prompts[prompt]!
    }
    if (out.systemPrompt) without(i)
    if (out.systemPrompt && k !== i) without(k)
    return sum / (nQ * nP)
  }
}
