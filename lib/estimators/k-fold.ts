import { TraitscopeError } from '../errors.js'
import { Mt19937 } from './mt19937.js'

/** Row indices of one split, both ascending. */
export interface Fold {
  readonly train: Int32Array
  readonly test: Int32Array
}

/**
 * Stratified, shuffled folds: those of scikit-learn's `StratifiedKFold(folds, shuffle=True,
 * random_state=seed)`.
 * @param labels class of every row; any integers
 * @throws `SHAPE` when a class has fewer rows than folds (scikit-learn only warns, and such a fold tests
 * nothing)
 */
export function stratifiedKFold(labels: ArrayLike<number>, folds = 5, seed = 42): Fold[] {
  // Classes are numbered by first appearance, which decides the order in which they draw from the stream.
  const classOf = new Map<number, number>()
  const encoded = Int32Array.from(labels, (label) => {
    if (!classOf.has(label)) classOf.set(label, classOf.size)
    return classOf.get(label)!
  })
  const counts = new Int32Array(classOf.size)
  for (const k of encoded) counts[k]!++
  for (const [label, k] of classOf) {
    if (counts[k]! < folds) {
      throw new TraitscopeError(
        'SHAPE',
        `${folds} stratified folds need at least ${folds} rows of every class, but class ${label} has ${counts[k]}`,
      )
    }
  }
  const random = new Mt19937(seed)
  const testFold = new Int32Array(encoded.length)
  let start = 0 // where class k begins among the rows sorted by class
  for (let k = 0; k < counts.length; k++) {
    // Rows sorted by class are dealt to the folds in turn; a fold gets as many of class k as it was dealt.
    const perFold = new Int32Array(folds)
    for (let i = start; i < start + counts[k]!; i++) perFold[i % folds]!++
    start += counts[k]!
    const assignment = new Int32Array(counts[k]!)
    for (let fold = 0, at = 0; fold < folds; fold++) {
      assignment.fill(fold, at, at + perFold[fold]!)
      at += perFold[fold]!
    }
    random.shuffle(assignment)
    let next = 0
    for (let i = 0; i < encoded.length; i++) if (encoded[i] === k) testFold[i] = assignment[next++]!
  }
  const rows = Int32Array.from(encoded.keys())
  return Array.from({ length: folds }, (_, fold) => ({
    train: rows.filter((i) => testFold[i] !== fold),
    test: rows.filter((i) => testFold[i] === fold),
  }))
}
