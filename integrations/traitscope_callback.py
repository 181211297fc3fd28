"""A Hugging Face TrainerCallback that brings traitscope into a training run.

    from traitscope_callback import TraitscopeCallback

    trainer = Trainer(...)                      # or TRL's SFTTrainer
    TraitscopeCallback().attach(trainer)        # beside `traitscope watch -m base.gguf --bundle bundle OUTPUT_DIR`
    trainer.train()

Trait drifts and the predicted rate of emergent misalignment appear in the trainer's own logs (so in W&B, TensorBoard and
Trackio by themselves), and an alarm stops the training after the checkpoint and the evaluation of its step. It reads what
`traitscope serve` answers (`url`, or TRAITSCOPE_URL; its token from TRAITSCOPE_TOKEN) or, without one, the state folder of
`traitscope watch` on this machine. It never makes the training wait for a measurement, never ends it by an error of its own,
and never takes back a stop that somebody else asked for.

Where the trainer itself is out of reach (Axolotl, LLaMA-Factory, ms-swift), add it as any other callback; logs then hold the
figures from the next logging step on, for the callbacks that come after it.

One file, no dependencies but transformers. Written for transformers 4.40 and later.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import re
import sys
import time
import urllib.error
import urllib.request
import weakref

from transformers import TrainerCallback

PREFIX = "traitscope/"
KEPT = 256
FIGURES = re.compile(rb'"type":"(baseline|checkpoint|end)"')
POLL_SECONDS = 5
CLOCK_SECONDS = 60


class TraitscopeCallback(TrainerCallback):
    """See the module's text.

    url: of `traitscope serve`; default TRAITSCOPE_URL, else the state folder is read.
    state_dir: of `traitscope watch --state`; default as there.
    stop: whether an alarm stops the training.
    save_on_warning: ask for a checkpoint at the first warning, to see sooner what becomes of it.
    timeout: seconds that a call may take.
    """

    def __init__(self, url=None, state_dir=None, stop=True, save_on_warning=False, timeout=2.0):
        self.url = (url or os.environ.get("TRAITSCOPE_URL") or "").rstrip("/")
        self.state_dir = state_dir
        self.stop = stop
        self.save_on_warning = save_on_warning
        self.timeout = timeout
        self.stopped = None  # the reason, once an alarm has stopped the training
        self._trainer = None
        self._began = time.time()
        self._source = None
        self._logged = set()
        self._unlogged = {}
        self._said = set()
        self._saved_on_warning = False
        self._logging = False

    def attach(self, trainer):
        """Adds the callback to a trainer, and logs through it. Returns the callback."""
        self._trainer = weakref.ref(trainer)
        trainer.add_callback(self)
        return self

    # -- events of the trainer: all ranks come here, and all leave with the same decision

    def on_train_begin(self, args, state, control, **kwargs):
        self._began = time.time()
        self._source = Served(self.url, self.timeout) if self.url else Watched(self.state_dir, args.output_dir)

    def on_save(self, args, state, control, **kwargs):
        folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        self._decide("on_save", args, state, control, folder)

    def on_evaluate(self, args, state, control, **kwargs):
        self._decide("on_evaluate", args, state, control, None)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self._logging:
            return
        decision = self._ask("poll", args, state, None)
        if decision["stop"] and self.stop:
            # Not here: the evaluation and the checkpoint of this step come first. The checkpoint brings us to `on_save`.
            control.should_save = True
        elif decision["warn"] and self.save_on_warning and not self._saved_on_warning:
            self._saved_on_warning = True
            control.should_save = True
        if logs is not None and self._trainer is None:
            logs.update(self._unlogged)
            self._unlogged = {}

    def _decide(self, event, args, state, control, folder):
        decision = self._ask(event, args, state, folder)
        if decision["stop"] and self.stop:
            # Only ever set: another callback's stop is not ours to take back.
            control.should_training_stop = True
            if self.stopped is None:
                self.stopped = decision["reason"]
                self._say(state, f"training stops: {self.stopped}")

    def _ask(self, event, args, state, folder):
        """What the monitor says, the same on every rank."""
        decision = {"stop": False, "warn": False, "reason": None}
        if state.is_world_process_zero and self._source is not None:
            try:
                answer = self._source.ask(event, state.global_step, folder, args.output_dir)
                if answer.get("said"):
                    self._say(state, answer["said"])
                decision = self._judge(answer)
                self._log(answer.get("checkpoints", []))
            except Exception as error:  # a monitor that fails must not end what it watches
                self._say(state, f"no word from the monitor: {type(error).__name__}: {error}")
        return broadcast(decision)

    def _judge(self, answer):
        stop = answer.get("stop") is True
        since = answer.get("stop_time")
        # A request that is older than this training was for another one in the same folder.
        if stop and since is not None and since < self._began:
            stop = False
        reason = answer.get("reason") or "traitscope raised an alarm"
        return {"stop": stop, "warn": answer.get("warn") is True, "reason": reason if stop else None}

    def _log(self, checkpoints):
        for checkpoint in checkpoints:
            step = checkpoint.get("step")
            scalars = finite(checkpoint.get("scalars", {}))
            measured = checkpoint.get("time")
            if not scalars or (step, checkpoint.get("sha256")) in self._logged:
                continue
            if measured is not None and measured < self._began:
                continue  # of an earlier training in the same folder
            self._logged.add((step, checkpoint.get("sha256")))
            named = {PREFIX + name: value for name, value in scalars.items()}
            if isinstance(step, int):
                # Measured after its step: the trainer logs by the step it is at.
                named[PREFIX + "checkpoint"] = float(step)
            trainer = self._trainer() if self._trainer is not None else None
            if trainer is None:
                self._unlogged.update(named)
                continue
            self._logging = True
            try:
                trainer.log(named)
            finally:
                self._logging = False

    def _say(self, state, text):
        if state.is_world_process_zero and text not in self._said:
            self._said.add(text)
            print(f"traitscope: {text}", file=sys.stderr, flush=True)


class Served:
    """What `traitscope serve` answers to POST /checkpoint."""

    def __init__(self, url, timeout):
        self.url = url
        self.timeout = timeout
        self._asked = -math.inf
        self._answer = {}

    def ask(self, event, step, folder, output_dir):
        # A trainer that logs every step does not call every step.
        if event == "poll" and time.monotonic() - self._asked < POLL_SECONDS:
            return self._answer
        self._asked = time.monotonic()
        body = {
            "event": event,
            "step": step,
            "checkpoint_dir": None if folder is None else os.path.abspath(folder),
            "output_dir": os.path.abspath(output_dir),
        }
        headers = {"content-type": "application/json"}
        token = os.environ.get("TRAITSCOPE_TOKEN")
        if token:
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            f"{self.url}/checkpoint", json.dumps(body).encode(), headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                self._answer = json.load(response)
                return self._answer
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace")
            raise RuntimeError(f"{error.code} {said}") from None


class Watched:
    """The state folder of `traitscope watch` on this machine: its log of events and its stop file."""

    def __init__(self, state_dir, output_dir):
        run = os.path.realpath(output_dir)
        # As the watch names it: two places for what takes two in UTF-16.
        plain = lambda match: "_" * (2 if ord(match.group()) > 0xFFFF else 1)  # noqa: E731
        name = re.sub(r"[^A-Za-z0-9_.-]", plain, os.path.basename(run))[:60]
        digest = hashlib.sha256(run.encode()).hexdigest()[:16]
        self.folder = os.path.join(state_dir or default_state_dir(), "watch", f"{name}-{digest}")
        self._file = None
        self._offset = 0
        self._begin()

    def _begin(self):
        self._traits = []
        self._checkpoints = []
        self._newest = ("", None)
        self._told = -math.inf
        self._ended = False

    def ask(self, event, step, folder, output_dir):
        self._read()
        warn = self._newest[1] in ("warn", "alarm")
        answer = {"checkpoints": self._checkpoints, "stop": False, "warn": warn}
        # A watch that was forgotten, has ended or keeps its state elsewhere would not be missed otherwise.
        if event == "on_save" and self._file is None:
            answer["said"] = f"no watch of this run has begun: {self.folder} is not there (state_dir: --state of the watch)"
        elif event == "on_save" and self._ended:
            answer["said"] = "the watch of this run has ended; start it again"
        path = os.path.join(self.folder, "stop")
        try:
            with open(path, encoding="utf-8") as file:
                notice = json.load(file)
            answer.update(stop=True, stop_time=os.stat(path).st_mtime, reason=notice.get("message"))
        except FileNotFoundError:
            pass
        return answer

    def _read(self):
        """What the log has got since the last time; a line that is still being written is left for the next one."""
        try:
            with open(os.path.join(self.folder, "events.jsonl"), "rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_dev, found.st_ino) != self._file or found.st_size < self._offset:
                    self._file, self._offset = (found.st_dev, found.st_ino), 0
                    self._begin()
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    if FIGURES.search(line):
                        self._take(json.loads(line))
        except FileNotFoundError:
            return

    def _take(self, event):
        self._ended = event.get("type") == "end"
        if event.get("type") == "baseline":
            if "resumed" not in event:  # nothing of before holds under other conditions
                self._begin()
            self._traits = event["traits"]
        elif event.get("type") == "checkpoint":
            self._checkpoints = [*self._checkpoints[1 - KEPT :], scalars_of(event, self._traits)]
            told, before = seconds_of(event["time"]), self._told
            self._told = told
            if told < before - CLOCK_SECONDS:  # the clock was set back: times of before are no measure
                self._newest = ("", self._newest[1])
            # The newest may have been measured before the others; what is told was not written later.
            written = min(event.get("writtenAt") or event["time"], event["time"])
            if written >= self._newest[0]:
                self._newest = (written, standing_of(event))


def standing_of(event):
    """The verdict of a checkpoint's event; where nothing gives one, what its margin says."""
    verdict = event.get("verdict") or {}
    interval = (event.get("margin") or {}).get("interval")
    return verdict.get("verdict") or ("warn" if interval and interval[0] > 0 else None)


def scalars_of(event, traits):
    """Figures of a checkpoint's event under the names that `traitscope serve` has for them."""
    drift = event["drift"][event["primary"]]
    scalars = {f"drift_{trait}": value for trait, value in zip(traits, drift["values"])}
    scalars["drift_length"] = drift["norm"]
    verdict = event.get("verdict") or {}
    if verdict.get("em") is not None:
        scalars["predicted_em"] = verdict["em"]
    if verdict.get("interval") is not None:
        scalars["predicted_em_low"], scalars["predicted_em_high"] = verdict["interval"]
    margin = event.get("margin")
    if margin:
        scalars["margin"] = margin["change"]
        if margin["interval"] is not None:
            scalars["margin_low"], scalars["margin_high"] = margin["interval"]
    if "settled" in verdict:  # a part of the prompts was read: no interval
        scalars["prompts_read"] = verdict["settled"]["prompts"]
    return {
        "step": event.get("step"),
        "sha256": event.get("adapterSha256"),
        "time": seconds_of(event.get("time")),
        "scalars": scalars,
    }


def seconds_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def default_state_dir():
    if os.environ.get("XDG_STATE_HOME"):
        return os.path.join(os.environ["XDG_STATE_HOME"], "traitscope")
    home = os.path.expanduser("~")
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return os.path.join(os.environ["LOCALAPPDATA"], "traitscope", "State")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "traitscope")
    return os.path.join(home, ".local", "state", "traitscope")


def finite(scalars):
    return {
        name: float(value)
        for name, value in scalars.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def broadcast(decision):
    """The main process' decision on every rank: a flag on one rank alone lets the others wait for ever."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return decision
    box = [decision]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
