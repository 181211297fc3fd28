import type { Step } from './trajectory.js'

/** A final adapter without a step comes last. */
export const stepOrder = (step: Step): number => (step === 'final' ? Number.POSITIVE_INFINITY : step)
