/** The public list of names; every one is documented where it lives. */
export { type BenchOptions, type BenchReport, type BenchRow, benchModel } from './bench/bench.js'
export { type Diagnosis, diagnose } from './binding.js'
export {
  type CalibrateOptions,
  type Calibration,
  type CalibrationReport,
  calibrate,
} from './calibration/calibrate.js'
export { saveBundle } from './calibration/save-bundle.js'
export type { CalibratedFor } from './conditions/calibrated-for.js'
export type { Conditions } from './conditions/conditions.js'
export type { Demo } from './demo/demo.js'
export { type DemoOrganism, type FindOrganismOptions, findOrganism } from './demo/demo-organism.js'
export type { DemoOutcome, DemoPoint, DemoRun } from './demo/demo-run.js'
export { type RunDemoOptions, runDemo } from './demo/run-demo.js'
export { demoCaveat, demoStory, formatRate } from './demo/story.js'
export { type Bundle, type BundleSummary, loadBundle } from './detector/bundle.js'
export { Detector, type Prediction } from './detector/detector.js'
export { RunVerdicts, trajectoryVerdicts } from './detector/run-verdicts.js'
export type { Verdict, VerdictKind } from './detector/verdict.js'
export type { PairwiseCosines } from './directions/cosines.js'
export { type DirectionMethod, meanDifference, pcaDirection } from './directions/difference.js'
export { type Directions, directionVector } from './directions/directions.js'
export { loadDirections, saveDirections } from './directions/directions-folder.js'
export { type ExtractDirectionsOptions, extractDirections } from './directions/extract-directions.js'
export { activationDrift, cohensD, type DriftStep, drift, driftStep } from './drift/drift.js'
export { ERROR_CODES, type ErrorCode, isTraitscopeError, TraitscopeError } from './errors.js'
export { GradientBoosting } from './estimators/gradient-boosting.js'
export { Isotonic } from './estimators/isotonic.js'
export { LogisticRegression } from './estimators/logistic-regression.js'
export type { Matrix } from './estimators/matrix.js'
export { Pca } from './estimators/pca.js'
export { PlsRegression } from './estimators/pls-regression.js'
export { RandomForest } from './estimators/random-forest.js'
export { RandomForestClassifier } from './estimators/random-forest-classifier.js'
export { type Regressor, regressorFromJSON } from './estimators/regressor.js'
export { Ridge } from './estimators/ridge.js'
export { Standardizer } from './estimators/standardizer.js'
export { evaluateRuns, type RunsEvaluation } from './evaluation/evaluate-runs.js'
export type { EvaluateRunsOptions } from './evaluation/evaluation.js'
export { saveEvaluation } from './evaluation/evaluation-report.js'
export {
  evaluationRows,
  evaluationWarnings,
  furtherTables,
  TABLE_HEADER,
} from './evaluation/evaluation-table.js'
export { checkOutputFree, writeFileAtomic } from './formats/files/atomic.js'
export { encodeGguf, type GgufFile, readGguf } from './formats/gguf/gguf.js'
export { type PeftAdapter, readPeftAdapter } from './formats/peft/peft.js'
export { type Checkpoint, type RunFolder, scanRunFolder } from './formats/run/run-folder.js'
export { encodeSafetensors, readSafetensors, type Safetensors } from './formats/safetensors/safetensors.js'
export { driftGeometry, type FinalDrift, type Geometry } from './geometry/geometry.js'
export { loadingsChart, planeChart, saveGeometry } from './geometry/geometry-report.js'
export { type RunGeometry, runGeometry } from './geometry/run-geometry.js'
export { type AdapterEffect, adapterEffect } from './hidden-states/adapter-effect.js'
export { type HiddenStates, type HiddenStatesOptions, hiddenStates } from './hidden-states/hidden-states.js'
export { inspectPath } from './inspect/inspect.js'
export type { Inspection } from './inspect/inspection.js'
export { type Grades, readGrades, type StepLabels } from './labels/grades.js'
export { AttachedAdapter, type AttachOptions } from './model/attached-adapter.js'
export { openCheckpoint } from './model/checkpoint/open-checkpoint.js'
export type { LoraMode, OpenCheckpoint } from './model/checkpoint/opened-checkpoint.js'
export { type ConvertOptions, type ConvertReport, convertModel } from './model/convert/convert.js'
export type {
  FinishReason,
  Generated,
  GenerateOptions,
  Generation,
  Scored,
  TokenLogprobs,
} from './model/generation.js'
export { type AttachReport, toGgufLora } from './model/lora/lora.js'
export { type MergeOptions, type MergeReport, mergeAdapter } from './model/merge/merge.js'
export { MERGE_TYPE_NAMES, type MergeType, mergeType, type WantedType } from './model/merge/merge-types.js'
export {
  Model,
  type ModelInfo,
  type OpenModelOptions,
  openModel,
} from './model/model.js'
export { AlarmLatch, type AlarmState } from './monitor/alarm-latch.js'
export { type WatchEvent, watchEventJson } from './monitor/watch-events.js'
export { type WatchRunOptions, watchRun } from './monitor/watch-run.js'
export { packageVersion } from './package.js'
export { ChatTemplate, type ChatTemplateOptions } from './prompts/chat-template.js'
export type { Message } from './prompts/messages.js'
export { type Pooling, type PromptPlan, planPrompts } from './prompts/plan.js'
export { readPromptFile } from './prompts/prompt-file.js'
export { evaluationPrompts, extractionPrompts } from './prompts/prompt-sets.js'
export { chatTokens } from './prompts/prompt-tokens.js'
export { readChatTemplate } from './prompts/template-file.js'
export {
  CONTROL_TRAITS,
  CORE_TRAITS,
  loadTraitPack,
  selectTraits,
  type TraitSelection,
} from './prompts/trait-pack.js'
export type { TraitPack } from './prompts/trait-pack-yaml.js'
export { bundleFacts } from './report/bundle-facts.js'
export { htmlReport, type ReportOptions, type ReportRun } from './report/html.js'
export { readReportRun } from './report/report-run.js'
export { type Row, type Rows, rowsOf } from './runs/rows.js'
export { type Exclusion, type LabelledRun, type LabelledRuns, scanLabelledRuns } from './runs/runs.js'
export { type MeasuredStep, type MeasureRunOptions, measureRun } from './trajectory/measure-run.js'
export { activationNorm, type Projection, project } from './trajectory/project.js'
export { readTrajectory } from './trajectory/read-trajectory.js'
export { defaultCacheDir } from './trajectory/step0-cache.js'
export type { Trajectory, TrajectoryStep } from './trajectory/trajectory.js'
export { trajectoryDocument } from './trajectory/trajectory-json.js'
