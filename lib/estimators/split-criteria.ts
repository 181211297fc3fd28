/** How good a group of rows is, from its weighted sum, sum of squares and total weight of the target. */
export interface Criterion {
  impurity(sum: number, squares: number, weight: number): number
  /** Rises with the impurity that a split removes; only compared within one node. */
  gain(sumLeft: number, weightLeft: number, sumRight: number, weightRight: number): number
}

/** Variance, for any target. */
export const SQUARED_ERROR: Criterion = {
  impurity: (sum, squares, weight) => squares / weight - (sum / weight) * (sum / weight),
  gain: (sumLeft, weightLeft, sumRight, weightRight) =>
    (sumLeft * sumLeft) / weightLeft + (sumRight * sumRight) / weightRight,
}

const gini = (ones: number, weight: number) =>
  1 - ((weight - ones) * (weight - ones) + ones * ones) / (weight * weight)

/** Gini impurity of a target of zeros and ones. */
export const GINI: Criterion = {
  impurity: (ones, _, weight) => gini(ones, weight),
  gain: (onesLeft, weightLeft, onesRight, weightRight) =>
    -weightRight * gini(onesRight, weightRight) - weightLeft * gini(onesLeft, weightLeft),
}
