/// <reference types="node" preserve="true" />
/**
 * The public names, grouped and ordered as docs/api.md shows them: a section is a title with a sentence, then its values, then
 * the types that they name. What is not here may change in any version; `traitscope/evaluation` and `traitscope/estimators`
 * have lists of their own.
 */
// biome-ignore-all assist/source/organizeImports: the order is that of the page

// ## Models and checkpoints
// A base is one GGUF file; checkpoints meet it as adapters in memory, as merged copies or as whole models.

export { openModel } from './model/model.js'
export { openCheckpoint } from './model/checkpoint/open-checkpoint.js'
export { readPeftAdapter } from './formats/peft/peft.js'
export { mergeAdapter } from './model/merge/merge.js'
export { convertModel } from './conversion/convert-model.js'
export { scanRunFolder } from './formats/run/run-folder.js'
export { inspectPath } from './inspect/inspect.js'
export type { Model } from './model/model.js'
export type {
  LoadOptions,
  ModelInfo,
  ModelOptions,
  OpenModelOptions,
  ResolvedModelOptions,
} from './model/model-options.js'
export type { ModelPlacement, PlacementOptions } from './model/place-model.js'
export type { NativeModelInfo, NativeSpecialToken } from './binding.js'
export type {
  FinishReason,
  Generated,
  GeneratedToken,
  GenerateOptions,
  Generation,
  GenerationCost,
  GenerationProgress,
  LogprobOptions,
  Scored,
  ScoreOptions,
  TokenLogprobs,
} from './model/generation.js'
export type { GenerationMemory } from './model/placement.js'
export type { AttachedAdapter, AttachOptions } from './model/attached-adapter.js'
export type { AttachedModule, AttachReport, GgufLoraOptions } from './model/lora/lora.js'
export type {
  CheckpointOptions,
  LoraMode,
  OpenCheckpoint,
  OpenCheckpointOptions,
} from './model/checkpoint/opened-checkpoint.js'
export type { PeftAdapter, ReadPeftOptions } from './formats/peft/peft.js'
export type { PeftConfig, PeftTargets } from './formats/peft/peft-config.js'
export type { AdapterTensors, LoraModule, ReplacedRows, ReplacedTensor } from './formats/peft/peft-tensors.js'
export type { MergeOptions, MergeReport } from './model/merge/merge.js'
export type { MergeType, WantedType } from './model/merge/merge-types.js'
export type { ConvertOptions, ConvertReport } from './model/convert/convert.js'
export type { FloatType } from './formats/safetensors/float-types.js'
export type { GgmlTypeName } from './formats/gguf/ggml-types.js'
export type { RunFolder, ScanOptions } from './formats/run/run-folder.js'
export type { NestedRun } from './formats/run/nested-runs.js'
export type { FoundWeights } from './formats/run/find-weights.js'
export type { FileHash } from './formats/files/hash.js'
export type { Checkpoint } from './formats/run/checkpoint.js'
export type { CheckpointKind } from './formats/run/checkpoint-folder.js'
export type { FinalWeights } from './formats/run/final-weights.js'
export type { LogEntry } from './formats/run/trainer-state.js'
export type { Inspection } from './inspect/inspection.js'
export type { InspectProgress } from './inspect/inspect-run.js'

// ## Hidden states
// What a model makes of prompts, at any of its blocks, with and without an adapter.

export { hiddenStates } from './hidden-states/hidden-states.js'
export { ChatTemplate } from './prompts/chat-template.js'
export { readChatTemplate } from './prompts/template-file.js'
export { chatTokens } from './prompts/prompt-tokens.js'
export { evaluationPrompts } from './prompts/prompt-sets.js'
export type { HiddenStates, HiddenStatesOptions } from './hidden-states/hidden-states.js'
export type { Pooling } from './prompts/plan.js'
export type { Message, Role } from './prompts/messages.js'
export type { ChatTemplateModel, ChatTemplateOptions, SystemRole } from './prompts/chat-template.js'

// ## Generation
// What a model answers, and how probable it finds given answers; `Model.generate()` and `Model.score()` take token ids.

export { generateText, scoreText } from './generation/generate.js'
export type { GenerateTextOptions } from './generation/generate.js'
export type { FilePrompt } from './prompts/prompt-file.js'

// ## Trait directions
// Made once per base, from a trait pack.

export { CORE_TRAITS, loadTraitPack, selectTraits } from './prompts/trait-pack.js'
export { extractDirections } from './directions/extract-directions.js'
export { loadDirections, saveDirections } from './directions/directions-folder.js'
export { directionVector } from './directions/directions.js'
export type { EvalCategory, Trait, TraitPack } from './prompts/trait-pack-yaml.js'
export type { TraitSelection } from './prompts/trait-pack.js'
export type { ExtractDirectionsOptions } from './directions/extract-directions.js'
export type { DirectionMethod } from './directions/difference.js'
export type { Directions, LayerDiagnostics } from './directions/directions.js'
export type { HeldOut, HeldOutAuroc } from './directions/held-out.js'
export type { Conditions } from './conditions/conditions.js'

// ## Steering
// What a direction does to answers when it is added to a block's output.

export { steer } from './steering/steer.js'
export { steeringVector } from './steering/steering-vector.js'
export { readControlVector, writeControlVector } from './steering/control-vector-file.js'
export { chooseLayer } from './steering/choose-layer.js'
export { saveLayerChoice } from './steering/save-choice.js'
export { loadSteeringSuite } from './prompts/steering-suite.js'
export { loadPassages } from './prompts/passages.js'
export { sequenceRatio } from './steering/sequence-ratio.js'
export type { SteeredAnswer, SteeredPrompt, SteerOptions } from './steering/steer.js'
export type { SteeringOrigin, SteeringVector } from './steering/steering-vector.js'
export type { ReadControlVectorOptions } from './steering/control-vector-file.js'
export type { ChooseLayerOptions, LayerChoiceCost } from './steering/choice-plan.js'
export type { LayerSelection, SelectionMethod } from './steering/layer-selection.js'
export type { Divergence, Strength } from './steering/divergence.js'
export type { DoseJudgement, LayerJudgement } from './steering/dose-grid.js'
export type { Passages } from './prompts/passages.js'
export type { SteeringItem, SteeringSuite } from './prompts/steering-suite.js'

// ## Measuring a run
// Every checkpoint of a finished run, and how far each has drifted from step 0.

export { measureRun } from './trajectory/measure-run.js'
export { contextsFrom } from './contexts/context-set.js'
export { readTrajectory } from './trajectory/read-trajectory.js'
export { trajectoryDocument } from './trajectory/trajectory-json.js'
export { drift } from './drift/drift.js'
export { trajectoryMargins } from './trajectory/margin-trajectory.js'
export type { MeasuredStep, MeasureRunOptions } from './trajectory/measure-run.js'
export type { MeasurementOptions } from './trajectory/prepare-measurement.js'
export type { Context } from './contexts/context.js'
export type { ContextSet, ContextSources } from './contexts/context-set.js'
export type {
  AdapterSummary,
  ContextTrajectory,
  LayerNoise,
  LayerTrajectory,
  MarginTrajectory,
  MeasurementRecord,
  NoiseFloor,
  PromptCategory,
  RunDescription,
  Settled,
  SkippedCheckpoint,
  Step,
  StrengthTrajectory,
  Trajectory,
  TrajectoryStep,
} from './trajectory/trajectory.js'
export type { Projection } from './trajectory/project.js'
export type { MeasuredUnder } from './conditions/calibrated-for.js'
export type { DriftOptions, DriftStep } from './drift/drift.js'

// ## Watching a run
// Checkpoints of a run that is training, as they are completed.

export { watchRun, watchRuns } from './monitor/watch-run.js'
export { watchEventJson } from './events/watch-events.js'
export { EventReader } from './events/event-log.js'
export { listStates } from './events/state-folder.js'
export { defaultStateDir } from './formats/files/cache-dir.js'
export type { WatchRunOptions } from './monitor/watch-options.js'
export type { SecureMode } from './monitor/secured-files.js'
export type { LoggedEvent } from './events/event-log.js'
export type { WatchedRun } from './events/state-folder.js'
export type {
  AlarmState,
  BaselineEvent,
  CheckpointEvent,
  EndEvent,
  PromptsRead,
  EndReason,
  EventJson,
  EventStamp,
  FallingBehindEvent,
  GapEvent,
  LostEvent,
  ResumedFrom,
  RevisedEvent,
  SecuredEvent,
  SkippedEvent,
  UnsecuredEvent,
  WaitingEvent,
  WatchErrorEvent,
  WatchEvent,
} from './events/watch-events.js'

// ## Labels
// What checkpoints answer, judged; or how probable they find given answers. A judge is anything that grades an answer.

export { labelRun } from './labels/label-run.js'
export { readQuestions } from './labels/answers/questions.js'
export { EndpointJudge } from './labels/judges/endpoint-judge.js'
export { ggufJudge } from './labels/judges/gguf-judge.js'
export { openFittedJudge } from './labels/judges/fitted-judge.js'
export { checkJudge } from './labels/judges/check-judge.js'
export { readKnownAnswers } from './labels/answers/known-answers.js'
export { assertSoundJudge } from './calibration/judge-floor.js'
export { readGrades } from './labels/grades.js'
export { marginRun } from './labels/margins/margin-run.js'
export { readMarginPairs } from './labels/margins/margin-pairs.js'
export type {
  CachedLabels,
  LabelledStep,
  LabelRunOptions,
  RunLabels,
  SamplingOptions,
} from './labels/label-options.js'
export type { Question, QuestionList } from './labels/answers/questions.js'
export type { Rubric } from './labels/answers/rubric.js'
export type { Answer, Judge, JudgedRun } from './labels/judges/judge.js'
export type { AlignmentLabel, Grade } from './labels/answers/grade.js'
export type { JudgeIdentity, JudgeReader } from './labels/judges/judge-identity.js'
export type { EndpointJudgeOptions, Prices } from './labels/judges/endpoint-judge.js'
export type { LimitOptions } from './labels/judges/adaptive-limit.js'
export type { GgufJudgeOptions } from './labels/judges/gguf-judge.js'
export type {
  FittedJudge,
  OpenedFittedJudge,
  OpenFittedOptions,
  ScoreHead,
} from './labels/judges/fitted-judge.js'
export type { LinearScore } from './estimators/grouped-ridge.js'
export type { CheckJudgeOptions } from './labels/judges/check-judge.js'
export type { JudgeCheck, QuestionFigures } from './labels/judges/judge-check.js'
export type { NumberMass } from './labels/answers/failures.js'
export type { KnownAnswer, KnownAnswers } from './labels/answers/known-answers.js'
export type { Counts, CountingRule, NotCounted } from './labels/answers/counting-rule.js'
export type { LabelSource } from './labels/label-source.js'
export type { LabelBasis, VerdictLabels } from './labels/label-words.js'
export type { EmCounts, Grades, StepLabels } from './labels/grades.js'
export type { Unscored, UnscoredKind } from './labels/unscored.js'
export type { MarginRunOptions, RunMargins } from './labels/margins/margin-run.js'
export type { MarginChange, StepMargins } from './labels/margins/margins.js'
export type { PairsRead } from './labels/margins/pair-reading.js'
export type { MarginPair, MarginPairs } from './labels/margins/margin-pairs.js'

// ## Verdicts
// A bundle is a calibrated detector with all that it needs for verdicts on runs of its base.

export { loadBundle } from './detector/bundle.js'
export { trajectoryVerdicts } from './detector/trajectory-verdicts.js'
export { settlingIn } from './detector/settling-in.js'
export { conditional, contextReadings } from './detector/conditional.js'
export { ordinaryRuns } from './detector/ordinary-runs.js'
export { loadPrior } from './detector/prior.js'
export { priorVerdictSource, trajectoryPrior } from './detector/prior-detector.js'
export { scanLabelledRuns } from './runs/runs.js'
export { calibrate } from './calibration/judged-calibration.js'
export { calibrateBenign } from './calibration/calibrate-benign.js'
export { saveBundle } from './calibration/save-bundle.js'
export type { Bundle, BundleSummary } from './detector/bundle.js'
export type { AnswerShares } from './detector/answer-shares.js'
export type { Detector, Prediction } from './detector/detector.js'
export type {
  CategoryContribution,
  ContextReading,
  Contribution,
  MarginReading,
  StrengthReading,
  Verdict,
  VerdictBasis,
  VerdictKind,
} from './detector/verdict.js'
export type { ScopeDifference, TrainedBy, TrainedLike } from './conditions/training.js'
export type { Conditional, OrdinaryRuns } from './detector/conditional.js'
export type { VerdictSource } from './detector/run-verdicts.js'
export type { StepVerdict } from './detector/trajectory-verdicts.js'
export type { PromptScores, SettledBy } from './detector/settling.js'
export type { MeasuredBase, Stopping, StopRule } from './trajectory/stopping.js'
export type { BasePoint, CalibratedFor } from './conditions/calibrated-for.js'
export type { CheckpointKernels, EngineConditions } from './conditions/engine.js'
export type {
  Exclusion,
  LabelledRun,
  LabelledRuns,
  MeasuredRun,
  ScannedRuns,
  ScanRunsOptions,
} from './runs/runs.js'
export type { MeanActivations } from './runs/mean-activations.js'
export type { Row } from './runs/rows.js'
export type {
  CalibrateOptions,
  Calibration,
  CalibrationReport,
} from './calibration/calibrate.js'
export type { CalibrateRunsOptions, JudgedCalibration } from './calibration/judged-calibration.js'
export type { AnswerShareError } from './calibration/answer-share-error.js'
export type { BandCoverage, HeldOutFigures, NestedFigures } from './calibration/nested-figures.js'
export type { ThresholdFrom } from './calibration/fit-detector.js'
export type { PriorOfBase } from './calibration/contrast-rows.js'
export type { ErrorTargets } from './calibration/target-threshold.js'
export type { DatasetCounts } from './calibration/calibration-data.js'
export type { Agreement, Candidate } from './calibration/model-selection.js'
export type { RateModelKind, RateModelName, RateModelSpec } from './detector/rate-model.js'
export type { Prior, PriorModel, PriorRow, OwnRows } from './detector/prior.js'
export type { PriorErrors } from './detector/memory.js'
export type { BenignTest } from './detector/benign-test.js'
export type { MarginTest } from './detector/margin-test.js'
export type { BundleParts } from './calibration/save-bundle.js'
export type { BenignCalibration, BenignReport } from './calibration/calibrate-benign.js'
export type { SaturatingRidge } from './detector/rate-model.js'

// ## Reports
// One offline page of what was measured.

export { htmlReport } from './report/html.js'
export { readReportRun } from './report/report-run.js'
export type { ReportOptions } from './report/html.js'
export type { ReportRun } from './report/trajectory-view.js'
export type { JudgedAnswer } from './report/run-view.js'

// ## Errors and installation
// Everything rejects with one family of errors; [errors.md](errors.md) lists its codes.

export { ERROR_CODES, isTraitscopeError, TraitscopeError } from './errors.js'
export type { AddonOrigin } from './addon/find-addon.js'
export { diagnose } from './binding.js'
export { checkDevices } from './model/self-check.js'
export type { ErrorCode } from './errors.js'
export type { Diagnosis, NativeDevice, NativePrecisionSwitch } from './binding.js'
export type { DeviceCheck, StatedError } from './model/self-check.js'
