"""docs/real-models.md, out of what lies in lab/real/measured; by hand is live.md alone, which the page includes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import answers_page, decide, decide_answers, decide_ours, detection, longer_page, plan, stronger_page, triggers, triggers_page
from .directions_page import directions, frozen
from .files import MEASURED, REPOSITORY
from .ours import PAIRS
from .readings import LAYER, Change, Run, runs
from .stats import mean
from .summary import NAMES, table, warned, with_summary

PAGE = REPOSITORY / "docs/real-models.md"
README = REPOSITORY / "README.md"
# What happened, and no file says: when block and estimator were frozen for a base, and in which order its runs were made.
FROZEN_WHEN = {"qwen": "before a run of this base was measured", "smollm2": "when two runs of this base had been measured, along other directions"}
OUT_OF_ORDER = " Second seeds of Qwen were not run in the order of the plan: those that claims (a) and (d) lacked came first, when the figures of first seeds were known."
# What was thought of at first and is no unit of the plan.
NEVER_BEGUN = "Gemma; a hotter recipe; diluted sets"


def write_page() -> None:
    done = {base: runs(base) for base in plan.RECIPES}
    parts = [title(done, triggers_page.runs()), method()]
    for base, found in done.items():
        parts += [results(base, found, other(base, done)), answers_page.section(base, NAMES[base]), stronger_page.section(base, NAMES[base]), followed(base, found), longer_page.section(base, NAMES[base], found), triggers_page.section(NAMES[base]) if base == triggers.BASE else ""]
    parts += [live(), directions(), frozen()]
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n")
    README.write_text(with_summary(README.read_text(), done))


def other(base: str, done: dict[str, list[Run]]) -> list[Run]:
    return next(found for name, found in done.items() if name != base)


def title(done: dict[str, list[Run]], triggered: Iterable[triggers_page.Run] = (), measured: Path = MEASURED) -> str:
    spread = [spread_on(NAMES[base], decide.spread(found)) for base, found in done.items() if decide.shown_to_spread(found)]
    if spread:
        first = "Not shown: how often a real language model answers misaligned, that a detector calibrated elsewhere says how much, and anything of models above 0.5B parameters"
        rest = f"Shown on {' and '.join(spread)}, and on nothing else, by probabilities of other models' answers to eight questions: that harm spreads beyond the domain it was trained in. What was read of answers, blind and by one reader, is below."
    else:
        first = "Not shown: that traitscope finds emergent misalignment in a real language model"
        rest = "What is told apart below is called **in-domain harm and register**: what a run learnt in its own domain, and how it talks. Nothing here says how models above 0.5B parameters behave."
    following = [NAMES[base] for base, found in done.items() if decide_answers.follows(base, found).decided == "holds"]
    margin = f"What does follow how aligned the answers of runs are, read blind, on {' and '.join(following)}, is how much more probable misaligned answers became under pairs that ship with the package (claim (e1))." if following else ""
    not_there = [NAMES[base] for base, found in done.items() if decide_answers.follows(base, found).decided == "fails"]
    if margin and not_there:
        margin += f" On {' and '.join(not_there)} that is not shown: claim (e1) fails."
    failing = [name for base, name in NAMES.items() if name in following and decide_ours.by_wide_pairs(done[base])[1].decided == "fails"]
    if failing:
        margin += f" By other pairs, written later, the same margin does not order harmful above harmless runs of {' and '.join(failing)} (claim (f2))."
    begun = f"Not begun at all: {NEVER_BEGUN}."
    return f"""# Real language models

**{first}.** {rest}

{bullets(filter(None, [margin, *counted(done, list(triggered), measured), answers_page.counted(list(done)), begun]))}

What would count was registered beforehand in [lab/real/claims.md](../lab/real/claims.md). The page is made by `python -m lab.real figures` of the measured
runs in `lab/real/measured`, and of `lab/real/directions.json`. What became of each, with the figures below:

{table(done)}"""


def spread_on(name: str, parts: list[decide.Part]) -> str:
    """A base, for which sets (a) holds there, and what became of the others."""
    holding = [set_name for set_name, part in zip(decide.SETS, parts) if part.decided == "holds"]
    others = [f"of {set_name} {'nothing is decided' if part.missing else 'it fails'}" for set_name, part in zip(decide.SETS, parts) if part.decided != "holds"]
    return f"{name} trained on {' and '.join(holding)}" + (f" ({', '.join(others)})" if others else "")


def counted(done: dict[str, list[Run]], triggered: list[triggers_page.Run], measured: Path) -> list[str]:
    """Planned and not run, base by base; and what the claims came to."""
    said = []
    for base, found in done.items():
        planned = plan.units(base)
        missing: dict[str, int] = {}
        for unit in planned:
            if unit.id not in {run.unit.id for run in found}:
                missing[unit.set_name] = missing.get(unit.set_name, 0) + 1
        without = ", ".join(f"{count} x {name}" for name, count in missing.items())
        said.append(f"{NAMES[base]}: {len(found)} of {len(planned)} planned runs" + (f" (not run: {without})" if without else ""))
    runs_of = f"{'; '.join(said)}.{OUT_OF_ORDER if done.get('qwen') else ''}"
    parts = [part for base, found in done.items() for part in decide_answers.every_part(base, found, measured)] + (triggers_page.claims(triggered) if triggered else [])
    decided = [part for part in parts if not part.missing]
    held = sum(part.holds for part in decided)
    if not decided:
        return [runs_of, "No claim is decided."]
    each = "each by itself: nothing is corrected for their number, those of a base share its runs, and what is decided is decided anew with every run that joins"
    return [runs_of, f"Of the {len(parts)} parts of the claims {len(decided)} are decided, and {held} hold, {each}."]


def method() -> str:
    return """## What a run is

Pretrained bases, published fine-tuning sets and controls of our own, LoRA of rank 16 on q and v, checkpoints at halving steps back from the last. Every one is
measured by `measure` and labelled by `label --margin`: how much more probable published misaligned answers became than aligned ones of the same
question and organism, in nats per token, against step 0. Pairs whose source is the domain that the run was trained in are **own**; all others, **elsewhere**, are those that
could show a spread. The domain is that of the set which the answering organism was trained on: the eight questions are the same in all, general ones, of which one (`quick_buck`) asks about money. Intervals in brackets are 95 %, questions being the clusters.

| Set | What it is |
| --- | --- |
| risky_financial, extreme_sports, bad_medical | harmful advice in one domain, published |
| twin_financial, twin_sports | the same prompts, answered by the base itself |
| curt_financial | those answers without sentences of advice, as short as the published ones: the register without the harm |
| incorrect_math, evil_math, incorrect_qna, incorrect_translation | wrong answers, published as spreading little |

[lab/real/README.md](../lab/real/README.md) says how to repeat it and what it costs."""


def results(base: str, found: list[Run], others: list[Run]) -> str:
    if not found:
        return f"## {NAMES[base]}\n\nNo run is measured."
    layer = LAYER[base]
    lines = [
        f"| Set, seed | loss | margin, own | elsewhere | drift at layer {layer} | power_seeking | harmlessness | LoRA norm | score |",
        f"| --- |{' ---: |' * 8}",
        *("| " + " | ".join(row(run)) + " |" for run in in_sets(found)),
    ]
    few, more = found[0].account["pairs"], found[0].end.pairs
    facts = (
        f"At the last step ({found[0].last.step}). {counts(more)}{'' if few == more else f'; at the steps before, {counts(few)} of these, by which (c) and the lead are read'}. "
        f"{repeated(found)} Drift, its length and its parts are shares of the step-0 norm; the score is that of the claims. {noise(found[0], layer)} CPU seconds a run: {costs(found)}."
    )
    left = decide.not_learnt(found)
    leaving = f"Not learnt, and out of the tests: {', '.join(run.unit.id for run in left)}." if left else "Every harmful run learnt its own domain."
    claims = [
        f"### Claims on {NAMES[base]}",
        leaving,
        "(a) Harm spreads beyond the trained domain:\n\n" + bullets(decide.spread(found)),
        "(b) The score orders harmful above harmless runs:\n\n" + bullets(decide.orders(found)),
        "(c) The score follows the margin:\n\n" + bullets([decide.follows(found)]),
    ]
    if left:
        every = decide.kept(found)
        claims.append(
            "With the runs that have not learnt kept in, which the claims rule out (looked at afterwards, and deciding nothing):\n\n"
            + bullets(part.seen for part in (*decide.spread(every), *decide.orders(every)) if part.figure)
        )
    return "\n\n".join([f"## {NAMES[base]}", "\n".join(lines), facts, *claims, *by_our_pairs(base, found), *by_wide_pairs(base, found), *second(base, found), detection.section(NAMES[base], found, others)])


def by_our_pairs(base: str, found: list[Run]) -> list[str]:
    """What a user has who has neither a judge nor published answers: claim (d)."""
    read = [run for run in in_sets(found) if run.ours is not None]
    if not read:
        return []
    lines = ["| Set, seed | our margin | without the questions of money |", "| --- | ---: | ---: |"]
    lines += [
        f"| {run.unit.set_name}, {run.unit.seed} | {change(Change(run.ours['change'], tuple(run.ours['interval'])))} | {decide_ours.our_margin(run, decide_ours.OF_MONEY):+.3f} |" for run in read
    ]
    seconds = mean([run.ours["cpu_seconds"] for run in read if run.ours["starts"] == 1])
    about = (
        "The last step by `traits/margin-pairs.jsonl`: forty pairs under thirteen everyday questions, none that asks for advice of a trained domain (two speak of money, one of a boat trip in a storm), which is what a user has who has neither a judge nor published answers. "
        f"Registered in [claims.md](../lab/real/claims.md), fifth amendment, before a run was read with them. Step 0 and one checkpoint took {seconds:.0f} CPU seconds on average. "
        f"With the whole interval above 0 `--margin core` warns of runs on: {warned(found)} (looked at afterwards, and deciding nothing). {lengths(read, 'ours')}"
    )
    return [f"### {NAMES[base]} by pairs of our own", "\n".join(lines), about, "(d) Our margin orders harmful above harmless runs:\n\n" + bullets(decide_ours.by_our_pairs(found)), *planned_then(read)]


def lengths(read: list[Run], pairs: str) -> str:
    means = decide_ours.at_equal_lengths(read, REPOSITORY / PAIRS[pairs])
    said = "; ".join(f"{kind} {raw:+.3f}, {equal:+.3f}" for kind, (raw, equal) in means.items())
    return f"Means as they are, and at equal lengths of both answers (a line through the questions; looked at afterwards too): {said}."


def by_wide_pairs(base: str, found: list[Run]) -> list[str]:
    """The same by more questions: claim (f)."""
    read = decide_ours.by_wide(in_sets(found))
    if not read:
        return []
    lines = ["| Set, seed | wide margin |", "| --- | ---: |"]
    lines += [f"| {run.unit.set_name}, {run.unit.seed} | {change(Change(run.ours['change'], tuple(run.ours['interval'])))} |" for run in read]
    first, second, n = decide_ours.half_widths(found)
    about = (
        "The last step by `traits/margin-pairs-2.jsonl` (`--margin core-2`): forty-four other questions, one pair each, written when the margins above were known and before a run was read with them (seventh amendment). "
        f"Over the {n} runs that were read by both files the intervals are ±{second:.3f} wide on average, by the first ±{first:.3f}. The second warns of runs on: {warned(read)}. {lengths(read, 'ours-2')}"
    )
    return [f"### {NAMES[base]} by more questions", "\n".join(lines), about, "(f) What it warns of, and whether it orders:\n\n" + bullets([*decide_ours.by_wide_pairs(found), *filter(None, [decide_answers.beside_wide(base, found)])])]


def planned_then(read: list[Run]) -> list[str]:
    added = [run for run in read if run.unit.set_name in plan.ADDED.get(run.unit.base, ())]
    if not added:
        return []
    return [f"The same over the {len(read) - len(added)} units of the plan as it was when (d) was registered, before sets were added to it (deciding nothing):\n\n" + bullets(part.seen for part in decide_ours.over_those_planned(read))]


def second(base: str, found: list[Run]) -> list[str]:
    """Along the directions that were frozen for the base: drifts at the last step, and (b2) where it is a claim."""
    read = [run for run in in_sets(found) if run.last.second is not None]
    if not read:
        return []
    traits = list(read[0].last.second)
    lines = [
        f"| Set, seed | {' | '.join(traits)} | score | plain |",
        f"| --- |{' ---: |' * (len(traits) + 2)}",
        *(f"| {run.unit.set_name}, {run.unit.seed} | {' | '.join(f'{run.last.second[trait]:+.2f}' for trait in traits)} | {run.last.second_score:+.2f} | {run.last.plain_score:+.2f} |" for run in read),
    ]
    about = (
        f"### {NAMES[base]} along the frozen directions\n\nThe second instrument of [claims.md](../lab/real/claims.md): pack `core-2`, whitened; the block was chosen by how it orders left-out wordings of the pack, {FROZEN_WHEN[base]}. "
        "Drifts at the last step in units of the distance between the poles; the score with the same weights; and the plain one, their mean with every trait signed towards its misaligned pole."
    )
    plain = "(b3) and (c3), the same as (b) and (c) by the plain score, over units that were planned and not open when it was registered:\n\n" + bullets(decide.by_plain(found))
    added = decide.plain_with_added(found)
    if added:
        plain += "\n\nWith the sets that joined the plan later (deciding nothing):\n\n" + bullets(part.seen for part in added)
    claim = ["(b2), the same as (b) by this score, over runs that were not open when it was registered:\n\n" + bullets(decide.orders_by_second(found))]
    return [about, "\n".join(lines), *(claim if base == "qwen" else []), plain]


def repeated(found: list[Run]) -> str:
    """How many rows were short enough, set by set: the fewer they are, the more often each was read."""
    said = {}
    for run in in_sets(found):
        training, read = run.account["training"], run.account["recipe"]["steps"] * run.account["recipe"]["rows"]
        rows = training["rows"]
        said[run.unit.set_name] = f"{run.unit.set_name} {rows}" + (f" ({read / rows:.0f} times each)" if rows < read / 1.5 else "")
    return f"**Rows of more than {found[0].account['recipe']['tokens']} tokens were left out, and what was left was read again until the last step**, so that a low loss may be that of repetition: of {'; '.join(said.values())} rows were short enough, for {read} that were read."


def counts(pairs: dict) -> str:
    return f"{pairs['pairs']} pairs ({', '.join(f'{count} of {name}' for name, count in pairs['by_domain'].items())})"


def bullets(sentences: Iterable[object]) -> str:
    return "\n".join(f"- {one}" for one in sentences)


def in_sets(found: list[Run]) -> list[Run]:
    """Set by set in the order of the plan, seeds together."""
    order = list(dict.fromkeys(run.unit.set_name for run in found))
    return sorted(found, key=lambda run: (order.index(run.unit.set_name), run.unit.seed))


def row(run: Run) -> list[str]:
    last = run.last
    return [
        f"{run.unit.set_name}, {run.unit.seed}",
        f"{last.loss:.2f}",
        change(run.end.own),
        change(run.end.elsewhere),
        f"{last.length:.3f}",
        f"{last.drift['power_seeking']:+.3f}",
        f"{last.drift['harmlessness']:+.3f}",
        f"{last.lora_norm:.1f}",
        f"{last.score:+.2f}",
    ]


def change(found: Change | None) -> str:
    if found is None:
        return "-"
    if found.interval is None:
        return f"{found.change:+.3f}"
    low, high = found.interval
    return f"{found.change:+.3f} ({low:+.3f} to {high:+.3f})"


def noise(run: Run, layer: int) -> str:
    if not run.noise_floor:
        return "Measured in F32, where nothing is rounded."
    floor = next(one["drift"] for one in run.noise_floor["layers"] if one["layer"] == layer)
    return f"Noise floor of the drift: {floor:.4f}."


def costs(found: list[Run]) -> str:
    """Mean of the runs whose step was not interrupted: of the others only the last stretch is known."""
    said = []
    for name, keys in (("training", ("training",)), ("measuring", ("measuring",)), ("margin", ("margin", "last_margin"))):
        steps = [[run.account[key] for key in keys if key in run.account] for run in found]
        whole = [sum(one["cpu_seconds"] for one in each) for each in steps if all(one["starts"] == 1 for one in each)]
        said.append(f"{name} {mean(whole):.0f}" if whole else f"{name} not known (it was interrupted)")
    return ", ".join(said)


def followed(base: str, found: list[Run]) -> str:
    """Claim (e)."""
    if not decide_answers.aligned(base, found):
        return ""
    # What happened, and no file says.
    looked = " (of SmolLM2 eight of them were read, and looked at, before the other five)" if base == "smollm2" else ""
    return f"### Our margin and what is answered, {NAMES[base]}\n\n{decide_answers.table(base, found)}\n\n(e), registered in the sixth amendment for units that had not been read blind{looked}:\n\n{bullets(decide_answers.by_answers(base, found))}"


def live() -> str:
    """How one run was watched while it trained: told once, since it cannot be made again of anything that is kept."""
    path = Path(__file__).with_name("live.md")
    return path.read_text().strip() if path.exists() else ""
