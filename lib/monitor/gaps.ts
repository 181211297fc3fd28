/** Steps of a run that were there and that nobody saw. */

export interface Gap {
  /** The checkpoint before, or 0 for the start of the run. */
  after: number
  before: number
  /** The trainer's save interval. */
  every: number
  /** How many are missing. */
  count: number
}

/**
 * Checkpoints that the save interval lets expect between those that are known: the multiples of it that are none of them.
 *
 * @param known ascending
 * @param fresh those of them that were found now: gaps are looked for before these alone
 */
export function gapsBefore(
  fresh: readonly number[],
  known: readonly number[],
  every: number | undefined,
): Gap[] {
  if (every === undefined) return []
  const gaps: Gap[] = []
  for (const before of fresh) {
    const at = known.indexOf(before)
    const after = known[at - 1] ?? 0
    const count = Math.ceil(before / every) - 1 - Math.floor(after / every)
    if (count > 0) gaps.push({ after, before, every, count })
  }
  return gaps
}

/**
 * The trainer's save interval: what its state says, if the checkpoints bear it out (a trainer that saves by epochs says one
 * too), else the smallest distance of the checkpoints, if all others are multiples of it. The last step of a run is saved
 * whatever the interval.
 *
 * @param known ascending
 */
export function saveInterval(
  known: readonly number[],
  said: number | undefined,
  last: number | undefined,
): number | undefined {
  const regular = known.filter((step) => step !== last)
  if (said !== undefined && regular.every((step) => step % said === 0)) return said
  const distances = regular.map((step, i) => step - (regular[i - 1] ?? 0))
  if (distances.length < 3) return undefined
  const least = Math.min(...distances)
  const twice = distances.filter((distance) => distance === least).length > 1
  return twice && regular.every((step) => step % least === 0) ? least : undefined
}
