/// <reference types="node" preserve="true" />
/** `traitscope/evaluation`: the paper's comparison of detectors and its geometry of drift, on folders of measured runs. */
// biome-ignore-all assist/source/organizeImports: the order is that of docs/api.md

// ## Comparing detectors
// On runs that no detector was fitted on, with every baseline.

export { evaluateRuns } from './evaluate-runs.js'
export { evaluationRows, evaluationWarnings, furtherTables, TABLE_HEADER } from './evaluation-table.js'
export { saveEvaluation } from './evaluation-report.js'
export type { RunsEvaluation } from './evaluate-runs.js'
export type {
  ContenderResult,
  EvaluateOptions,
  EvaluateRunsOptions,
  Evaluation,
  Figures,
  Group,
  LabelKind,
  Spread,
} from './evaluation.js'
export type { CalibrationScore, Contender, ContenderRegressor, FitOn } from './contenders.js'
export type { AlarmRates } from '../calibration/metrics.js'
export type { Interval, LeadTimes } from './run-metrics.js'
export type { PairComparison, PairSide, RunMean } from './matched-pair.js'
export type { OracleThreshold } from './oracle-threshold.js'
export type { FoldMean, StepAwareKind, StepAwareResult } from './step-aware.js'
export type { SubsetScore, TraitEnumeration } from './trait-enumeration.js'

// ## Geometry of drift
// Where runs end, along which axes, and what chance would make of it.

export { runGeometry } from '../geometry/run-geometry.js'
export { driftGeometry } from '../geometry/geometry.js'
export { loadingsChart, planeChart, saveGeometry } from '../geometry/geometry-report.js'
export type { PlanePoint, RunGeometry, RunGeometryOptions } from '../geometry/run-geometry.js'
export type {
  BasisControls,
  DriftGeometry,
  FinalDrift,
  Geometry,
  GeometryOptions,
  NullShare,
} from '../geometry/geometry.js'
export type { NullOptions } from '../geometry/isotropic-null.js'
export type { AxisWithoutGroup, PrincipalAxes } from '../geometry/principal-axis.js'
