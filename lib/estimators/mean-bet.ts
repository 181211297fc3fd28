/** Of what could be lost at most, the share that is staked: less than all, so that one draw ruins nobody. */
const BOLDEST = 0.9

/**
 * Evidence that the mean of finitely many numbers lies above a bound, from some of them that are drawn at random and without
 * replacement: what a bettor makes of one who says that it does not. The game is fair or worse when it is as he says, so that capital
 * ever grows a hundredfold with a probability of at most 1 %: whoever stops at any time, for any reason, errs no more often (Ville's
 * inequality; Waudby-Smith and Ramdas 2024, the same for sampling without replacement).
 *
 * Nothing is asked of the numbers but that none is below `low`. One above `high` counts as `high`, which is on the safe side.
 */
export class MeanBet {
  #capital = 1
  #highest = 1
  #taken = 0
  #sum = 0
  #squares = 0.01
  #isVoid = false
  readonly #bound: number

  /**
   * @param count how many numbers there are
   * @param range `low` below all of them, `high` about their largest
   */
  constructor(
    private readonly count: number,
    bound: number,
    private readonly range: { low: number; high: number },
  ) {
    this.#bound = this.#scaled(bound)
  }

  /** The next number that was drawn. */
  take(number: number): void {
    const value = Math.min(1, this.#scaled(number))
    if (value < 0) this.#isVoid = true
    // The mean of those that are left, if that of all were the bound itself.
    const left = this.#left
    const guess = (this.#bound + this.#sum) / (this.#taken + 1)
    const edge = guess - left
    const stake =
      left > 0
        ? Math.min(Math.max(edge / (this.#squares / (this.#taken + 1) + edge ** 2), 0), BOLDEST / left)
        : 0
    this.#capital *= 1 + stake * (value - left)
    this.#highest = Math.max(this.#highest, this.#capital)
    this.#sum += value
    this.#squares += (value - guess) ** 2
    this.#taken++
  }

  /** With at most this probability the capital is as it is although the mean is not above the bound; 1 once a number was below `low`. */
  get pValue(): number {
    if (this.#isVoid) return 1
    // Even if all that are left lay at the low end, the mean would be above.
    if (this.#left < -1e-9) return 0
    return 1 / this.#highest
  }

  get #left(): number {
    return (this.count * this.#bound - this.#sum) / Math.max(1, this.count - this.#taken)
  }

  #scaled(number: number): number {
    return (number - this.range.low) / (this.range.high - this.range.low)
  }
}
